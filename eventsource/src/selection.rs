//! Which stored events go to a reader: from where, up to where, and which of them. Whole runs of records at a time, so
//! that bodies travel as they are stored.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sinew_session::{NameError, Pattern, Subject};

use crate::StoredBatch;

/// Which events a reader wants. The default wants all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Wish", try_from = "Wish")]
pub struct Filter {
    /// Only those with a subject that the pattern stands for.
    pub subject: Option<Pattern>,
    /// Only those under exactly this key.
    pub key: Option<Bytes>,
}

impl Filter {
    /// Only events about what the pattern stands for.
    pub fn subject(pattern: Pattern) -> Self {
        Self { subject: Some(pattern), key: None }
    }

    /// Only events under this key.
    pub fn key(key: impl Into<Bytes>) -> Self {
        Self { subject: None, key: Some(key.into()) }
    }

    /// Whether it wants every event.
    pub fn is_all(&self) -> bool {
        self.subject.is_none() && self.key.is_none()
    }

    /// Whether it wants an event with this subject and this key.
    pub fn accepts(&self, subject: Option<&Subject>, key: Option<&[u8]>) -> bool {
        let about = |pattern: &Pattern| subject.is_some_and(|subject| pattern.matches(subject));
        self.subject.as_ref().is_none_or(about) && self.key.as_ref().is_none_or(|wanted| key == Some(wanted))
    }
}

/// A [`Filter`] as it travels and is kept.
#[derive(Serialize, Deserialize)]
struct Wish {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<ByteString>,
}

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct ByteString(#[serde(with = "crate::engine::serde_bytes_compat")] Vec<u8>);

impl From<Filter> for Wish {
    fn from(filter: Filter) -> Self {
        let subject = filter.subject.map(|pattern| pattern.as_str().to_owned());
        Self { subject, key: filter.key.map(|key| ByteString(key.to_vec())) }
    }
}

impl TryFrom<Wish> for Filter {
    type Error = NameError;

    fn try_from(wish: Wish) -> Result<Self, NameError> {
        let subject = wish.subject.as_deref().map(Pattern::try_from).transpose()?;
        Ok(Self { subject, key: wish.key.map(|ByteString(key)| key.into()) })
    }
}

/// What of a stream a reader gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    /// The first offset.
    pub(crate) from: u64,
    /// The first that it does not get any more.
    pub(crate) to: Option<u64>,
    pub(crate) filter: Filter,
}

impl Selection {
    fn is_within(&self, offset: u64) -> bool {
        offset >= self.from && self.to.is_none_or(|to| offset < to)
    }

    /// The wanted events of a batch as runs of neighbours, each of at most `bytes_max` bytes unless one event is larger.
    /// A batch that is wanted whole comes as it is.
    pub(crate) fn pieces(&self, batch: &StoredBatch, bytes_max: usize, out: &mut Vec<StoredBatch>) {
        let last = batch.first + u64::from(batch.events.span().max(1)) - 1;
        let whole = self.is_within(batch.first) && self.is_within(last);
        if whole && self.filter.is_all() && batch.events.body().len() <= bytes_max {
            return out.push(batch.clone());
        }
        let mut run: Option<Run> = None;
        for view in batch.events.views() {
            let subject = || Subject::try_from(batch.events.body().slice_ref(view.subject?)).ok();
            let wanted = self.is_within(batch.first + u64::from(view.delta))
                && (self.filter.is_all() || self.filter.accepts(subject().as_ref(), view.key));
            let fits = run.is_some_and(|run| wanted && view.at + view.size - run.start <= bytes_max);
            if !fits {
                out.extend(run.take().map(|run| run.of(batch)));
            }
            if wanted {
                let run = run.get_or_insert(Run { start: view.at, end: view.at, count: 0, span: 0, largest: 0 });
                (run.end, run.count, run.span) = (view.at + view.size, run.count + 1, view.delta + 1);
                run.largest = run.largest.max(view.size as u32);
            }
        }
        out.extend(run.map(|run| run.of(batch)));
    }
}

/// Neighbouring records of a batch.
#[derive(Clone, Copy, Debug)]
struct Run {
    start: usize,
    end: usize,
    count: u32,
    span: u32,
    largest: u32,
}

impl Run {
    fn of(self, batch: &StoredBatch) -> StoredBatch {
        let events = batch.events.part(self.start..self.end, self.count, self.span, self.largest);
        StoredBatch { events, ..*batch }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{EventBatch, EventBatchBuilder, NewEvent};

    fn batch(events: &[(u32, NewEvent)]) -> StoredBatch {
        let mut builder = EventBatchBuilder::default();
        events.iter().for_each(|(delta, event)| builder.push_at(*delta, event).unwrap());
        StoredBatch { first: 100, timestamp: 7, events: builder.finish() }
    }

    fn offsets(selection: &Selection, batch: &StoredBatch, bytes_max: usize) -> Vec<Vec<u64>> {
        let mut out = Vec::new();
        selection.pieces(batch, bytes_max, &mut out);
        let parsed = |piece: &StoredBatch| EventBatch::parse(piece.events.body().clone()).unwrap();
        assert!(out.iter().all(|piece| parsed(piece) == piece.events), "each is a batch as its bytes say");
        out.iter().map(|piece| piece.events.events(piece.first, 0).map(|event| event.offset).collect()).collect()
    }

    fn plain(count: u32) -> StoredBatch {
        batch(&(0..count).map(|delta| (delta, NewEvent::new("x"))).collect::<Vec<_>>())
    }

    #[test]
    fn a_batch_is_cut_to_what_was_asked_for() {
        let batch = plain(5);
        let all = Selection::default();
        assert_eq!(offsets(&all, &batch, 1_000), [[100, 101, 102, 103, 104]]);
        assert_eq!(offsets(&Selection { from: 103, ..all.clone() }, &batch, 1_000), [[103, 104]]);
        assert_eq!(offsets(&Selection { to: Some(102), ..all.clone() }, &batch, 1_000), [[100, 101]]);
        assert_eq!(offsets(&Selection { from: 105, ..all.clone() }, &batch, 1_000), Vec::<Vec<u64>>::new());
        // 17 bytes each: two to a piece, and one that is too large by itself comes all the same.
        assert_eq!(offsets(&all, &batch, 40), [vec![100, 101], vec![102, 103], vec![104]]);
        assert_eq!(offsets(&all, &batch, 1).len(), 5);
    }

    #[test]
    fn filters_look_at_subject_and_key() {
        let about = |text: &str| NewEvent::new("x").subject(Subject::try_from(text).unwrap());
        let batch = batch(&[
            (0, about("a.b").key("k")),
            (1, about("a.c")),
            (4, NewEvent::new("x").key("k")),
            (5, about("z").key("k")),
            (6, about("a.d").key("k")),
        ]);
        let by = |filter| Selection { filter, ..Selection::default() };
        let pattern = Pattern::try_from("a.*").unwrap();
        assert_eq!(offsets(&by(Filter::subject(pattern.clone())), &batch, 1_000), [vec![100, 101], vec![106]]);
        assert_eq!(offsets(&by(Filter::key("k")), &batch, 1_000), [vec![100], vec![104, 105, 106]]);
        let both = Filter { subject: Some(pattern), key: Some("k".into()) };
        assert_eq!(offsets(&by(both), &batch, 1_000), [[100], [106]]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_doubled_or_out_of_order(
            keys in proptest::collection::vec((0u32..3, 0u8..3), 0..40), from in 0u64..160, to in 0u64..160, bytes_max in 1usize..200,
        ) {
            let mut delta = 0;
            let events: Vec<_> = keys.iter().map(|(step, key)| {
                delta += step + 1;
                (delta, NewEvent::new("x").key(vec![*key]))
            }).collect();
            let batch = batch(&events);
            let selection = Selection { from, to: Some(to), filter: Filter::key(vec![1]) };
            let wanted: Vec<u64> = events.iter().filter(|(_, event)| event.key.as_deref() == Some(&[1]))
                .map(|(delta, _)| 100 + u64::from(*delta)).filter(|offset| (from..to).contains(offset)).collect();
            prop_assert_eq!(offsets(&selection, &batch, bytes_max).concat(), wanted);
        }
    }
}
