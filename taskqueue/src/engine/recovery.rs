//! A queue as its journal has it: every record in order.

use sinew_journal::{Error as JournalError, JournalReader, Recovery};
use sinew_session::ResourceName;

use super::codec::{KIND_RECORDS, Records};
use super::{storage, storage_of};
use crate::Result;
use crate::planted::is_planted;
use crate::scheduler::{Record, Scheduler};

/// Bytes that are read at one time.
const READ_BYTES: usize = 1 << 20;

/// Applies everything that is stored. Costs one read of the journal.
pub(super) fn replay(name: &ResourceName, reader: &JournalReader, scheduler: &mut Scheduler) -> Result<()> {
    let mut cursor = reader.cursor(reader.range().0);
    loop {
        let batches = match reader.read_on(&mut cursor, READ_BYTES) {
            Ok(batches) if batches.is_empty() => return Ok(()),
            Ok(batches) => batches,
            // It was told of when the journal was opened.
            Err(JournalError::Damaged(damage)) => {
                cursor = reader.cursor(damage.to);
                continue;
            }
            Err(error) => return Err(storage(name)(error)),
        };
        for batch in batches {
            let at = batch.header.base_offset;
            if batch.header.kind != KIND_RECORDS {
                let why = format!("record {at} of its journal is of kind {}, which is not known", batch.header.kind);
                return Err(storage_of(name.as_str(), why));
            }
            for record in Records::of(batch.body) {
                // To take a part of them would be another queue.
                let record = record.map_err(|why| {
                    storage_of(name.as_str(), format!("the records from {at} on of its journal cannot be read: {why}"))
                })?;
                if !(is_planted("attempts not restored") && matches!(record, Record::Begun { .. })) {
                    scheduler.apply(record);
                }
            }
        }
    }
}

/// What a start has to say.
pub(super) fn report(name: &ResourceName, recovery: &Recovery) {
    if let Some(cut) = &recovery.cut {
        let (bytes, saved) = (cut.bytes, cut.saved.as_ref().map(|path| path.display().to_string()));
        tracing::warn!(queue = %name, bytes, saved, "what was never acknowledged was cut off the end");
    }
    for damage in &recovery.damaged {
        let (from, to) = (damage.from, damage.to);
        tracing::error!(queue = %name, from, to, "records are damaged: tasks may be missing, or be done again");
    }
    for (path, why) in &recovery.suspect {
        tracing::warn!(queue = %name, path = %path.display(), "{why}");
    }
}
