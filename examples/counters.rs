//! The original's four counters: four programs share a store, and each sets its own counter to 0 … 999 and reads each value
//! back, which is the one that it has just set.
//!
//! With `sinew serve` running:
//! ```text
//! for counter in 0 1 2 3; do cargo run --release --example counters $counter & done; wait
//! ```
//! A URL as second argument chooses the server and, by its scheme, the transport:
//! ```text
//! cargo run --release --example counters 0 quic://127.0.0.1:7463
//! ```

use std::time::Instant;

use sinew::Client;
use sinew::kvstore::Key;

const ROUNDS: u32 = 1_000;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    run(std::env::args().skip(1)).await
}

/// Plays one of the counters.
pub(crate) async fn run(mut arguments: impl Iterator<Item = String>) -> Outcome {
    let counter = arguments.next().ok_or("usage: counters NUMBER [URL]")?;
    let client = arguments.next().map_or_else(Client::local, Client::builder).connect().await?;
    let bucket = client.kv().bucket(&"counters".parse()?);
    let key = Key::try_from(format!("counter.{counter}").as_str())?;
    let start = Instant::now();
    for round in 0..ROUNDS {
        bucket.put_value(&key, &round).await?; // on disk when this returns
        let read: Option<u32> = bucket.get_value(&key).await?;
        if read != Some(round) {
            return Err(format!("{key} is {read:?}, and was just set to {round}").into());
        }
    }
    let each = start.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS);
    println!("{key}: {ROUNDS} times set and read, {each:.0} µs each");
    client.close().await?;
    Ok(())
}
