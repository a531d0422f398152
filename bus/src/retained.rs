//! Last values: the newest message of a subject that was published to be kept, for those who subscribe later.
//!
//! Bounded by count and bytes; what does not fit is refused, and nothing that is kept makes room by itself: whoever
//! relies on a kept value must not lose it to a stranger.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::{Pattern, Subject};
use sinew_session::PatternToken;

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetainedLimits {
    /// Subjects with a kept value. Default 10,000.
    pub subjects_max: usize,
    /// Bytes of all kept messages together. Default 16 MiB: a small machine has them to spare, and large state belongs
    /// into the key-value store.
    pub bytes_max: usize,
}

impl Default for RetainedLimits {
    fn default() -> Self {
        Self { subjects_max: 10_000, bytes_max: 16 << 20 }
    }
}

/// There is no room for another value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{subjects} values of {bytes} bytes are kept, and at most {} values of {} bytes may be; clear some, or raise the \
     limit at the server",
    limits.subjects_max,
    limits.bytes_max
)]
pub struct RetainedFull {
    /// Values that are kept.
    pub subjects: usize,
    /// Their bytes.
    pub bytes: usize,
    /// The limits.
    pub limits: RetainedLimits,
}

/// Kept values by subject; `R` is a message as it is stored.
#[derive(Debug)]
pub(crate) struct Retained<R> {
    by_subject: BTreeMap<Subject, (usize, R)>,
    bytes: usize,
    limits: RetainedLimits,
}

impl<R> Retained<R> {
    pub(crate) fn new(limits: RetainedLimits) -> Self {
        Self { by_subject: BTreeMap::new(), bytes: 0, limits }
    }

    /// Whether a value of this size can be kept under this subject now.
    pub(crate) fn check(&self, subject: &Subject, bytes: usize) -> Result<(), RetainedFull> {
        let old = self.by_subject.get(subject).map(|(bytes, _)| *bytes);
        let subjects = self.by_subject.len() + usize::from(old.is_none());
        let total = self.bytes - old.unwrap_or(0) + bytes;
        if subjects > self.limits.subjects_max || total > self.limits.bytes_max {
            return Err(RetainedFull { subjects: self.by_subject.len(), bytes: self.bytes, limits: self.limits });
        }
        Ok(())
    }

    /// Keeps a value in place of the one before, if there is room.
    pub(crate) fn keep(&mut self, subject: &Subject, bytes: usize, value: R) -> Result<(), RetainedFull> {
        self.check(subject, bytes)?;
        let old = self.by_subject.insert(subject.to_owned_bytes(), (bytes, value));
        self.bytes = self.bytes - old.map_or(0, |(bytes, _)| bytes) + bytes;
        Ok(())
    }

    /// The value of one subject.
    pub(crate) fn get(&self, subject: &Subject) -> Option<&R> {
        self.by_subject.get(subject).map(|(_, value)| value)
    }

    /// Values whose subjects match, in the order of the subjects, those after `after` alone. Looks only at subjects
    /// that begin as the pattern does.
    pub(crate) fn matching(
        &self,
        pattern: &Pattern,
        after: Option<&Subject>,
    ) -> impl Iterator<Item = (&Subject, usize, &R)> {
        let prefix = literal_prefix(pattern);
        let from = match after {
            Some(after) if after.as_bytes() >= &prefix[..] => Bound::Excluded(after.as_bytes()),
            _ => Bound::Included(&prefix[..]),
        };
        let near = self.by_subject.range::<[u8], _>((from, Bound::Unbounded));
        let length = prefix.len();
        let first = prefix.clone();
        near.take_while(move |(subject, _)| subject.as_bytes().get(..length) == Some(&first[..]))
            .filter(|(subject, _)| pattern.matches(subject))
            .map(|(subject, (bytes, value))| (subject, *bytes, value))
    }

    /// Forgets the values whose subjects match; gives their number.
    pub(crate) fn clear(&mut self, pattern: &Pattern) -> usize {
        let gone: Vec<Subject> = self.matching(pattern, None).map(|(subject, ..)| subject.clone()).collect();
        for subject in &gone {
            let (bytes, _) = self.by_subject.remove(subject).expect("just found");
            self.bytes -= bytes;
        }
        gone.len()
    }
}

/// What every subject that matches begins with.
fn literal_prefix(pattern: &Pattern) -> Vec<u8> {
    let mut prefix = Vec::new();
    for (index, token) in pattern.tokens().enumerate() {
        let PatternToken::Literal(text) = token else { break };
        if index > 0 {
            prefix.push(b'.');
        }
        prefix.extend_from_slice(text);
    }
    prefix
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn subject(text: &str) -> Subject {
        Subject::try_from(text).unwrap()
    }

    fn pattern(text: &str) -> Pattern {
        Pattern::try_from(text).unwrap()
    }

    fn found(retained: &Retained<u32>, text: &str) -> Vec<String> {
        retained.matching(&pattern(text), None).map(|(subject, ..)| subject.to_string()).collect()
    }

    #[test]
    fn the_newest_value_is_kept_within_the_limits() {
        let mut retained = Retained::new(RetainedLimits { subjects_max: 2, bytes_max: 10 });
        retained.keep(&subject("a"), 4, 1).unwrap();
        retained.keep(&subject("a"), 6, 2).unwrap();
        assert_eq!(retained.get(&subject("a")), Some(&2));
        assert!(retained.keep(&subject("b"), 5, 3).is_err(), "bytes");
        retained.keep(&subject("b"), 4, 4).unwrap();
        assert!(retained.keep(&subject("c"), 0, 5).is_err(), "subjects");
        assert_eq!(retained.get(&subject("b")), Some(&4), "what was refused changes nothing");
        assert_eq!((retained.clear(&pattern("*")), retained.bytes), (2, 0));
    }

    #[test]
    fn they_are_found_by_pattern_and_in_pages() {
        let mut retained = Retained::new(RetainedLimits::default());
        for (number, text) in ["a.1.x", "a.2.x", "a.2.y", "ab.1", "$S.a", "b"].iter().enumerate() {
            retained.keep(&subject(text), 1, number as u32).unwrap();
        }
        assert_eq!(found(&retained, "a.*.x"), ["a.1.x", "a.2.x"]);
        assert_eq!(found(&retained, "a.>"), ["a.1.x", "a.2.x", "a.2.y"]);
        assert_eq!(found(&retained, ">").len(), 5, "none that begins with $");
        assert_eq!(found(&retained, "$S.*"), ["$S.a"]);
        let after: Vec<_> =
            retained.matching(&pattern("a.>"), Some(&subject("a.2.x"))).map(|(s, ..)| s.to_string()).collect();
        assert_eq!(after, ["a.2.y"]);
    }

    proptest! {
        #[test]
        fn it_finds_what_a_list_finds(
            subjects in proptest::collection::btree_set("[ab$]{1,2}(\\.[ab]{1,2}){0,2}", 0..20),
            text in "([ab]{1,2}|\\*)(\\.([ab]|\\*)){0,2}(\\.>)?",
        ) {
            let mut retained = Retained::new(RetainedLimits::default());
            subjects.iter().for_each(|text| retained.keep(&subject(text), 1, 0).unwrap());
            let wanted = pattern(&text);
            let expected: Vec<_> = subjects.iter().filter(|text| wanted.matches(&subject(text))).cloned().collect();
            prop_assert_eq!(found(&retained, &text), expected);
        }
    }
}
