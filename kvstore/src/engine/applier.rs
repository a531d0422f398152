//! What waits is taken into the table, piece by piece, beside rounds and readers.
//!
//! Each piece is a batch of the table, with what the table has by then. Up to which revision it is complete is written with
//! the last piece of a generation: whatever a crash leaves of one, the journal from there on makes it whole, since it has
//! the same newest values or newer ones.

use std::sync::PoisonError;

use super::row::{self, Meta};
use super::shown::{InTable, Waiting, memory_of};
use super::store::RowChange;
use super::stored_bucket::StoredBucket;
use crate::planted::is_planted;
use crate::{Key, Result};
use sinew_hosting::locked;

/// Rows of a piece: while it is taken, readers of the table wait.
const PIECE_ROWS: usize = 256;
/// So small in tests that they see generations that were taken in part.
const ROWS: usize = if cfg!(test) { 2 } else { PIECE_ROWS };

impl StoredBucket {
    /// Takes everything that waits into the table, and wakes the writes that wait for room.
    ///
    /// # Errors
    /// `Storage`, after which the process must end: the table has failed.
    pub(super) fn apply_now(&self) -> Result<()> {
        while self.apply_one()? {}
        Ok(())
    }

    /// Hands what the tables were given to the operating system, so that a start after a kill has little to replay.
    pub(super) fn flush(&self) {
        if let Err(error) = self.stores.flush() {
            self.table_failed(&error);
        }
    }

    /// Takes one generation; `false` when nothing waits.
    pub(super) fn apply_one(&self) -> Result<bool> {
        let mut meta = locked(&self.applied);
        let Some((generation, revision)) = locked(&self.shown).begin_applying() else { return Ok(false) };
        let Ok(table) = self.table() else { return Ok(false) };
        let mut rest = generation.iter();
        loop {
            let (rows, next, bytes) = piece(&mut rest, &meta);
            let is_last = rest.len() == 0;
            let next = Meta { revision: if is_last { revision } else { next.revision }, ..next };
            let next = if is_planted("position before the rows") { Meta { revision, ..next } } else { next };
            let still = self.still.write().unwrap_or_else(PoisonError::into_inner);
            table.apply(rows, next.encode()).map_err(|error| self.table_failed(&error))?;
            drop(still);
            *meta = next;
            if is_last {
                break;
            }
            locked(&self.shown).make_room(bytes);
            self.wake_waiting();
        }
        locked(&self.shown).end_applying();
        self.wake_waiting();
        Ok(true)
    }

    /// Writes may have waited for room.
    fn wake_waiting(&self) {
        if !self.inbox.is_empty() {
            self.wake();
        }
    }
}

/// The next rows, what the table has once they are in it, and the bytes of memory that they took.
fn piece<'a>(rest: &mut impl Iterator<Item = (&'a Key, &'a Waiting)>, meta: &Meta) -> (Vec<RowChange>, Meta, usize) {
    let (mut rows, mut meta, mut memory) = (Vec::new(), *meta, 0);
    for (key, waiting) in rest.take(ROWS) {
        let after = InTable::of(key, waiting.stored.as_ref());
        for (of, sign) in [(waiting.in_table, -1_i64), (after, 1)] {
            let Some(bytes) = of.bytes else { continue };
            let counts = &mut meta.counts;
            counts.keys = counts.keys.saturating_add_signed(sign);
            counts.bytes = counts.bytes.saturating_add_signed(sign * bytes as i64);
            meta.expiring = meta.expiring.saturating_add_signed(sign * i64::from(of.expires));
        }
        memory += memory_of(key, waiting.stored.as_ref());
        let row = waiting.stored.as_ref().map(row::encode);
        rows.push((bytes::Bytes::copy_from_slice(key.as_bytes()), row));
    }
    (rows, meta, memory)
}
