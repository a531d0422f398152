//! Ping-pong of two programs through the bus, in the order of your liking: no sleep, no port to agree on.
//!
//! With `sinew serve` running, in two terminals:
//! ```text
//! cargo run --release --example ping_pong pong
//! cargo run --release --example ping_pong ping
//! ```
//! A URL as second argument chooses the server and, by its scheme, the transport; the two may differ:
//! ```text
//! cargo run --release --example ping_pong pong zmq://127.0.0.1:7463
//! cargo run --release --example ping_pong ping quic://127.0.0.1:7463
//! ```

use std::time::{Duration, Instant};

use sinew::{Bus, Client, Delivery, Pattern, Subject};

const ROUNDS: u32 = 10_000;
/// How often the first ping is sent until somebody answers.
const FIRST_EVERY: Duration = Duration::from_millis(200);

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1);
    let role = arguments.next().ok_or("usage: ping_pong ping|pong [URL]")?;
    let client = arguments.next().map_or_else(Client::local, Client::builder).connect().await?;
    match role.as_str() {
        "ping" => ping(client.bus()).await?,
        "pong" => pong(client.bus()).await?,
        other => return Err(format!("`{other}` is neither ping nor pong").into()),
    }
    client.close().await?;
    Ok(())
}

/// Sends pings, and measures how long the answers take.
async fn ping(bus: &Bus) -> Outcome {
    // Once this resolves the server has the subscription: no answer can be missed.
    let mut pongs = bus.subscribe(&Pattern::try_from("pongs")?).await?;
    let pings = Subject::try_from("pings")?;
    loop {
        bus.publish(&pings, "ping").await?;
        match tokio::time::timeout(FIRST_EVERY, pongs.next()).await {
            Ok(Some(_)) => break,
            Ok(None) => return Err("the session has ended".into()),
            Err(_) => eprintln!("nobody answers yet; start the other one with `pong`"),
        }
    }
    let start = Instant::now();
    for _ in 0..ROUNDS {
        bus.publish(&pings, "ping").await?;
        pongs.next().await.ok_or("the session has ended")?;
    }
    println!("{ROUNDS} rounds, {:.1} µs each", start.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS));
    Ok(())
}

/// Answers pings until it is stopped.
async fn pong(bus: &Bus) -> Outcome {
    let mut pings = bus.subscribe(&Pattern::try_from("pings")?).await?;
    let pongs = Subject::try_from("pongs")?;
    println!("waiting for pings");
    while let Some(delivery) = pings.next().await {
        if let Delivery::Message(_) = delivery {
            bus.publish(&pongs, "pong").await?;
        }
    }
    Ok(())
}
