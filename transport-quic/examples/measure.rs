//! One-way throughput with blocks of 64 KiB and round trips of 128 B over loopback, secured, between two threads with a
//! current-thread runtime each: `cargo run --release -p sinew-transport-quic --example measure [SECONDS]`.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sinew_auth::{AdmitEveryone, Identity};
use sinew_transport_api::{
    Block, ConnectOptions, Connection, Endpoint, Lane, LaneSet, ListenOptions, Receiver, Security, Sender, Transport,
};
use sinew_transport_quic::Quic;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const BLOCK_BYTES: usize = 64 * 1024;
const PING_BYTES: usize = 128;
const PINGS: usize = 20_000;

fn main() -> Outcome<()> {
    let seconds = std::env::args().nth(1).map_or(Ok(3), |text| text.parse())?;
    let server = Arc::new(Identity::generate());
    let (endpoint_out, endpoint_in) = std::sync::mpsc::channel();
    let identity = Arc::clone(&server);
    let serving = std::thread::spawn(move || runtime()?.block_on(serve(identity, &endpoint_out)));
    let endpoint: Endpoint = endpoint_in.recv()?;
    runtime()?.block_on(async {
        let security = Security::Identity(Arc::new(Identity::generate()));
        let options = ConnectOptions::new(security, Some(server.public_key()));
        let mut connection = Quic.connect(&endpoint, &options).await?;
        round_trips(&mut connection).await?;
        one_way(&mut connection, Duration::from_secs(seconds)).await
    })?;
    serving.join().map_err(|_| "the server panicked")?
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Echoes what is small, counts what is large.
async fn serve(identity: Arc<Identity>, endpoint: &std::sync::mpsc::Sender<Endpoint>) -> Outcome<()> {
    let options = ListenOptions::new(Security::Identity(identity), Arc::new(AdmitEveryone));
    let mut listener = Quic.bind(&"quic://127.0.0.1:0".parse()?, &options).await?;
    endpoint.send(listener.endpoint().clone())?;
    let Connection { mut sender, mut receiver, .. } = listener.accept().await?;
    let mut total = 0;
    while let Some((lane, bytes)) = receiver.recv().await? {
        match bytes.len() {
            PING_BYTES => send(&mut sender, lane, bytes).await?,
            size => total += size,
        }
    }
    println!("received {:.1} MB in blocks", total as f64 / 1e6);
    Ok(())
}

async fn send(sender: &mut Box<dyn Sender>, lane: Lane, bytes: Bytes) -> Outcome<()> {
    let mut block = Block::from(bytes);
    while !sender.try_send(lane, &mut block)? {
        sender.ready(LaneSet::from(lane)).await?;
    }
    Ok(())
}

async fn echo(receiver: &mut Box<dyn Receiver>) -> Outcome<()> {
    receiver.recv().await?.map(|_| ()).ok_or_else(|| "the server closed the connection".into())
}

async fn round_trips(connection: &mut Connection) -> Outcome<()> {
    let ping = Bytes::from(vec![1; PING_BYTES]);
    let mut times = Vec::with_capacity(PINGS);
    for _ in 0..PINGS {
        let start = Instant::now();
        send(&mut connection.sender, Lane::CONTROL, ping.clone()).await?;
        echo(&mut connection.receiver).await?;
        times.push(start.elapsed());
    }
    times.sort();
    let at = |share: f64| times[(PINGS as f64 * share) as usize].as_secs_f64() * 1e6;
    println!("round trip {PING_BYTES} B: p50 {:.0} µs, p99 {:.0} µs", at(0.5), at(0.99));
    Ok(())
}

async fn one_way(connection: &mut Connection, duration: Duration) -> Outcome<()> {
    let bytes = Bytes::from(vec![2; BLOCK_BYTES]);
    let (start, mut blocks) = (Instant::now(), 0);
    while start.elapsed() < duration {
        send(&mut connection.sender, Lane::CONTROL, bytes.clone()).await?;
        blocks += 1;
    }
    connection.sender.close().await?;
    let seconds = start.elapsed().as_secs_f64();
    let megabytes = (blocks * BLOCK_BYTES) as f64 / 1e6;
    println!("one way, blocks of {BLOCK_BYTES} B: {:.0} MB/s", megabytes / seconds);
    println!("{:?}", connection.sender.path());
    Ok(())
}
