//! The ping-pong: one process publishes to `pings` and hears `pongs`, the other the other way round.

use std::time::{Duration, Instant};

use bytes::Bytes;
use sinew::{Bus, Delivery, Pattern, Subject, Subscription};

use super::words::Word;
use crate::failure::Outcome;

/// Rounds that are not measured: caches and routes are warm then.
const WARM_UP: u32 = 200;
/// A round that takes longer is lost.
const ROUND_TIMEOUT: Duration = Duration::from_secs(5);

/// Publishes `ping`, waits for `pong`, so many times or for so long.
pub(super) async fn ping(bus: &Bus, rounds: u32, time: Duration) -> Outcome {
    let mut pongs = bus.subscribe(&Pattern::try_from("pongs")?).await?;
    let pings = Subject::try_from("pings")?;
    let mut took_ns = Vec::with_capacity(rounds as usize);
    let began = Instant::now();
    for round in 0..WARM_UP + rounds {
        let start = Instant::now();
        bus.publish(&pings, Bytes::from_static(b"ping")).await?;
        tokio::time::timeout(ROUND_TIMEOUT, expect(&mut pongs, b"pong")).await.map_err(|_| "a pong did not come")??;
        if round >= WARM_UP {
            took_ns.push(start.elapsed().as_nanos() as u64);
        }
        if round > WARM_UP && began.elapsed() > time {
            break;
        }
    }
    Word::round_trips(took_ns).say()?;
    Ok(())
}

/// Answers each `ping` with `pong`, until the process is ended.
pub(super) async fn pong(bus: &Bus) -> Outcome {
    let mut pings = bus.subscribe(&Pattern::try_from("pings")?).await?;
    let pongs = Subject::try_from("pongs")?;
    Word::Ready.say()?;
    loop {
        expect(&mut pings, b"ping").await?;
        bus.publish(&pongs, Bytes::from_static(b"pong")).await?;
    }
}

async fn expect(subscription: &mut Subscription, body: &[u8]) -> Outcome {
    match subscription.next().await {
        Some(Delivery::Message(message)) if message.body == body => Ok(()),
        Some(other) => Err(format!("instead of `{}` came {other:?}", body.escape_ascii()).into()),
        None => Err(subscription.end().map_or_else(|| "the subscription has ended".into(), Into::into)),
    }
}
