//! The server killed again and again while clients put and add: what was acknowledged is there, and nothing is done twice.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use sinew::kvstore::{Key, KvBucket, Range};
use sinew::{Backoff, Client};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::program::Home;

/// Kills for each transport: 100 altogether.
const ROUNDS: u64 = 50;
/// Clients of one session that put at the same time, each its own keys.
const WRITERS: u64 = 16;
/// Keys of each.
const KEYS: u64 = 20;

#[cfg(feature = "zmq")]
#[test]
fn no_acknowledged_write_is_lost_over_zmq() {
    check("zmq");
}

#[cfg(feature = "quic")]
#[test]
fn no_acknowledged_write_is_lost_over_quic() {
    check("quic");
}

/// What was acknowledged, recorded here, outside of the server.
#[derive(Debug, Default)]
struct Recorded {
    /// Of each key the newest value, a number that rises, and its revision.
    newest: HashMap<Key, (u64, u64)>,
    /// Sum of what was added to the counter.
    added: i64,
    writes: u64,
}

fn check(scheme: &str) {
    let began = Instant::now();
    let home = Home::new();
    let server = home.serve(&[]);
    let url = server.url(scheme);
    let port = url.rsplit_once(':').unwrap().1.to_owned();
    let keys = sinew::Home::at(home.path("")).unwrap();
    let (acknowledged, watched) = watch::channel(0_u64);
    let (stop, stopped) = watch::channel(false);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let kills = std::thread::spawn(move || {
        let mut server = server;
        for round in 0..ROUNDS {
            // Some rounds end with the first acknowledgement after a start, others amid many.
            let wanted = *watched.borrow() + 1 + round % 5 * 200;
            wait_for(&watched, wanted);
            server.running.signal(Signal::KILL);
            server.running.end();
            server = home.serve_at(&port);
        }
        let _ = stop.send(true);
        (home, server)
    });
    let recorded: Arc<Mutex<Recorded>> = Arc::default();
    let (stored, counter) = runtime.block_on(async {
        let backoff = Backoff { first: Duration::from_millis(10), max: Duration::from_millis(100) };
        let client = Client::builder(&url).home(keys).backoff(backoff).connect().await.unwrap();
        let bucket = client.kv().bucket(&"values".parse().unwrap());
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let (acknowledged, stopped) = (acknowledged.clone(), stopped.clone());
            writers.spawn(write(bucket.clone(), writer, recorded.clone(), acknowledged, stopped));
        }
        while let Some(done) = writers.join_next().await {
            done.unwrap();
        }
        let mut stored = HashMap::new();
        let mut scan = bucket.scan(Range { prefix: "k.".into(), ..Range::default() });
        while let Some(entry) = scan.next().await {
            let entry = entry.unwrap();
            stored.insert(entry.key, (number(&entry.value), entry.revision));
        }
        let counter = bucket.get(&"counter".parse().unwrap()).await.unwrap();
        (stored, counter.map_or(0, |entry| number(&entry.value) as i64))
    });
    let (_home, _server) = kills.join().unwrap();
    let recorded = recorded.lock().unwrap();
    assert_eq!(stored, recorded.newest, "of each key the newest that was acknowledged, at its revision");
    assert_eq!(counter, recorded.added, "each add is done once");
    eprintln!("{scheme}: {ROUNDS} kills, {} writes, {:?}", recorded.writes, began.elapsed());
}

/// Puts rising numbers under its keys, and adds to the one counter, until it is told to stop. Every write is answered,
/// whatever happens to the server.
async fn write(
    bucket: KvBucket,
    writer: u64,
    recorded: Arc<Mutex<Recorded>>,
    acknowledged: watch::Sender<u64>,
    stopped: watch::Receiver<bool>,
) {
    let counter: Key = "counter".parse().unwrap();
    let mut value = 0;
    while !*stopped.borrow() {
        value += 1;
        let key: Key = format!("k.{writer}.{}", value % KEYS).parse().unwrap();
        let stored = bucket.put(&key, value.to_string()).await.expect("it is sent again until it is answered");
        recorded.lock().unwrap().newest.insert(key, (value, stored.revision));
        if value % 4 == 0 {
            bucket.add(&counter, writer as i64).await.expect("it is sent again until it is answered");
            recorded.lock().unwrap().added += writer as i64;
        }
        recorded.lock().unwrap().writes += 1;
        acknowledged.send_modify(|count| *count += 1);
    }
}

fn number(value: &[u8]) -> u64 {
    std::str::from_utf8(value).unwrap().parse().unwrap()
}

/// Waits on a thread.
fn wait_for(watched: &watch::Receiver<u64>, wanted: u64) {
    let mut watched = watched.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async { watched.wait_for(|count| *count >= wanted).await.map(drop) }).expect("it goes on");
}
