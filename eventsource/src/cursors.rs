//! Cursors of one stream as a table: what may be stored, and the bytes of an update and of the whole. No IO.
//!
//! Readers see what is stored: a round is [`judge`](Cursors::judge)d beside the table and enters it by
//! [`apply`](Cursors::apply) once it is on disk.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use serde::{Deserialize, Serialize};
use sinew_session::{from_value, to_value};

use crate::{CURSOR_NAME_BYTES_MAX, CURSOR_RANGES_MAX, CURSOR_STATE_BYTES_MAX, Cursor, CursorUpdate, Error, Result};

/// Cursors of one stream.
pub const CURSORS_MAX: usize = 10_000;
/// Bytes of all cursors of one stream: its snapshot is written whole.
pub const CURSORS_BYTES_MAX: usize = 64 * 1024 * 1024;

/// All cursors, as they are stored.
#[derive(Debug, Default)]
pub(crate) struct Cursors {
    table: BTreeMap<String, Cursor>,
    bytes: usize,
}

/// What a round has accepted so far.
#[derive(Debug, Default)]
pub(crate) struct PendingCursors {
    /// Bytes of each that it touches, none for one that is removed.
    sizes: HashMap<String, Option<usize>>,
    /// Cursors and bytes that there are more of than in the table, or fewer.
    more: (isize, isize),
    updates: Vec<CursorUpdate>,
}

impl Cursors {
    /// Accepts a commit into the round, all of it or nothing.
    pub(crate) fn judge(&self, stream: &str, pending: &mut PendingCursors, updates: Vec<CursorUpdate>) -> Result<()> {
        for update in &updates {
            check(update).map_err(|why| Error::Cursor {
                stream: stream.to_owned(),
                cursor: update.name.chars().take(CURSOR_NAME_BYTES_MAX).collect(),
                why,
            })?;
        }
        // Costs what this commit has, however much the round has already.
        let mut touched = HashMap::new();
        for CursorUpdate { name, cursor } in &updates {
            touched.insert(name, cursor.as_ref().map(|of| size(name, of)));
        }
        let mut more = pending.more;
        for (name, new) in &touched {
            let stored = || self.table.get(*name).map(|cursor| size(name, cursor));
            let old = pending.sizes.get(*name).copied().unwrap_or_else(stored);
            more.0 += isize::from(new.is_some()) - isize::from(old.is_some());
            more.1 += new.unwrap_or(0) as isize - old.unwrap_or(0) as isize;
        }
        let (count, bytes) = (self.table.len().saturating_add_signed(more.0), self.bytes.saturating_add_signed(more.1));
        let grows = count > self.table.len() || bytes > self.bytes;
        if grows && (count > CURSORS_MAX || bytes > CURSORS_BYTES_MAX) {
            let reason = format!(
                "stream `{stream}` would have {count} cursors of {bytes} bytes, and may have {CURSORS_MAX} of \
                 {CURSORS_BYTES_MAX}; remove those that nobody uses"
            );
            return Err(Error::Limit { reason });
        }
        pending.sizes.extend(touched.into_iter().map(|(name, size)| (name.clone(), size)));
        pending.more = more;
        pending.updates.extend(updates);
        Ok(())
    }

    /// The round is stored.
    pub(crate) fn apply(&mut self, updates: Vec<CursorUpdate>) {
        for CursorUpdate { name, cursor } in updates {
            let old = self.table.remove_entry(&name);
            self.bytes -= old.map_or(0, |(name, cursor)| size(&name, &cursor));
            if let Some(cursor) = cursor {
                self.bytes += size(&name, &cursor);
                self.table.insert(name, cursor);
            }
        }
    }

    pub(crate) fn cursor(&self, name: &str) -> Option<Cursor> {
        self.table.get(name).cloned()
    }

    /// Those behind `after`, in order, at most `max`.
    pub(crate) fn page(&self, after: Option<&str>, max: usize) -> Vec<(String, Cursor)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let behind = self.table.range::<str, _>((from, Bound::Unbounded));
        behind.take(max).map(|(name, cursor)| (name.clone(), cursor.clone())).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// The table as bytes: `docs/STORAGE.md`, "Cursors".
    pub(crate) fn snapshot(&self) -> Vec<u8> {
        let all: Vec<_> = self.table.iter().collect();
        to_value(&all).expect("numbers, texts and bytes can be written")
    }

    /// What [`snapshot`](Self::snapshot) wrote. `Err` says what does not hold.
    pub(crate) fn restore(bytes: &[u8]) -> Result<Self, String> {
        let all: Vec<(String, Cursor)> = from_value(bytes).map_err(|error| error.why)?;
        let mut cursors = Self::default();
        let update = |(name, cursor)| CursorUpdate { name, cursor: Some(cursor) };
        cursors.apply(all.into_iter().map(update).collect());
        Ok(cursors)
    }
}

impl PendingCursors {
    pub(crate) fn is_empty(&self) -> bool {
        self.updates.is_empty()
    }

    /// The updates of the round in their order.
    pub(crate) fn into_updates(self) -> Vec<CursorUpdate> {
        self.updates
    }

    pub(crate) fn updates(&self) -> &[CursorUpdate] {
        &self.updates
    }
}

/// As it stands in the log of cursors.
#[derive(Serialize, Deserialize)]
struct StoredUpdate {
    name: String,
    cursor: Option<Cursor>,
}

/// Updates as bytes.
pub(crate) fn encode_updates(updates: &[CursorUpdate]) -> Vec<u8> {
    let stored = |update: &CursorUpdate| StoredUpdate { name: update.name.clone(), cursor: update.cursor.clone() };
    let stored: Vec<_> = updates.iter().map(stored).collect();
    to_value(&stored).expect("numbers, texts and bytes can be written")
}

/// What [`encode_updates`] wrote. `Err` says what does not hold.
pub(crate) fn decode_updates(bytes: &[u8]) -> Result<Vec<CursorUpdate>, String> {
    let stored: Vec<StoredUpdate> = from_value(bytes).map_err(|error| error.why)?;
    Ok(stored.into_iter().map(|StoredUpdate { name, cursor }| CursorUpdate { name, cursor }).collect())
}

/// Why an update cannot be stored.
fn check(update: &CursorUpdate) -> Result<(), String> {
    let bytes = update.name.len();
    if !(1..=CURSOR_NAME_BYTES_MAX).contains(&bytes) {
        return Err(format!("its name has {bytes} bytes, and may have 1 to {CURSOR_NAME_BYTES_MAX}"));
    }
    let Some(cursor) = &update.cursor else { return Ok(()) };
    if cursor.state.len() > CURSOR_STATE_BYTES_MAX {
        return Err(format!("its state has {} bytes, and may have {CURSOR_STATE_BYTES_MAX}", cursor.state.len()));
    }
    if cursor.above.len() > CURSOR_RANGES_MAX {
        let count = cursor.above.len();
        return Err(format!("it has {count} ranges above its offset, and may have {CURSOR_RANGES_MAX}"));
    }
    let mut least = cursor.offset;
    for (from, to) in &cursor.above {
        if *from <= least || to <= from {
            return Err(format!("its range {from} to {to} does not rise above {least}"));
        }
        least = *to;
    }
    Ok(())
}

/// About what it takes in a snapshot.
fn size(name: &str, cursor: &Cursor) -> usize {
    name.len() + 32 + cursor.above.len() * 20 + cursor.state.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn update(name: &str, cursor: Cursor) -> CursorUpdate {
        CursorUpdate { name: name.into(), cursor: Some(cursor) }
    }

    #[track_caller]
    fn check_refused(update: CursorUpdate, text: &str) {
        let mut pending = PendingCursors::default();
        let error = Cursors::default().judge("s", &mut pending, vec![update]).expect_err("refused");
        assert_eq!(error.to_string(), text);
        assert!(pending.is_empty());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        check_refused(
            update("", Cursor::default()),
            "cursor `` of `s` was not stored: its name has 0 bytes, and may have 1 to 255",
        );
        check_refused(
            update("a", Cursor { state: vec![0; 16_385], ..Cursor::default() }),
            "cursor `a` of `s` was not stored: its state has 16385 bytes, and may have 16384",
        );
        check_refused(
            update("a", Cursor { offset: 5, above: vec![(5, 6)], ..Cursor::default() }),
            "cursor `a` of `s` was not stored: its range 5 to 6 does not rise above 5",
        );
        check_refused(
            update("a", Cursor { offset: 5, above: vec![(7, 9), (9, 9)], ..Cursor::default() }),
            "cursor `a` of `s` was not stored: its range 9 to 9 does not rise above 9",
        );
        let above = (0..4_097).map(|at| (at * 2 + 2, at * 2 + 3)).collect();
        check_refused(
            update("a", Cursor { offset: 0, above, ..Cursor::default() }),
            "cursor `a` of `s` was not stored: it has 4097 ranges above its offset, and may have 4096",
        );
    }

    #[test]
    fn there_are_not_too_many() {
        let mut cursors = Cursors::default();
        let all = (0..CURSORS_MAX).map(|at| update(&at.to_string(), Cursor::default())).collect();
        cursors.apply(all);
        let mut pending = PendingCursors::default();
        let one_more = vec![update("one more", Cursor::default())];
        assert!(matches!(cursors.judge("s", &mut pending, one_more.clone()), Err(Error::Limit { .. })));
        let gone = CursorUpdate { name: "7".into(), cursor: None };
        cursors.judge("s", &mut pending, vec![gone]).expect("fewer than before");
        cursors.judge("s", &mut pending, one_more).expect("in its place");
        cursors.judge("s", &mut pending, vec![update("8", Cursor { offset: 9, ..Cursor::default() })]).expect("there");
    }

    fn some_cursor() -> impl Strategy<Value = Option<Cursor>> {
        let above = proptest::collection::vec((1_u64..5, 1_u64..5), 0..4);
        let cursor = (0_u64..100, above, proptest::collection::vec(any::<u8>(), 0..5));
        proptest::option::weighted(
            0.8,
            cursor.prop_map(|(offset, steps, state)| {
                let mut at = offset;
                let range = |(gap, length)| {
                    let from = at + gap;
                    at = from + length;
                    (from, at)
                };
                Cursor { offset, above: steps.into_iter().map(range).collect(), state }
            }),
        )
    }

    proptest! {
        #[test]
        fn the_table_agrees_with_a_map(rounds in proptest::collection::vec(
            (proptest::collection::vec(("[a-d]{1,2}", some_cursor()), 0..5), any::<bool>(), any::<bool>()), 0..40)
        ) {
            let (mut cursors, mut model) = (Cursors::default(), BTreeMap::new());
            for (updates, is_stored, restarts) in rounds {
                let updates: Vec<_> = updates.into_iter().map(|(name, cursor)| CursorUpdate { name, cursor }).collect();
                let mut pending = PendingCursors::default();
                cursors.judge("s", &mut pending, updates.clone()).expect("these can be stored");
                prop_assert_eq!(decode_updates(&encode_updates(pending.updates())), Ok(updates.clone()));
                if is_stored {
                    cursors.apply(pending.into_updates());
                    for CursorUpdate { name, cursor } in updates {
                        match cursor {
                            Some(cursor) => model.insert(name, cursor),
                            None => model.remove(&name),
                        };
                    }
                }
                if restarts {
                    cursors = Cursors::restore(&cursors.snapshot()).expect("written by us");
                }
                let all: Vec<_> = model.clone().into_iter().collect();
                prop_assert_eq!(cursors.page(None, 100), all.clone());
                prop_assert_eq!(cursors.bytes, all.iter().map(|(name, cursor)| size(name, cursor)).sum::<usize>());
                for (at, (name, cursor)) in all.iter().enumerate() {
                    prop_assert_eq!(cursors.cursor(name), Some(cursor.clone()));
                    prop_assert_eq!(cursors.page(Some(name), 1), all[at + 1..].iter().take(1).cloned().collect::<Vec<_>>());
                }
            }
        }

        #[test]
        fn random_bytes_never_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = (Cursors::restore(&bytes), decode_updates(&bytes));
        }
    }
}
