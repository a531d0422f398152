//! Readers that follow: one task each, which sends what there is while its reader has credit, and then waits for commits.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use sinew_session::{Failure, HEADER_BYTES, Header, Lane, Link, REPLY, Record, ResourceName, read_call, to_cbor};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::AbortHandle;

use super::Shared;
use super::attachment::{LogAttachment, name};
use super::streams::resolve;
use crate::protocol::{Asks, Follow, Followed, Grant, Leave, Mark, SERVICE, batch_head, failure_of, verb};
use crate::selection::Selection;
use crate::{Error, ReadLimits, Result, StoredBatch, Stream, StreamRange};

/// Bytes read at one time.
const READ_BYTES: usize = 256 * 1024;
/// The largest piece of a batch that is sent in one record, unless one event is larger: other lanes and the window of
/// the reader are not held up by it for long.
const PIECE_BYTES: usize = 1024 * 1024;
/// Follows of a session that read and send at one time: what the others have read does not wait in memory for room.
pub(super) const FOLLOWS_SENDING_MAX: usize = 8;
/// Events passed over by a filter before the reader is told how far it is, so that it need not read them again after a cut.
const MARK_STEP: u64 = 1_024;

/// A follow as the session sees it. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Following {
    stream: ResourceName,
    lane: Lane,
    standing: u32,
    credit: Arc<Credit>,
    task: AbortHandle,
}

impl Following {
    pub(super) fn stream(&self) -> &str {
        self.stream.as_str()
    }

    /// The reader has consumed something.
    pub(super) fn grant(&self, grant: Grant) {
        // What was granted before a cut is not in what it said to be in use: it would count twice.
        if grant.standing == self.standing {
            let mut used = self.credit.lock();
            *used = used.saturating_sub(grant.bytes);
            drop(used);
            self.credit.changed.notify_one();
        }
    }

    /// It is over, for this reason.
    pub(super) fn end(self, link: &Link, number: u32, failure: &Failure) {
        self.task.abort();
        ended(link, self.lane, number, Some(failure));
    }
}

impl Drop for Following {
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

impl LogAttachment {
    pub(super) fn follow(&mut self, lane: Lane, record: &Record<'_>) -> std::result::Result<(), Failure> {
        let (_, ask): (_, Follow) = read_call(record)?;
        let stream = name(&ask.stream)?;
        self.check(Asks::Follow(&ask.stream))?;
        self.follows.retain(|_, following| !following.task.is_finished());
        let max = self.shared.limits.follows_max;
        if self.follows.len() >= max {
            let reason = format!("this session follows {max} streams, the limit; end some, or raise `follows_max`");
            return Err(Failure::new("limit", reason));
        }
        let window = ask.window_bytes.clamp(1, self.shared.limits.window_bytes_max as u64);
        let credit = Arc::new(Credit { used: Mutex::new(ask.used_bytes), window, changed: Notify::new() });
        let follower = Follower {
            shared: self.shared.clone(),
            link: self.link.clone(),
            room: self.room.clone(),
            turns: self.turns.clone(),
            credit: credit.clone(),
            lane,
            header: record.header,
            name: stream.clone(),
        };
        let standing = ask.standing;
        let task = tokio::spawn(follower.run(ask)).abort_handle();
        self.follows.insert(record.header.call, Following { stream, lane, standing, credit, task });
        Ok(())
    }

    pub(super) fn unfollow(&mut self, lane: Lane, record: &Record<'_>) -> std::result::Result<(), Failure> {
        let (_, ask): (_, Leave) = read_call(record)?;
        self.check(Asks::Unfollow)?;
        self.follows.remove(&ask.number);
        self.link.reply(lane, &record.header, &());
        Ok(())
    }
}

pub(super) fn ended(link: &Link, lane: Lane, number: u32, failure: Option<&Failure>) {
    let body = failure.map_or_else(Bytes::new, |failure| to_cbor(failure).into());
    let header = Header { service: SERVICE, verb: verb::ENDED, flags: 0, call: number };
    link.pack().push(lane, header, &[], &body);
}

/// The task of a follow.
struct Follower {
    shared: Arc<Shared>,
    link: Arc<Link>,
    room: Arc<Notify>,
    turns: Arc<Semaphore>,
    credit: Arc<Credit>,
    lane: Lane,
    /// Of the call that asked for it.
    header: Header,
    name: ResourceName,
}

/// How far it is.
struct Place {
    selection: Selection,
    /// What the reader knows of that.
    known: u64,
    caught_up: bool,
}

impl Follower {
    async fn run(self, ask: Follow) {
        let begun = self.begin(ask).await;
        let (stream, mut place) = match begun {
            Ok(begun) => begun,
            Err(error) => return self.link.fail(self.lane, &self.header, &failure_of(&error)),
        };
        let outcome = self.send(&*stream, &mut place).await;
        let failure = outcome.err().map(|error| failure_of(&error));
        ended(&self.link, self.lane, self.header.call, failure.as_ref());
    }

    /// Finds the stream and the place, and answers that it stands.
    async fn begin(&self, ask: Follow) -> Result<(Arc<dyn Stream>, Place)> {
        let stream = self.shared.stream(&self.name).await?;
        let end = stream.range().borrow().next;
        let from = resolve(&*stream, ask.from).await?;
        let to = if ask.live { ask.to } else { Some(ask.to.map_or(end, |to| to.min(end))) };
        let answer = Followed { next: from, to, window_bytes: self.credit.window };
        let header = Header { flags: REPLY, ..self.header };
        self.link.pack().push(self.lane, header, &[], &Bytes::from(to_cbor(&answer)));
        Ok((stream, Place { selection: Selection { from, to, filter: ask.filter }, known: from, caught_up: false }))
    }

    /// Sends until there is nothing more to come.
    async fn send(&self, stream: &dyn Stream, place: &mut Place) -> Result<()> {
        let mut range = stream.range();
        let mut pieces = Vec::new();
        loop {
            if place.selection.to.is_some_and(|to| place.selection.from >= to) {
                return Ok(());
            }
            let credit = self.credit.wait().await;
            let turn = self.turns.acquire().await;
            self.wait_for_room().await;
            // What comes from here on is seen by the next round.
            range.mark_unchanged();
            let limits = ReadLimits { bytes_max: credit.min(READ_BYTES), events_max: usize::MAX };
            let page = stream.read(place.selection.from, limits).await?;
            page.batches.iter().for_each(|batch| place.selection.pieces(batch, PIECE_BYTES, &mut pieces));
            let at_end = page.next >= page.end;
            self.push(&mut pieces, place).await;
            self.mark(page.next, page.end, place);
            drop(turn);
            place.selection.from = place.selection.from.max(page.next);
            if at_end && place.selection.to.is_none_or(|to| place.selection.from < to) {
                self.wait_for_more(stream, &mut range, place.selection.from).await?;
            }
        }
    }

    /// Sends what there is, as far as there is room at each time: the outbox is above its bound by one record at most.
    async fn push(&self, pieces: &mut Vec<StoredBatch>, place: &mut Place) {
        let mut pieces = pieces.drain(..).peekable();
        while pieces.peek().is_some() {
            self.wait_for_room().await;
            self.pack(&mut pieces, place);
        }
    }

    fn pack(&self, pieces: &mut impl Iterator<Item = StoredBatch>, place: &mut Place) {
        let mut sent = 0;
        let mut packer = self.link.pack();
        while packer.has_room()
            && let Some(piece) = pieces.next()
        {
            let head = batch_head(piece.first, piece.timestamp, piece.events.count());
            sent += (HEADER_BYTES + head.len() + 4 + piece.events.body().len()) as u64;
            place.known = piece.first + u64::from(piece.events.span());
            let span = piece.events.span().to_le_bytes();
            packer.push(self.lane, self.header_of(verb::DELIVER), &[&head, &span], piece.events.body());
        }
        drop(packer);
        *self.credit.lock() += sent;
    }

    /// Tells how far it is, where that says something.
    fn mark(&self, next: u64, end: u64, place: &mut Place) {
        let caught_up = next >= end;
        let tells = caught_up && !place.caught_up;
        place.caught_up = caught_up;
        if tells || next.saturating_sub(place.known) >= MARK_STEP {
            place.known = next;
            let mark = Mark { next, end, caught_up: tells };
            self.link.pack().push(self.lane, self.header_of(verb::POSITION), &[&mark.encode()], &Bytes::new());
        }
    }

    fn header_of(&self, verb: u8) -> Header {
        Header { service: SERVICE, verb, flags: 0, call: self.header.call }
    }

    /// Waits until the stream has more than this, or is gone.
    async fn wait_for_more(
        &self,
        stream: &dyn Stream,
        range: &mut watch::Receiver<StreamRange>,
        from: u64,
    ) -> Result<()> {
        let ended = || Error::Ended { stream: stream.name().to_string() };
        let seen = range.wait_for(|range| range.ended || range.next > from).await.map_err(|_| ended())?;
        if seen.ended { Err(ended()) } else { Ok(()) }
    }

    /// Waits until the connection's outbox takes more.
    async fn wait_for_room(&self) {
        loop {
            let told = self.room.notified();
            tokio::pin!(told);
            told.as_mut().enable();
            if self.link.pack().has_room() {
                return;
            }
            told.await;
        }
    }
}
