//! A stream's state from its journal: the newest snapshot of producers, and what was appended since.

use sinew_journal::{BatchView, Error as JournalError, Journal, JournalReader};
use sinew_session::{ResourceName, from_value};

use super::stored_stream::{KIND_OPENING, is_events};
use crate::planted::is_planted;
use crate::producers::{Opening, Producers, Remembered};
use crate::stream::StreamState;

/// Bytes that are read at one time.
const READ_BYTES: usize = 1 << 20;

/// The state, and the offset and the openings of the snapshot that it was made from.
pub(super) fn restore(
    name: &ResourceName,
    journal: &Journal,
    producers_max: u32,
) -> Result<(StreamState, (u64, u64)), JournalError> {
    let reader = journal.reader();
    let (first, next) = reader.range();
    let (mut producers, from) = snapshot(name, &reader, first, producers_max)?;
    let openings = producers.openings();
    if !is_planted("producers not restored") {
        replay(name, &reader, from, &mut producers)?;
        producers.replayed();
    }
    Ok((StreamState::new(name.to_string(), next, journal.timestamp(), producers), (from, openings)))
}

/// The producers as of an offset from which the log has everything.
fn snapshot(
    name: &ResourceName,
    reader: &JournalReader,
    first: u64,
    producers_max: u32,
) -> Result<(Producers, u64), JournalError> {
    let Some((offset, bytes)) = reader.latest_snapshot()? else { return Ok((Producers::new(producers_max), first)) };
    if offset < first {
        // What is missing in between may be about any of them: better forgotten than wrong.
        tracing::warn!(stream = %name, offset, first, "the newest snapshot of producers is too old; they are forgotten");
        return Ok((Producers::new(producers_max), first));
    }
    match Producers::restore(&bytes, producers_max) {
        Ok(producers) => Ok((producers, offset)),
        Err(why) => {
            tracing::error!(stream = %name, offset, why, "a snapshot of producers cannot be read; they are taken from the log");
            Ok((Producers::new(producers_max), first))
        }
    }
}

fn replay(
    name: &ResourceName,
    reader: &JournalReader,
    from: u64,
    producers: &mut Producers,
) -> Result<(), JournalError> {
    // Openings take no offset: those made after the snapshot may stand at the end of the segment before, behind the last
    // event below it.
    let mut cursor = reader.cursor(from.saturating_sub(1).max(reader.range().0));
    loop {
        match reader.read_on(&mut cursor, READ_BYTES) {
            Ok(batches) if batches.is_empty() => return Ok(()),
            Ok(batches) => batches.iter().for_each(|batch| replay_batch(name, batch, from, producers)),
            Err(JournalError::Damaged(damage)) => cursor = reader.cursor(damage.to),
            Err(error) => return Err(error),
        }
    }
}

fn replay_batch(name: &ResourceName, batch: &BatchView, from: u64, producers: &mut Producers) {
    let header = &batch.header;
    if header.kind == KIND_OPENING {
        match from_value::<Opening>(&batch.body) {
            Ok(opening) => producers.replay_opening(&opening),
            Err(error) => tracing::error!(stream = %name, why = error.why, "the opening of a producer cannot be read"),
        }
    } else if is_events(header) && header.producer_id != 0 && header.base_offset >= from {
        // A compacted batch has fewer events than the producer sent; the offsets that it takes are still as many.
        let batch = Remembered {
            sequence: header.sequence,
            count: header.span,
            first: header.base_offset,
            timestamp: header.timestamp,
        };
        producers.replay_batch(header.producer_id, batch);
    }
}
