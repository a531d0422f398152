//! A client that appends to a stream of its own, with many appends in flight, and then reads all of it again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use sinew::{
    AppendOptions, AppendTicket, EventBatch, EventBatchBuilder, FollowOptions, Log, NewEvent, Position, ResourceName,
    StreamConfig,
};

use super::words::Word;
use crate::failure::Outcome;

/// Appends on their way at one time.
pub(super) const IN_FLIGHT: usize = 64;

/// Appends for `time`, reads it all again, and tells both. Every event must stand where its acknowledgement said.
pub(super) async fn append(log: &Log, size: usize, time: Duration) -> Outcome {
    let stream = ResourceName::try_from(format!("demo-{}", std::process::id()).as_str())?;
    log.create(&stream, &StreamConfig::default()).await?;
    let (appended, append_seconds) = fill(log, &stream, size, time).await?;
    let began = Instant::now();
    let mut events =
        log.follow(&stream, Position::Start, FollowOptions { to: Some(appended), ..Default::default() }).await?;
    let mut replayed = 0;
    while let Some(event) = events.next_event().await {
        if event.offset != replayed || number_of(&event.payload) != Some(replayed) {
            return Err(format!(
                "at offset {} stands {:?}, not event {replayed}",
                event.offset,
                number_of(&event.payload)
            )
            .into());
        }
        replayed += 1;
    }
    let replay_seconds = began.elapsed().as_secs_f64();
    events.finish()?;
    log.delete(&stream).await?;
    Word::Log { appended, append_seconds, replayed, replay_seconds }.say()?;
    Ok(())
}

/// How many were acknowledged, and in how many seconds.
async fn fill(log: &Log, stream: &ResourceName, size: usize, time: Duration) -> Outcome<(u64, f64)> {
    let (began, mut sent, mut acknowledged) = (Instant::now(), 0, 0);
    let mut tickets: VecDeque<AppendTicket> = VecDeque::with_capacity(IN_FLIGHT);
    loop {
        while tickets.len() < IN_FLIGHT && began.elapsed() < time {
            tickets.push_back(log.append_start(stream, event(sent, size)?, &AppendOptions::default()));
            sent += 1;
        }
        let Some(ticket) = tickets.pop_front() else { break };
        let appended = ticket.await?;
        if appended.first != acknowledged {
            return Err(format!("event {acknowledged} was stored at offset {}", appended.first).into());
        }
        acknowledged += 1;
    }
    Ok((acknowledged, began.elapsed().as_secs_f64()))
}

fn event(number: u64, size: usize) -> Outcome<EventBatch> {
    let mut payload = number.to_le_bytes().to_vec();
    payload.resize(size.max(payload.len()), 0x5a);
    let mut batch = EventBatchBuilder::default();
    batch.push(&NewEvent::new(payload))?;
    Ok(batch.finish())
}

fn number_of(payload: &[u8]) -> Option<u64> {
    payload.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}
