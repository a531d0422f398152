//! What the server has counted and kept, told to those who may know.

use bytes::Bytes;
use sinew_session::{Failure, Lane, REPLY, Record, Run, bad_request, read_call};

use super::attachment::BusAttachment;
use super::publish::publishable;
use crate::protocol::{Asks, Clear, Cleared, Inspect, Kept, KeptPage, MessageHead, View};
use crate::{Pattern, Subject};

/// Bytes of subjects on one page of what is kept: well within the largest answer in CBOR.
const PAGE_BYTES: usize = 8 * 1024;

impl BusAttachment {
    pub(super) fn inspect(&mut self, lane: Lane, record: &Record<'_>) -> Result<(), Failure> {
        let (_, ask): (_, Inspect) = read_call(record)?;
        let pattern = ask.pattern.as_deref().map(Pattern::try_from).transpose().map_err(bad_request)?;
        let asked = pattern.as_ref().map_or(">", Pattern::as_str);
        match ask.what {
            View::Accounting => {
                self.check(Asks::Inspect(asked))?;
                self.link.reply(lane, &record.header, &self.shared.accounts.sum(pattern.as_ref()));
            }
            View::Retained => {
                self.check(Asks::Subscribe(asked))?;
                let after = ask.after.map(Subject::try_from).transpose().map_err(bad_request)?;
                let wanted = pattern.map_or_else(|| Pattern::try_from(">").map_err(bad_request), Ok)?;
                self.link.reply(lane, &record.header, &self.page(&wanted, after.as_ref()));
            }
        }
        Ok(())
    }

    fn page(&self, pattern: &Pattern, after: Option<&Subject>) -> KeptPage {
        let kept = self.shared.retained();
        let mut page = KeptPage::default();
        let mut bytes = 0;
        for (subject, _, stored) in kept.matching(pattern, after) {
            if bytes >= PAGE_BYTES {
                page.more = true;
                break;
            }
            bytes += subject.as_bytes().len() + 32;
            let body = Run::parse(stored).ok().and_then(|mut run| run.next()).map_or(0, |record| record.body().len());
            page.kept.push(Kept { subject: subject.to_string(), bytes: body as u64 });
        }
        page
    }

    pub(super) fn clear(&mut self, lane: Lane, record: &Record<'_>) -> Result<(), Failure> {
        let (_, ask): (_, Clear) = read_call(record)?;
        let pattern = Pattern::try_from(ask.pattern.as_str()).map_err(bad_request)?;
        self.check(Asks::Clear(pattern.as_str()))?;
        let count = self.shared.retained().clear(&pattern) as u64;
        self.link.reply(lane, &record.header, &Cleared { count });
        Ok(())
    }

    /// The kept value of one subject: its message head and payload, or `not-found`.
    pub(super) fn last(&mut self, lane: Lane, record: &Record<'_>) -> Result<(), Failure> {
        let head =
            MessageHead::read(record.head()).ok_or_else(|| bad_request("a message head does not hold together"))?;
        let subject = publishable(head.subject)?;
        self.check(Asks::Last(subject.as_str()))?;
        let stored = self.shared.retained().get(&subject).cloned();
        let not_found = || Failure::new("not-found", format!("no value is kept for `{subject}`"));
        let stored: Bytes = stored.ok_or_else(not_found)?;
        let kept =
            Run::parse(&stored).ok().and_then(|mut run| run.next()).expect("it was a whole record when it was kept");
        let header = sinew_session::Header { flags: REPLY, ..record.header };
        self.link.pack().push(lane, header, &[kept.head()], &kept.body_shared());
        Ok(())
    }
}
