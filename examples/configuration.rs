//! Settings that reload themselves: a program that goes on while somebody changes them.
//!
//! With `sinew serve` running, in two terminals:
//! ```text
//! cargo run --release --example configuration watch
//! cargo run --release --example configuration set 50
//! ```
//! A speed of 0 ends the first one. A URL as last argument chooses the server.

use serde::{Deserialize, Serialize};
use sinew::Client;
use sinew::kvstore::recipes::Configuration;
use sinew::kvstore::{BucketConfig, Error, Key, KvBucket};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Limits {
    speed: u32,
}

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

const USAGE: &str = "usage: configuration watch [URL], or configuration set SPEED [URL]";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    run(std::env::args().skip(1)).await
}

/// Watches the settings, or changes them.
pub(crate) async fn run(mut arguments: impl Iterator<Item = String>) -> Outcome {
    let role = arguments.next().ok_or(USAGE)?;
    let speed = if role == "set" { Some(arguments.next().ok_or(USAGE)?.parse()?) } else { None };
    let client = arguments.next().map_or_else(Client::local, Client::builder).connect().await?;
    let (bucket, key) = (client.kv().bucket(&"config".parse()?), "robot.limits".parse()?);
    match speed {
        Some(speed) => drop(bucket.put_value(&key, &Limits { speed }).await?),
        None if role == "watch" => watch(&bucket, &key).await?,
        None => return Err(USAGE.into()),
    }
    client.close().await?;
    Ok(())
}

async fn watch(bucket: &KvBucket, key: &Key) -> Outcome {
    // The first put makes the bucket, and a watch needs one.
    if let Err(Error::UnknownBucket { .. }) = bucket.info().await {
        bucket.make(&BucketConfig::default()).await?;
    }
    let limits = Configuration::open(bucket, key, Limits { speed: 10 }).await?;
    let mut now = limits.current();
    loop {
        println!("speed {}", now.speed);
        if now.speed == 0 {
            return Ok(());
        }
        now = limits.changed().await?;
    }
}
