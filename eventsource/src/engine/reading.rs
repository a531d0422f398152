//! Reading one stream: from memory where it has it, else from its journal.

use sinew_hosting::locked;
use sinew_journal::{BatchView, Error as JournalError};

use super::stored_stream::{StoredStream, is_events};
use crate::{Error, EventBatch, Page, ReadLimits, Result, StoredBatch};

/// Bytes that are asked of the journal at one time.
const READ_BYTES_MAX: usize = 1 << 20;

impl StoredStream {
    /// What there is from this offset on, where no disk is needed to tell: the end of the stream, and what was appended
    /// lately.
    pub(crate) fn read_here(&self, from: u64, limits: &ReadLimits) -> Option<Result<Page>> {
        let range = self.current_range();
        if range.ended {
            return Some(Err(self.ended()));
        }
        if from < range.first || from > range.next {
            return Some(Err(self.out_of_range(from)));
        }
        if from == range.next {
            return Some(Ok(Page { batches: Vec::new(), next: from, end: from }));
        }
        locked(&self.tail).page(from, limits).map(Ok)
    }

    /// The same, from disk where that is where it is: it may wait.
    pub(crate) fn read(&self, from: u64, limits: &ReadLimits) -> Result<Page> {
        if let Some(page) = self.read_here(from, limits) {
            return page;
        }
        let reader = self.reader();
        let end = self.current_range().next;
        let mut page = Page { batches: Vec::new(), next: from, end };
        let (mut cursor, mut bytes, mut events) = (reader.cursor(from), 0, 0);
        loop {
            let wanted = limits.bytes_max.saturating_sub(bytes).clamp(1, READ_BYTES_MAX);
            let batches = match reader.read_on(&mut cursor, wanted) {
                Ok(batches) => batches,
                // What was read before it is given first.
                Err(JournalError::Damaged(_)) if !page.batches.is_empty() => return Ok(page),
                Err(error) => return Err(self.read_failed(error)),
            };
            if batches.is_empty() {
                // Offsets up to the end were removed by compaction.
                page.next = page.next.max(end);
                return Ok(page);
            }
            for batch in &batches {
                if let Some(stored) = self.stored_batch(batch)? {
                    bytes += stored.events.body().len();
                    events += stored.events.count() as usize;
                    page.batches.push(stored);
                }
                page.next = page.next.max(batch.header.next_offset());
                if events >= limits.events_max {
                    page.end = page.end.max(page.next);
                    return Ok(page);
                }
            }
            page.end = page.end.max(page.next);
            if !page.batches.is_empty() {
                return Ok(page);
            }
        }
    }

    /// A batch of events; `None` for what is not read by anybody.
    pub(super) fn stored_batch(&self, batch: &BatchView) -> Result<Option<StoredBatch>> {
        let header = &batch.header;
        if !is_events(header) || batch.body.is_empty() {
            return Ok(None);
        }
        let events = EventBatch::parse(batch.body.clone()).map_err(|error| Error::Damaged {
            stream: self.name.to_string(),
            from: header.base_offset,
            to: header.next_offset(),
            why: error.to_string(),
        })?;
        Ok(Some(StoredBatch { first: header.base_offset, timestamp: header.timestamp, events }))
    }

    /// The first offset whose event is not older.
    pub(crate) fn offset_at(&self, timestamp: u64) -> Result<u64> {
        self.reader().offset_at(timestamp).map_err(|error| self.read_failed(error))
    }

    pub(super) fn read_failed(&self, error: JournalError) -> Error {
        match error {
            JournalError::OutOfRange { requested, .. } => self.out_of_range(requested),
            JournalError::Damaged(damage) => {
                self.note_damage(damage.from, damage.to);
                Error::Damaged {
                    stream: self.name.to_string(),
                    from: damage.from,
                    to: damage.to,
                    why: format!("segment {}, byte {}", damage.segment, damage.position),
                }
            }
            error => self.storage()(error),
        }
    }

    pub(crate) fn out_of_range(&self, requested: u64) -> Error {
        let (first, next) = self.reader().range();
        let shown = self.current_range();
        Error::OutOfRange { stream: self.name.to_string(), requested, first: first.max(shown.first), next }
    }
}
