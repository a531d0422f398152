//! Throughput: a publisher, and a subscriber that counts and tells how far it is, so that no more than
//! [`OUTSTANDING_MAX`] messages are on their way and none has to be dropped.

use std::time::{Duration, Instant};

use bytes::Bytes;
use sinew::{Bus, Delivery, Pattern, Subject, Subscription};

use super::words::Word;
use crate::failure::Outcome;

/// Messages that are published and not yet known to have come.
pub(super) const OUTSTANDING_MAX: u64 = 8_192;
/// The subscriber tells its count after so many.
pub(super) const TELL_EVERY: u64 = 1_024;
/// Nothing for so long is a failure.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// A payload begins with its place in a ring of so many, so that the subscriber sees the order.
pub(super) const RING: u64 = 1_024;
/// Messages between two looks at the clock.
const LOOK_EVERY: u64 = 256;

const DATA: &str = "demo.load.data";
const END: &str = "demo.load.end";
const PROGRESS: &str = "demo.progress";

/// The payloads of one ring: made once, published again and again.
pub(super) fn ring(size: usize) -> Vec<Bytes> {
    let payload = |index: u64| {
        let mut payload = vec![b'.'; size.max(8)];
        payload[..8].copy_from_slice(&index.to_le_bytes());
        Bytes::from(payload)
    };
    (0..RING).map(payload).collect()
}

/// What came, against what had to come.
#[derive(Debug)]
pub(super) struct Arrivals {
    pub(super) count: u64,
    disordered: u64,
    began: Option<Instant>,
}

impl Arrivals {
    pub(super) fn new() -> Self {
        Self { count: 0, disordered: 0, began: None }
    }

    /// Takes one in; true where the count is to be told.
    #[inline]
    pub(super) fn enter(&mut self, payload: &[u8]) -> bool {
        self.began.get_or_insert_with(Instant::now);
        let index = payload.first_chunk().map(|index| u64::from_le_bytes(*index));
        self.disordered += u64::from(index != Some(self.count % RING));
        self.count += 1;
        self.count.is_multiple_of(TELL_EVERY)
    }

    /// The result, where so many were sent.
    pub(super) fn received(&self, sent: u64) -> Word {
        let seconds = self.began.map_or(0.0, |began| began.elapsed().as_secs_f64());
        Word::Received { messages: self.count, lost: sent - self.count.min(sent), disordered: self.disordered, seconds }
    }
}

/// Publishes for so long, tells how many, and ends when all are known to have come.
pub(super) async fn publish(bus: &Bus, size: usize, time: Duration) -> Outcome {
    let mut progress = bus.subscribe(&Pattern::try_from(PROGRESS)?).await?;
    let (data, ring) = (Subject::try_from(DATA)?, ring(size));
    let (mut sent, mut arrived) = (0_u64, 0_u64);
    let began = Instant::now();
    while !sent.is_multiple_of(LOOK_EVERY) || began.elapsed() < time {
        if sent - arrived >= OUTSTANDING_MAX {
            arrived = told(&mut progress).await?;
        }
        let payload = &ring[(sent % RING) as usize];
        if !bus.try_publish(&data, payload)? {
            bus.publish(&data, payload.clone()).await?;
        }
        sent += 1;
    }
    bus.publish(&Subject::try_from(END)?, sent.to_le_bytes().to_vec()).await?;
    while arrived < sent {
        arrived = told(&mut progress).await?;
    }
    Word::Sent { messages: sent }.say()?;
    Ok(())
}

/// The newest count of the subscriber.
async fn told(progress: &mut Subscription) -> Outcome<u64> {
    let mut newest = count(progress.next(), PATIENCE).await?.ok_or("the subscriber told nothing for seconds")?;
    while let Some(newer) = count(progress.next(), Duration::ZERO).await? {
        newest = newer;
    }
    Ok(newest)
}

async fn count(next: impl Future<Output = Option<Delivery>>, patience: Duration) -> Outcome<Option<u64>> {
    let next = if patience.is_zero() {
        tokio::select! {
            biased;
            next = next => Some(next),
            () = std::future::ready(()) => None,
        }
    } else {
        tokio::time::timeout(patience, next).await.ok()
    };
    match next {
        None => Ok(None),
        Some(Some(Delivery::Message(message))) => {
            Ok(message.body.first_chunk().map(|count| u64::from_le_bytes(*count)))
        }
        Some(other) => Err(format!("instead of a count came {other:?}").into()),
    }
}

/// Counts until the publisher's end, and tells what came.
pub(super) async fn subscribe(bus: &Bus) -> Outcome {
    let mut load = bus.subscribe(&Pattern::try_from("demo.load.*")?).await?;
    let progress = Subject::try_from(PROGRESS)?;
    Word::Ready.say()?;
    let mut arrivals = Arrivals::new();
    let sent = loop {
        match load.next().await {
            Some(Delivery::Message(message)) if message.subject.as_bytes() == DATA.as_bytes() => {
                if arrivals.enter(&message.body) {
                    bus.publish(&progress, arrivals.count.to_le_bytes().to_vec()).await?;
                }
            }
            Some(Delivery::Message(message)) => {
                break message.body.first_chunk().map_or(0, |count| u64::from_le_bytes(*count));
            }
            // What was lost is missing in the count.
            Some(_) => {}
            None => return Err(load.end().map_or_else(|| "the subscription has ended".into(), Into::into)),
        }
    };
    arrivals.received(sent).say()?;
    bus.publish(&progress, arrivals.count.to_le_bytes().to_vec()).await?;
    Ok(())
}
