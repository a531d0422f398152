//! Keys in order, in pages, and what is kept of a key.

use bytes::BytesMut;
use sinew_session::{Failure, Lane, Record, read_call};

use super::answers::Reply;
use super::attachment::{KvAttachment, name};
use crate::protocol::{Asks, HistoryAsk, PageHead, ScanAsk, bad_request, change_frame, entry_frame, failure_of};
use crate::{Change, Key, PageLimits, Range};

/// Keys of one page, at most.
const PAGE_ITEMS_MAX: u64 = 65_536;

impl KvAttachment {
    pub(super) fn scan(&mut self, lane: Lane, record: &Record<'_>) -> Result<(), Failure> {
        let (_, ask): (_, ScanAsk) = read_call(record)?;
        let bucket = name(&ask.bucket)?;
        self.check(Asks::Scan(&format!("{bucket}.{}", shown_by(&ask.range))))?;
        let (shared, max) = (self.shared.clone(), self.shared.limits.page_bytes_max);
        let limits = PageLimits {
            bytes_max: usize::try_from(ask.bytes_max).unwrap_or(max).clamp(1, max),
            items_max: ask.items_max.clamp(1, PAGE_ITEMS_MAX) as usize,
            keys_only: ask.keys_only,
        };
        self.call(lane, record, async move {
            let scanning = async { shared.bucket(&bucket).await?.scan(&ask.range, limits).await };
            let page = scanning.await.map_err(|error| failure_of(&error))?;
            let mut body = BytesMut::new();
            page.entries.iter().for_each(|entry| entry_frame(entry, &mut body));
            let head = PageHead { revision: page.revision, more: page.more };
            Ok(Reply { head: head.encode().to_vec(), body: body.freeze() })
        })
    }

    pub(super) fn history(&mut self, lane: Lane, record: &Record<'_>) -> Result<(), Failure> {
        let (_, ask): (_, HistoryAsk) = read_call(record)?;
        let bucket = name(&ask.bucket)?;
        let key = Key::try_from(ask.key.as_str()).map_err(bad_request)?;
        self.check(Asks::Read(&format!("{bucket}.{key}")))?;
        let (shared, max) = (self.shared.clone(), self.shared.limits.page_bytes_max);
        self.call(lane, record, async move {
            let reading = async { shared.bucket(&bucket).await?.history(&key).await };
            let changes = reading.await.map_err(|error| failure_of(&error))?;
            let (mut body, mut head) = (BytesMut::new(), PageHead { revision: 0, more: false });
            for change in changes.iter().filter(|change| change.revision >= ask.from) {
                let bytes = match &change.change {
                    Change::Put { value, .. } => value.len(),
                    Change::Gone(_) => 0,
                };
                head.more = !body.is_empty() && body.len() + bytes > max;
                if head.more {
                    break;
                }
                change_frame(change, &mut body);
                head.revision = change.revision;
            }
            Ok(Reply { head: head.encode().to_vec(), body: body.freeze() })
        })
    }
}

/// A pattern that stands for every key that a range can show, as narrow as tokens allow: who may read all of that is shown
/// nothing else.
pub(super) fn shown_by(range: &Range) -> String {
    let begin = [range.from.as_deref(), range.after.as_deref()].into_iter().flatten().max().unwrap_or("");
    // Whatever lies between two texts begins with what both begin with.
    let end = range.to.as_deref().unwrap_or("");
    let shared = begin.bytes().zip(end.bytes()).take_while(|(one, other)| one == other).count();
    let shared = if range.to.is_some() { &begin.as_bytes()[..shared] } else { &[][..] };
    let all = if shared.len() > range.prefix.len() { shared } else { range.prefix.as_bytes() };
    // Whole tokens only; a dot is never part of a longer character.
    let Some(dot) = all.iter().rposition(|byte| *byte == b'.') else { return ">".to_owned() };
    match std::str::from_utf8(&all[..dot]) {
        // What is no subject is no beginning of a key; nothing lies there, and nobody need be permitted to see it all.
        Ok(tokens) if sinew_session::Subject::is_valid(tokens.as_bytes()) => format!("{tokens}.>"),
        _ => ">".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sinew_session::Pattern;

    use super::*;

    fn range(prefix: &str, from: Option<&str>, after: Option<&str>, to: Option<&str>) -> Range {
        let [from, after, to] = [from, after, to].map(|text| text.map(str::to_owned));
        Range { prefix: prefix.to_owned(), from, after, to }
    }

    #[test]
    fn what_a_range_can_show_is_as_narrow_as_whole_tokens() {
        for (range, pattern) in [
            (range("", None, None, None), ">"),
            (range("light", None, None, None), ">"),
            (range("lights.", None, None, None), "lights.>"),
            (range("lights.ki", None, None, None), "lights.>"),
            (range("lights.hall.", None, Some("lights.hall.a"), None), "lights.hall.>"),
            (range("", Some("lights.a"), None, Some("lights.b")), "lights.>"),
            (range("", Some("lights.a"), None, None), ">"),
            (range("", Some("a.b.c"), Some("a.b.d"), Some("a.b.z.x")), "a.b.>"),
            (range("a.", Some("a.b.c"), None, Some("a.b.d")), "a.b.>"),
            (range("", Some("a.b"), None, Some("c.b")), ">"),
            (range("*.x", None, None, None), ">"),
        ] {
            assert_eq!(shown_by(&range), pattern, "{range:?}");
        }
    }

    fn inside(key: &str, range: &Range) -> bool {
        key.starts_with(&range.prefix)
            && range.from.as_deref().is_none_or(|from| key >= from)
            && range.after.as_deref().is_none_or(|after| key > after)
            && range.to.as_deref().is_none_or(|to| key < to)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn nothing_outside_of_it_is_ever_shown(
            prefix in "[ab.]{0,4}",
            from in proptest::option::of("[ab.]{0,5}"),
            after in proptest::option::of("[ab.]{0,5}"),
            to in proptest::option::of("[ab.]{0,5}"),
            keys in proptest::collection::vec("[ab]{1,2}(\\.[ab]{1,2}){0,3}", 0..20),
        ) {
            let range = Range { prefix, from, after, to };
            let pattern = Pattern::try_from(shown_by(&range).as_str()).unwrap();
            for key in keys.iter().filter(|key| inside(key, &range)) {
                let subject = sinew_session::Subject::try_from(key.as_str()).unwrap();
                prop_assert!(pattern.matches(&subject), "{key} of {range:?} is not in {pattern}");
            }
        }
    }
}
