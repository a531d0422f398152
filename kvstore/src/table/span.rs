//! Which keys a scan is about: where it begins, and where it has ended.

use std::ops::Bound;

use crate::Range;

/// A range of keys in order of their bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    start: Bound<Vec<u8>>,
    prefix: Vec<u8>,
    end: Option<Vec<u8>>,
}

impl Span {
    pub(crate) fn new(range: &Range) -> Self {
        let included = [Some(&range.prefix), range.from.as_ref()].into_iter().flatten().max().map(String::as_bytes);
        let after = range.after.as_ref().map(String::as_bytes);
        let start = match (included, after) {
            (included, Some(after)) if included.is_none_or(|from| from <= after) => Bound::Excluded(after.to_vec()),
            (Some(from), _) => Bound::Included(from.to_vec()),
            (None, _) => Bound::Unbounded,
        };
        let (prefix, end) = (range.prefix.clone().into_bytes(), range.to.clone().map(String::into_bytes));
        Self { start, prefix, end }
    }

    /// The keys to look at begin here.
    pub(crate) fn start(&self) -> Bound<&[u8]> {
        self.start.as_ref().map(Vec::as_slice)
    }

    /// Whether a key at or behind the beginning is within; none behind the first that is not.
    pub(crate) fn holds(&self, key: &[u8]) -> bool {
        key.starts_with(&self.prefix) && self.end.as_ref().is_none_or(|end| key < end.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(range: Range, start: Bound<&str>, holds: &[(&str, bool)]) {
        let span = Span::new(&range);
        assert_eq!(span.start(), start.map(str::as_bytes), "{range:?}");
        for (key, expected) in holds {
            assert_eq!(span.holds(key.as_bytes()), *expected, "{key} in {range:?}");
        }
    }

    #[test]
    fn a_span_begins_at_the_last_of_what_is_said_and_ends_at_the_first() {
        let text = |text: &str| Some(text.to_owned());
        check(Range::default(), Bound::Included(""), &[("a", true), ("z", true)]);
        let prefix = Range { prefix: "b.".into(), ..Range::default() };
        check(prefix.clone(), Bound::Included("b."), &[("b.a", true), ("b", false), ("c", false)]);
        check(Range { from: text("b.c"), ..prefix.clone() }, Bound::Included("b.c"), &[("b.c", true), ("c", false)]);
        check(Range { from: text("a"), ..prefix.clone() }, Bound::Included("b."), &[]);
        check(Range { after: text("b.c"), ..prefix.clone() }, Bound::Excluded("b.c"), &[("b.ca", true)]);
        check(Range { after: text("a"), ..prefix.clone() }, Bound::Included("b."), &[]);
        let both = Range { from: text("b.c"), after: text("b.c"), to: text("b.x"), ..prefix };
        check(both, Bound::Excluded("b.c"), &[("b.wz", true), ("b.x", false), ("b.xa", false)]);
    }
}
