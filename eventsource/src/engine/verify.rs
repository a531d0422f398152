//! Reading all of one stream, to know whether it is still good.

use std::ops::ControlFlow;

use sinew_hosting::{GoOn, locked};
use sinew_journal::{Error as JournalError, JournalReader};
use sinew_session::from_value;

use super::stored_stream::{KIND_EVENTS, KIND_OPENING, StoredStream};
use crate::cursors::Cursors;
use crate::producers::{Opening, Producers};
use crate::{EventBatch, Progress, Result, Verified};

/// Ranges and problems that are told.
const TOLD_MAX: usize = 100;
const READ_BYTES: usize = 1 << 20;

/// Checks every batch, every event, the snapshots, and the cursors. Costs two reads of everything: one for the bytes, one
/// for what they mean.
pub(super) fn verify(stream: &StoredStream, go_on: GoOn<'_>) -> Result<Verified> {
    // Nothing is removed under it.
    let _one = locked(&stream.upkeep);
    let reader = stream.reader();
    let cursors = stream.cursors.reader();
    let bytes = |reader: &JournalReader| reader.segments().iter().map(|segment| segment.bytes).sum::<u64>();
    let of_cursors = cursors.as_ref().map_or(0, |(reader, _)| bytes(reader));
    let total = 2 * bytes(&reader) + of_cursors;
    let mut progress = Progress { done: 0, total };
    let mut found = Verified { first: reader.range().0, ..Verified::default() };
    let mut problems = Vec::new();
    let mut read = |reader: &JournalReader, what: &str, go_on: GoOn<'_>| {
        let before = progress.done;
        let report = reader.verify(&mut |of| {
            progress.done = before + of.bytes_done;
            if go_on(progress) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        let report = report.map_err(stream.storage())?;
        let suspect = report.suspect.iter().map(|path| format!("{what}: {} has a damaged header", path.display()));
        problems.extend(suspect);
        Ok::<_, crate::Error>(report)
    };
    let report = read(&reader, "events", go_on)?;
    found.bytes = report.bytes;
    found.damaged = report.damaged.iter().map(|damage| (damage.from, damage.to)).collect();
    if let Some((cursors, _kept)) = cursors {
        let report = read(&cursors, "cursors", go_on)?;
        found.bytes += report.bytes;
        if !report.damaged.is_empty() {
            problems.push(format!("cursors: {} updates or more are damaged", report.damaged.len()));
        }
        let snapshot = cursors.latest_snapshot().map_err(stream.storage())?;
        if let Some(Err(why)) = snapshot.map(|(_, bytes)| Cursors::restore(&bytes)) {
            problems.push(format!("cursors: their snapshot cannot be read: {why}"));
        }
    }
    let snapshot = reader.latest_snapshot().map_err(stream.storage())?;
    if let Some(Err(why)) = snapshot.map(|(_, bytes)| Producers::restore(&bytes, u32::MAX)) {
        problems.push(format!("producers: their snapshot cannot be read: {why}"));
    }
    events(stream, &reader, &mut progress, &mut found, &mut problems, go_on)?;
    found.damaged.sort_unstable();
    found.damaged.dedup();
    for (from, to) in found.damaged.iter().take(TOLD_MAX) {
        stream.note_damage(*from, *to);
    }
    found.damaged.truncate(TOLD_MAX);
    problems.truncate(TOLD_MAX);
    found.problems = problems;
    Ok(found)
}

/// Every batch's meaning, and that offsets and times rise.
fn events(
    stream: &StoredStream,
    reader: &JournalReader,
    progress: &mut Progress,
    found: &mut Verified,
    problems: &mut Vec<String>,
    go_on: GoOn<'_>,
) -> Result<()> {
    let (first, next) = reader.range();
    let (mut cursor, mut due, mut time) = (reader.cursor(first), first, 0);
    found.next = next;
    loop {
        let batches = match reader.read_on(&mut cursor, READ_BYTES) {
            Ok(batches) => batches,
            Err(JournalError::Damaged(damage)) => {
                cursor = reader.cursor(damage.to);
                continue;
            }
            Err(error) => return Err(stream.read_failed(error)),
        };
        for batch in &batches {
            let header = &batch.header;
            let mut problem = |why: String| {
                if problems.len() < TOLD_MAX {
                    problems.push(format!("events: at offset {}: {why}", header.base_offset));
                }
            };
            if header.base_offset < due || header.timestamp < time {
                problem("its offset or its time is below that of the one before".into());
            }
            (due, time) = (header.next_offset(), header.timestamp);
            match header.kind {
                KIND_EVENTS => match EventBatch::parse(batch.body.clone()) {
                    Ok(events) if events.count() == header.records && events.span() <= header.span => {
                        found.events += u64::from(events.count());
                    }
                    Ok(_) => problem("it has not as many events as its header says".into()),
                    Err(error) => {
                        found.damaged.push((header.base_offset, header.next_offset()));
                        problem(error.to_string());
                    }
                },
                KIND_OPENING => {
                    if let Err(error) = from_value::<Opening>(&batch.body) {
                        problem(format!("the opening of a producer cannot be read: {}", error.why));
                    }
                }
                kind => problem(format!("it is of kind {kind}, which this version does not know")),
            }
            progress.done += 80 + u64::from(header.body_bytes);
        }
        if batches.is_empty() {
            return Ok(());
        }
        progress.total = progress.total.max(progress.done);
        if !go_on(*progress) {
            return Err(stream.storage()(JournalError::Cancelled));
        }
    }
}
