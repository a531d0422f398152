//! How fast blocks go one way, and how long a small one takes there and back: two threads, each with a runtime of its
//! own, over loopback, plaintext and with CURVE.
//!
//! `cargo run --release -p sinew-transport-zmq --example measure_zmq`

use std::error::Error;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sinew_auth::{AdmitEveryone, Identity};
use sinew_transport_api::{
    Block, ConnectOptions, Connection, Endpoint, Lane, LaneSet, ListenOptions, Security, Transport,
};
use sinew_transport_zmq::ZmqTransport;

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

const RUN: Duration = Duration::from_secs(2);
const ROUND_TRIPS: usize = 20_000;

fn main() -> Outcome {
    println!("| security | block | MB/s | blocks/s |\n|---|---|---|---|");
    for secure in [false, true] {
        for size in [128, 1024, 16 * 1024, 64 * 1024] {
            let (_, blocks) =
                run(secure, move |client| Box::pin(send(client, size)), |server| Box::pin(count(server)))?;
            let rate = blocks.0 as f64 / blocks.1.as_secs_f64();
            println!("| {} | {size} | {:.0} | {rate:.0} |", name(secure), rate * size as f64 / 1e6);
        }
    }
    for secure in [false, true] {
        let (times, _) = run(secure, |client| Box::pin(ping(client)), |server| Box::pin(echo(server)))?;
        let at = |percent: usize| times[times.len() * percent / 100];
        println!("{}: round trip of 128 bytes p50 {:?}, p99 {:?}", name(secure), at(50), at(99));
    }
    Ok(())
}

fn name(secure: bool) -> &'static str {
    if secure { "CURVE" } else { "plaintext" }
}

type Work<T> = std::pin::Pin<Box<dyn Future<Output = Outcome<T>>>>;

/// Connects two threads, and gives what each of them found.
fn run<C, S: Send + 'static>(
    secure: bool,
    client: impl FnOnce(Connection) -> Work<C>,
    server: impl FnOnce(Connection) -> Work<S> + Send + 'static,
) -> Outcome<(C, S)> {
    let identity = Arc::new(Identity::generate());
    let key = identity.public_key();
    let security = |identity| if secure { Security::Identity(identity) } else { Security::Plaintext };
    let listen = ListenOptions::new(security(identity), Arc::new(AdmitEveryone));
    let connect = ConnectOptions::new(security(Arc::new(Identity::generate())), secure.then_some(key));
    let (endpoint_in, endpoint) = mpsc::channel::<Endpoint>();
    let serving = std::thread::spawn(move || -> Outcome<S> {
        runtime()?.block_on(async {
            let mut listener = ZmqTransport.bind(&"zmq://127.0.0.1:0".parse()?, &listen).await?;
            endpoint_in.send(listener.endpoint().clone())?;
            server(listener.accept().await?).await
        })
    });
    let endpoint = endpoint.recv()?;
    let found = runtime()?.block_on(async { client(ZmqTransport.connect(&endpoint, &connect).await?).await })?;
    Ok((found, serving.join().expect("the server does not panic")?))
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

async fn send(mut client: Connection, size: usize) -> Outcome {
    let payload = Bytes::from(vec![7; size]);
    let end = Instant::now() + RUN;
    while Instant::now() < end {
        let mut block = Block::from(payload.clone());
        while !client.sender.try_send(Lane::CONTROL, &mut block)? {
            client.sender.ready(LaneSet::from(Lane::CONTROL)).await?;
        }
    }
    Ok(client.sender.close().await?)
}

async fn count(mut server: Connection) -> Outcome<(usize, Duration)> {
    let (start, mut blocks) = (Instant::now(), 0);
    while server.receiver.recv().await?.is_some() {
        blocks += 1;
    }
    let found = (blocks, start.elapsed());
    wait_for_the_end(server).await;
    Ok(found)
}

async fn ping(mut client: Connection) -> Outcome<Vec<Duration>> {
    let payload = Bytes::from(vec![7; 128]);
    let mut times = Vec::with_capacity(ROUND_TRIPS);
    for _ in 0..ROUND_TRIPS {
        let start = Instant::now();
        client.sender.try_send(Lane::CONTROL, &mut Block::from(payload.clone()))?;
        client.receiver.recv().await?;
        times.push(start.elapsed());
    }
    client.sender.close().await?;
    times.sort();
    Ok(times)
}

async fn echo(mut server: Connection) -> Outcome {
    while let Some((lane, bytes)) = server.receiver.recv().await? {
        server.sender.try_send(lane, &mut Block::from(bytes))?;
    }
    wait_for_the_end(server).await;
    Ok(())
}

/// The client hears that all was read before this thread's runtime goes.
async fn wait_for_the_end(mut server: Connection) {
    // It fails when the client has gone, which is what is waited for.
    let _ = server.sender.close().await;
}
