//! The server killed again and again while a producer appends: what was acknowledged is there, each event once, in order.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use sinew::{AppendTicket, Backoff, Client, EventBatchBuilder, FollowOptions, NewEvent, Position, ResourceName};
use tokio::sync::watch;

use super::program::Home;

/// Kills for each transport: 100 altogether.
const ROUNDS: u64 = 50;
/// Batches of the producer that are not acknowledged at one time.
const IN_FLIGHT: usize = 32;
/// Batches of one to so many events.
const BATCH_MAX: u64 = 8;

#[cfg(feature = "zmq")]
#[test]
fn nothing_acknowledged_is_lost_over_zmq() {
    check("zmq");
}

#[cfg(feature = "quic")]
#[test]
fn nothing_acknowledged_is_lost_over_quic() {
    check("quic");
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
    let (sent, recorded, stored) = runtime.block_on(async {
        let backoff = Backoff { first: Duration::from_millis(10), max: Duration::from_millis(100) };
        let client = Client::builder(&url).home(keys).backoff(backoff).connect().await.unwrap();
        let stream: ResourceName = "events".try_into().unwrap();
        client.log().create(&stream, &sinew::StreamConfig::default()).await.unwrap();
        let (sent, recorded) = produce(&client, &stream, &acknowledged, &stopped).await;
        (sent, recorded, read(&client, &stream).await)
    });
    let (_home, _server) = kills.join().unwrap();
    let expected: Vec<(u64, u64)> = (0..sent).map(|number| (number, number)).collect();
    assert!(recorded == expected, "every event is acknowledged, in order, at the offset of its own number");
    assert!(stored == expected, "{} of {sent} events are stored, each once and in order", stored.len());
    eprintln!("{scheme}: {ROUNDS} kills, {sent} events, {:?}", began.elapsed());
}

/// Waits on a thread.
fn wait_for(watched: &watch::Receiver<u64>, wanted: u64) {
    let mut watched = watched.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async { watched.wait_for(|count| *count >= wanted).await.map(drop) }).expect("it goes on");
}

/// Appends numbers until it is told to stop; gives how many, and of each the offset that it was acknowledged with.
async fn produce(
    client: &Client,
    stream: &ResourceName,
    acknowledged: &watch::Sender<u64>,
    stopped: &watch::Receiver<bool>,
) -> (u64, Vec<(u64, u64)>) {
    let producer = client.log().producer(stream, &"numbers".try_into().unwrap()).await.unwrap();
    let mut in_flight: VecDeque<(u64, AppendTicket)> = VecDeque::new();
    let (mut sent, mut recorded) = (0, Vec::new());
    loop {
        let open = !*stopped.borrow();
        if open && in_flight.len() < IN_FLIGHT {
            let mut batch = EventBatchBuilder::default();
            let next = sent + 1 + sent % BATCH_MAX;
            (sent..next).for_each(|number| batch.push(&NewEvent::new(number.to_string())).unwrap());
            in_flight.push_back((sent, producer.append_start(batch.finish()).await.unwrap()));
            sent = next;
            continue;
        }
        let Some((number, ticket)) = in_flight.pop_front() else { return (sent, recorded) };
        let appended = ticket.await.expect("a producer's batch is stored, whatever happens to the server");
        let count = u64::from(appended.count);
        recorded.extend((0..count).map(|event| (number + event, appended.first + event)));
        acknowledged.send_replace(number + count);
    }
}

/// Number and offset of every stored event.
async fn read(client: &Client, stream: &ResourceName) -> Vec<(u64, u64)> {
    let options = FollowOptions { live: false, ..FollowOptions::default() };
    let mut follower = client.log().follow(stream, Position::Start, options).await.unwrap();
    let mut events = Vec::new();
    while let Some(event) = follower.next_event().await {
        events.push((std::str::from_utf8(&event.payload).unwrap().parse().unwrap(), event.offset));
    }
    follower.finish().unwrap();
    events
}
