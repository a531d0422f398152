//! Watches: one task each, which sends what there is while its reader has credit, and then waits for commits.
//!
//! A snapshot is told in pages, each of one moment. Before a page what lies before it is brought up to the page's moment by
//! its changes, so that at any time the reader has the keys up to some key as they were at some revision. That is all that
//! a reader needs to remember to go on after a cut, and why there is no seam between snapshot and changes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use sinew_session::{
    Failure, HEADER_BYTES, Header, Lane, Link, Pattern, PatternToken, Record, ResourceName, read_call,
};
use sinew_session::{REPLY, to_cbor};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::AbortHandle;

use super::Shared;
use super::attachment::{KvAttachment, name};
use super::gets::wait_for_room;
use crate::protocol::{
    Asks, Begin, Grant, Mark, SERVICE, Unwatch, WatchAsk, Watched, bad_request, change_head, failure_of, verb,
};
use crate::{Bucket, BucketRange, Change, Entry, Error, PageLimits, Range, Result, Revision};

/// Bytes read at one time.
const READ_BYTES: usize = 256 * 1024;
/// Keys or changes read at one time.
const READ_ITEMS: usize = 4_096;
/// Changes passed over by a pattern before the reader is told how far it is, so that they need not be read again after a cut.
const MARK_STEP: u64 = 1_024;
/// Watches of a session that read and send at one time: what they may overshoot its outbox by.
const PUSHING_MAX: usize = 8;

/// A watch as the session sees it. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Watching {
    /// `bucket.pattern`.
    keys: String,
    lane: Lane,
    standing: u32,
    credit: Arc<Credit>,
    task: AbortHandle,
}

impl Watching {
    /// The reader has consumed something.
    pub(super) fn grant(&self, grant: Grant) {
        // What was granted to it before a cut is in what it said to be in use.
        if grant.standing == self.standing {
            let mut used = self.credit.lock();
            *used = used.saturating_sub(grant.bytes);
            drop(used);
            self.credit.changed.notify_one();
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Bytes that a reader has been sent and has not consumed.
#[derive(Debug)]
struct Credit {
    used: Mutex<u64>,
    window: u64,
    changed: Notify,
}

impl Credit {
    fn lock(&self) -> MutexGuard<'_, u64> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something may be sent; gives how much.
    async fn wait(&self) -> usize {
        loop {
            let used = *self.lock();
            if used < self.window {
                return usize::try_from(self.window - used).unwrap_or(usize::MAX);
            }
            self.changed.notified().await;
        }
    }
}

impl KvAttachment {
    pub(super) fn watch(&mut self, lane: Lane, record: &Record<'_>) -> std::result::Result<(), Failure> {
        let (_, ask): (_, WatchAsk) = read_call(record)?;
        let bucket = name(&ask.bucket)?;
        let pattern = Pattern::try_from(ask.pattern.as_str()).map_err(bad_request)?;
        let keys = format!("{bucket}.{pattern}");
        self.check(Asks::Watch(&keys))?;
        self.watches.retain(|_, watching| !watching.task.is_finished());
        let max = self.shared.limits.watches_max;
        if self.watches.len() >= max {
            let reason = format!("this session has {max} watches, the limit; end some, or raise `watches_max`");
            return Err(Failure::new("limit", reason));
        }
        let window = ask.window_bytes.clamp(1, self.shared.limits.window_bytes_max as u64);
        let credit = Arc::new(Credit { used: Mutex::new(ask.used_bytes), window, changed: Notify::new() });
        let watcher = Watcher {
            shared: self.shared.clone(),
            link: self.link.clone(),
            room: self.room.clone(),
            pushing: self.pushing.clone(),
            credit: credit.clone(),
            lane,
            header: record.header,
            bucket,
            pattern,
            keys_only: ask.keys_only,
        };
        let standing = ask.standing;
        let task = tokio::spawn(watcher.run(ask.from)).abort_handle();
        self.watches.insert(record.header.call, Watching { keys, lane, standing, credit, task });
        Ok(())
    }

    pub(super) fn unwatch(&mut self, lane: Lane, record: &Record<'_>) -> std::result::Result<(), Failure> {
        let (_, ask): (_, Unwatch) = read_call(record)?;
        self.check(Asks::Unwatch)?;
        self.watches.remove(&ask.number);
        self.link.reply(lane, &record.header, &());
        Ok(())
    }

    /// The policy has changed: ends what is not permitted any more.
    pub(super) fn judge_watches(&mut self) {
        let denied = |watching: &Watching| self.check(Asks::Watch(&watching.keys)).err();
        let over: Vec<_> =
            self.watches.iter().filter_map(|(number, watching)| Some((*number, denied(watching)?))).collect();
        for (number, failure) in over {
            if let Some(watching) = self.watches.remove(&number) {
                watching.task.abort();
                ended(&self.link, watching.lane, number, &failure);
            }
        }
    }
}

/// How many watches of a session may read and send at one time.
pub(super) fn pushing() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(PUSHING_MAX))
}

fn ended(link: &Link, lane: Lane, number: u32, failure: &Failure) {
    let header = Header { service: SERVICE, verb: verb::ENDED, flags: 0, call: number };
    link.pack().push(lane, header, &[], &Bytes::from(to_cbor(failure)));
}

/// The task of a watch.
struct Watcher {
    shared: Arc<Shared>,
    link: Arc<Link>,
    room: Arc<Notify>,
    pushing: Arc<Semaphore>,
    credit: Arc<Credit>,
    lane: Lane,
    /// Of the call that asked for it.
    header: Header,
    bucket: ResourceName,
    pattern: Pattern,
    keys_only: bool,
}

/// How far it is.
struct Place {
    /// While the snapshot is told: up to which key.
    within: Option<String>,
    in_snapshot: bool,
    /// Everything up to here was told, or passed over.
    revision: u64,
    /// What the reader knows of that.
    known: u64,
    caught_up: bool,
}

/// What is sent together.
enum Piece {
    Entry(Entry),
    Change(Revision),
}

impl Watcher {
    async fn run(self, from: Begin) {
        let (bucket, mut place) = match self.begin(from).await {
            Ok(begun) => begun,
            Err(error) => return self.link.fail(self.lane, &self.header, &failure_of(&error)),
        };
        let Err(error) = self.send(&*bucket, &mut place).await;
        ended(&self.link, self.lane, self.header.call, &failure_of(&error));
    }

    /// Finds the bucket and the place, and answers that it stands.
    async fn begin(&self, from: Begin) -> Result<(Arc<dyn Bucket>, Place)> {
        let bucket = self.shared.bucket(&self.bucket).await?;
        let now = *bucket.range().borrow();
        let (within, in_snapshot, revision) = match from {
            Begin::Snapshot => (None, true, 0),
            Begin::Now => (None, false, now.revision),
            Begin::Revision(revision) => (None, false, revision.saturating_sub(1)),
            Begin::Within(after, revision) => (Some(after), true, revision),
        };
        // Not kept any more; or ahead of the bucket, which has lost what it had acknowledged as less than fsynced, and with
        // it what the reader has is not true any more.
        let is_fresh = in_snapshot && within.is_none();
        if !is_fresh && !(now.first.saturating_sub(1)..=now.revision).contains(&revision) {
            let (requested, first) = (revision + 1, now.first);
            return Err(Error::Compacted { bucket: self.bucket.to_string(), requested, first });
        }
        let answer = Watched { revision, window_bytes: self.credit.window };
        let header = Header { flags: REPLY, ..self.header };
        self.link.pack().push(self.lane, header, &[], &Bytes::from(to_cbor(&answer)));
        Ok((bucket, Place { within, in_snapshot, revision, known: revision, caught_up: false }))
    }

    /// Sends until it is over, and says why it is.
    async fn send(&self, bucket: &dyn Bucket, place: &mut Place) -> Result<std::convert::Infallible> {
        let mut range = bucket.range();
        while place.in_snapshot {
            self.send_page(bucket, place).await?;
        }
        loop {
            // What comes from here on is seen by the next round.
            range.mark_unchanged();
            let (next, end) = self.send_changes(bucket, place, u64::MAX, None).await?;
            let caught_up = next > end;
            let tells = caught_up && !place.caught_up;
            place.caught_up = caught_up;
            if tells || place.revision.saturating_sub(place.known) >= MARK_STEP {
                self.mark(place, Mark { revision: place.revision, caught_up: tells, whole: false, after: "" });
            }
            if caught_up {
                self.wait_for_more(&mut range, place.revision).await?;
            }
        }
    }

    /// One page of the snapshot, and before it what has changed in the pages before.
    async fn send_page(&self, bucket: &dyn Bucket, place: &mut Place) -> Result<()> {
        let credit = self.credit.wait().await;
        let exact = is_exact(&self.pattern);
        let limits = PageLimits {
            bytes_max: credit.min(READ_BYTES),
            items_max: if exact { 1 } else { READ_ITEMS },
            keys_only: self.keys_only,
        };
        let page = {
            let _one_of_few = self.pushing.acquire().await;
            wait_for_room(&self.link, &self.room).await;
            bucket.scan(&range_of(&self.pattern, place.within.as_deref()), limits).await?
        };
        if let Some(after) = place.within.clone() {
            while place.revision < page.revision {
                self.send_changes(bucket, place, page.revision, Some(&after)).await?;
            }
        }
        place.revision = page.revision;
        self.mark(place, Mark { revision: page.revision, caught_up: false, whole: false, after: "" });
        let last = page.entries.last().map(|entry| entry.key.as_str().to_owned());
        self.push(page.entries.into_iter().map(Piece::Entry));
        let whole = exact || !page.more;
        (place.in_snapshot, place.within) = (!whole, last.or(place.within.take()));
        let after = place.within.clone().unwrap_or_default();
        self.mark(place, Mark { revision: page.revision, caught_up: false, whole, after: &after });
        Ok(())
    }

    /// A page of changes up to a revision, of keys up to one. Gives where to read on, and the bucket's revision.
    async fn send_changes(
        &self,
        bucket: &dyn Bucket,
        place: &mut Place,
        to: u64,
        up_to: Option<&str>,
    ) -> Result<(u64, u64)> {
        let credit = self.credit.wait().await;
        let _one_of_few = self.pushing.acquire().await;
        wait_for_room(&self.link, &self.room).await;
        let limits = PageLimits { bytes_max: credit.min(READ_BYTES), items_max: READ_ITEMS, keys_only: self.keys_only };
        let page = bucket.changes(place.revision + 1, limits).await?;
        let changes = page.changes.into_iter().take_while(|change| change.revision <= to);
        let wanted = changes.filter(|change| up_to.is_none_or(|key| change.key.as_str() <= key));
        if let Some(last) = self.push(wanted.map(Piece::Change)) {
            place.known = last;
        }
        place.revision = place.revision.max(page.next.saturating_sub(1).min(to));
        Ok((page.next, page.revision))
    }

    /// Sends what the pattern stands for; gives the revision of the last change.
    fn push(&self, pieces: impl Iterator<Item = Piece>) -> Option<u64> {
        let header = Header { service: SERVICE, verb: verb::CHANGE, flags: 0, call: self.header.call };
        let (mut sent, mut last, nothing) = (0, None, Bytes::new());
        let mut packer = self.link.pack();
        for piece in pieces {
            let (change, of_snapshot) = match piece {
                Piece::Entry(entry) => (put_by(entry), true),
                Piece::Change(change) => (change, false),
            };
            if !self.pattern.matches(change.key.as_subject()) {
                continue;
            }
            let head = change_head(&change, of_snapshot);
            let value = match &change.change {
                Change::Put { value, .. } => value,
                Change::Gone(_) => &nothing,
            };
            let key = change.key.as_bytes();
            sent += (HEADER_BYTES + head.len() + key.len() + value.len()) as u64;
            packer.push(self.lane, header, &[&head, key], value);
            last = Some(change.revision);
        }
        drop(packer);
        *self.credit.lock() += sent;
        last
    }

    fn mark(&self, place: &mut Place, mark: Mark<'_>) {
        place.known = mark.revision;
        let header = Header { service: SERVICE, verb: verb::MARK, flags: 0, call: self.header.call };
        self.link.pack().push(self.lane, header, &[&mark.encode(), mark.after.as_bytes()], &Bytes::new());
    }

    /// Waits until the bucket has more than this, or is gone.
    async fn wait_for_more(&self, range: &mut watch::Receiver<BucketRange>, revision: u64) -> Result<()> {
        let ended = || Error::Ended { bucket: self.bucket.to_string() };
        let seen = range.wait_for(|range| range.ended || range.revision > revision).await.map_err(|_| ended())?;
        if seen.ended { Err(ended()) } else { Ok(()) }
    }
}

fn put_by(entry: Entry) -> Revision {
    let Entry { key, value, revision, created, timestamp, expires } = entry;
    Revision { key, revision, timestamp, change: Change::Put { value, created, expires } }
}

/// Whether the pattern stands for one key alone.
fn is_exact(pattern: &Pattern) -> bool {
    pattern.tokens().all(|token| matches!(token, PatternToken::Literal(_)))
}

/// Where the keys of a pattern lie, behind this one.
fn range_of(pattern: &Pattern, after: Option<&str>) -> Range {
    let text = pattern.as_str();
    let wild = text.find(['*', '>']).unwrap_or(text.len());
    // A wildcard is a token of its own: what stands before it ends with a dot.
    let prefix = text[..wild].to_owned();
    let from = is_exact(pattern).then(|| prefix.clone());
    Range { prefix, from, after: after.map(str::to_owned), to: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_a_pattern_lie_behind_what_stands_before_its_first_wildcard() {
        for (pattern, prefix, from) in [
            (">", "", None),
            ("lights.>", "lights.", None),
            ("lights.*.hall", "lights.", None),
            ("*.hall", "", None),
            ("lights.hall", "lights.hall", Some("lights.hall")),
        ] {
            let range = range_of(&Pattern::try_from(pattern).unwrap(), None);
            assert_eq!((range.prefix.as_str(), range.from.as_deref()), (prefix, from), "{pattern}");
        }
    }
}
