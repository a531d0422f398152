//! A group that is loaded: its rules behind one lock, its members' connections, and the task that reads ahead for it.
//!
//! Cursors are stored one at a time; what members settle meanwhile goes with the next, and is answered once that is durable.
//! A group is over when it was removed, when its stream is, and when it was unloaded, which nobody who uses it sees.

use std::collections::BTreeMap;
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sinew_session::{Failure, Header, Lane, Link, REPLY, ResourceName, to_cbor};
use tokio::sync::{Notify, oneshot, watch};

use super::follow::ended;
use crate::group::{Group, Handed, MemberKey, Share};
use crate::protocol::{
    GroupInfo, GroupSettings, Held, Joined, Redelivery, SERVICE, Settled, batch_head, failure_of, verb,
};
use crate::{CursorUpdate, Error, Page, ReadLimits, Result, Stream, StreamRange};

/// Bytes read at one time.
const READ_BYTES: usize = 256 * 1024;
/// Offsets that a filter may pass over before they are stored as dealt with, where no member settles anything.
const PASSED_MAX: u64 = 4_096;
/// What could not be read, though it is there, is tried again after so long.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// A loaded group.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) name: ResourceName,
    /// Of its cursor.
    cursor: String,
    pub(super) stream: Arc<dyn Stream>,
    state: Mutex<State>,
    wake: Notify,
    /// Told when a cursor was stored, or was not.
    rest: Notify,
}

#[derive(Debug)]
struct State {
    group: Group,
    members: BTreeMap<MemberKey, Member>,
    /// Who waits for the next cursor to be durable.
    waiting: Vec<Waiting>,
    storing: bool,
    /// Where the stored cursor is, at least.
    stored: u64,
    /// Until then nothing is read: that failed.
    read_again: Option<Instant>,
    /// How many have it in use beside its members.
    users: usize,
    /// It was removed, or its stream was, or it was unloaded.
    over: Option<Over>,
}

/// Why a group is over.
#[derive(Clone, Debug)]
enum Over {
    Ended(Error),
    Unloaded,
}

/// A group that somebody has in use: it is not unloaded meanwhile.
#[derive(Debug)]
pub(super) struct InUse(Arc<Running>);

impl Deref for InUse {
    type Target = Arc<Running>;

    fn deref(&self) -> &Arc<Running> {
        &self.0
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.lock().users -= 1;
        self.0.wake.notify_one();
    }
}

/// Where a member is.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) link: Arc<Link>,
    pub(super) lane: Lane,
    pub(super) number: u32,
}

/// Who waits for a cursor to be durable.
#[derive(Debug)]
enum Waiting {
    Settled(Answer),
    Asked(oneshot::Sender<Result<()>>),
}

impl Waiting {
    fn tell(self, result: &Result<()>) {
        match self {
            Self::Settled(answer) => answer.settle(result),
            // Who has gone does not want to know.
            Self::Asked(asked) => drop(asked.send(result.clone())),
        }
    }
}

/// How a settlement is answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) link: Arc<Link>,
    pub(super) lane: Lane,
    pub(super) header: Header,
    pub(super) late: u32,
}

impl Answer {
    fn settle(&self, result: &Result<()>) {
        match result {
            Ok(()) => {
                let header = Header { flags: REPLY, ..self.header };
                self.link.pack().push(self.lane, header, &[&self.late.to_le_bytes()], &Bytes::new());
            }
            Err(error) => self.link.fail(self.lane, &self.header, &failure_of(error)),
        }
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl Running {
    pub(super) fn new(name: ResourceName, cursor: String, stream: Arc<dyn Stream>, group: Group, stored: u64) -> Self {
        let (members, waiting) = (BTreeMap::new(), Vec::new());
        let state = State { group, members, waiting, storing: false, stored, read_again: None, users: 0, over: None };
        Self { name, cursor, stream, state: Mutex::new(state), wake: Notify::new(), rest: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes something, hands out what can be, stores what has changed.
    fn change<T>(self: &Arc<Self>, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let changed = change(&mut state);
        state.hand_out();
        drop(state);
        self.store();
        self.wake.notify_one();
        changed
    }

    fn gone(&self) -> Error {
        Error::Ended { stream: self.stream.name().to_string() }
    }

    pub(super) fn is_over(&self) -> bool {
        let has_ended = self.stream.range().borrow().ended;
        has_ended || self.lock().over.is_some()
    }

    /// For use, so that it is not unloaded meanwhile; `None` where it is over.
    pub(super) fn hold(self: &Arc<Self>) -> Option<InUse> {
        let has_ended = self.stream.range().borrow().ended;
        let mut state = self.lock();
        if has_ended || state.over.is_some() {
            return None;
        }
        state.users += 1;
        Some(InUse(self.clone()))
    }

    /// Lets it be over where nobody uses it and its cursor says everything; whether it is over now.
    pub(super) fn unload(&self) -> bool {
        let mut state = self.lock();
        if state.over.is_none() && state.is_idle() {
            state.over = Some(Over::Unloaded);
            self.wake.notify_one();
        }
        state.over.is_some()
    }

    pub(super) fn settings(&self) -> GroupSettings {
        self.lock().group.settings().clone()
    }

    /// A new member, told so before anything is handed to it. What the group could not go on with is tried once more, so
    /// that the member hears of it.
    ///
    /// # Errors
    /// Why it is over.
    pub(super) fn join(self: &Arc<Self>, key: MemberKey, member: Member, share: Share, request: &Header) -> Result<()> {
        self.change(|state| {
            match &state.over {
                Some(Over::Ended(why)) => return Err(why.clone()),
                Some(Over::Unloaded) => unreachable!("who joins has it in use"),
                None => {}
            }
            state.group.join(key, share);
            let joined = Joined { era: state.group.era(), kept: Vec::new() };
            member.link.reply(member.lane, request, &joined);
            state.members.insert(key, member);
            Ok(())
        })
    }

    /// A member is back, and told what is still its own. `false`: it was forgotten.
    pub(super) fn rejoin(
        self: &Arc<Self>,
        key: MemberKey,
        member: Member,
        share: Share,
        held: &Held,
        request: &Header,
    ) -> bool {
        self.change(|state| {
            let living = state.over.is_none();
            let Some(kept) = living.then(|| state.group.rejoin(key, share, held)).flatten() else { return false };
            member.link.reply(member.lane, request, &Joined { era: state.group.era(), kept });
            state.members.insert(key, member);
            true
        })
    }

    /// Room may have come.
    pub(super) fn poke(self: &Arc<Self>) {
        self.change(|_| ());
    }

    pub(super) fn cut(self: &Arc<Self>, key: MemberKey, window: Duration) {
        self.change(|state| state.group.cut(key, now() + window));
    }

    pub(super) fn leave(self: &Arc<Self>, key: MemberKey, counts: bool) {
        self.change(|state| {
            state.group.leave(key, counts);
            state.members.remove(&key);
        });
    }

    /// A member is told that it is none any more.
    pub(super) fn dismiss(self: &Arc<Self>, key: MemberKey, failure: &Failure) {
        let member = self.lock().members.get(&key).cloned();
        self.leave(key, true);
        if let Some(Member { link, lane, number }) = member {
            ended(&link, lane, number, Some(failure));
        }
    }

    /// What a member did; answered once it is durable.
    pub(super) fn settle(
        self: &Arc<Self>,
        key: MemberKey,
        era: u32,
        settlements: impl Iterator<Item = (u64, u32, Settled)>,
        mut answer: Answer,
    ) {
        self.change(|state| {
            let now = now();
            for settlement in settlements {
                // One that was unloaded has nothing in anybody's hands.
                let counts = state.over.is_none() && state.group.settle(key, era, settlement, now);
                answer.late += u32::from(!counts);
            }
            state.waiting.push(Waiting::Settled(answer));
        });
    }

    pub(super) fn pause(self: &Arc<Self>, paused: bool) {
        self.change(|state| state.group.pause(paused));
    }

    pub(super) fn alter(self: &Arc<Self>, redelivery: Redelivery) {
        self.change(|state| state.group.alter(redelivery));
    }

    pub(super) fn reset(self: &Arc<Self>, offset: u64) {
        self.change(|state| {
            state.group.reset(offset);
            let era = state.group.era().to_le_bytes();
            for Member { link, lane, number } in state.members.values() {
                let header = Header { service: SERVICE, verb: verb::RESET, flags: 0, call: *number };
                link.pack().push(*lane, header, &[&era], &Bytes::new());
            }
        });
    }

    pub(super) fn info(&self) -> GroupInfo {
        let range = *self.stream.range().borrow();
        let state = self.lock();
        let mut info = state.group.info(self.name.as_str(), range.next);
        let requested = state.group.read_next();
        if requested < range.first && info.halted.is_none() {
            // Nobody has tried to read it yet.
            let (stream, first, next) = (self.stream.name().to_string(), range.first, range.next);
            info.halted = Some(Error::OutOfRange { stream, requested, first, next }.to_string());
        }
        info
    }

    /// Waits until everything that was changed before is stored.
    pub(super) async fn stored(self: &Arc<Self>) -> Result<()> {
        let (told, done) = oneshot::channel();
        self.change(|state| {
            state.group.mark_dirty();
            state.waiting.push(Waiting::Asked(told));
        });
        done.await.unwrap_or_else(|_| Err(self.gone()))
    }

    /// Waits until nothing is on its way to be stored, of one that is over.
    pub(super) async fn at_rest(&self) {
        loop {
            let rest = self.rest.notified();
            tokio::pin!(rest);
            rest.as_mut().enable();
            if !self.lock().storing {
                return;
            }
            rest.await;
        }
    }

    /// It is over: members are told, and nothing is stored any more.
    pub(super) fn end(&self, why: &Error) {
        let mut state = self.lock();
        state.over.get_or_insert_with(|| Over::Ended(why.clone()));
        let members = std::mem::take(&mut state.members);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        let failure = failure_of(why);
        members.values().for_each(|Member { link, lane, number }| ended(link, *lane, *number, Some(&failure)));
        waiting.into_iter().for_each(|waiting| waiting.tell(&Err(why.clone())));
        self.wake.notify_one();
    }

    fn update(&self, state: &mut State) -> CursorUpdate {
        let (mut cursor, kept) = state.group.cursor();
        state.stored = cursor.offset;
        cursor.state = to_cbor(&kept);
        CursorUpdate { name: self.cursor.clone(), cursor: Some(cursor) }
    }

    /// Stores the cursor if it has changed, and answers who waits for that.
    fn store(self: &Arc<Self>) {
        let mut state = self.lock();
        if let Some(over) = state.over.clone() {
            // What came after its end.
            let waiting = std::mem::take(&mut state.waiting);
            drop(state);
            let told = match over {
                Over::Ended(why) => Err(why),
                Over::Unloaded => Ok(()),
            };
            return waiting.into_iter().for_each(|waiting| waiting.tell(&told));
        }
        let nothing = !state.group.is_dirty() && state.waiting.is_empty();
        if nothing || state.storing {
            return;
        }
        let waiting = std::mem::take(&mut state.waiting);
        if !state.group.is_dirty() {
            drop(state);
            return waiting.into_iter().for_each(|waiting| waiting.tell(&Ok(())));
        }
        state.storing = true;
        let update = self.update(&mut state);
        drop(state);
        let running = self.clone();
        self.stream.commit(
            vec![update],
            Box::new(move |result| {
                let mut state = running.lock();
                state.storing = false;
                if result.is_err() {
                    state.group.mark_dirty();
                }
                drop(state);
                running.rest.notify_waiters();
                running.wake.notify_one();
                waiting.into_iter().for_each(|waiting| waiting.tell(&result));
                // What came meanwhile; after a failure the next settlement tries again.
                if result.is_ok() {
                    running.store();
                }
            }),
        );
    }

    /// Reads ahead and watches the time, until the group or its stream is over, or it has been idle for so long.
    pub(super) async fn run(self: &Arc<Self>, idle: Duration) {
        let mut range = self.stream.range();
        let mut reading: Option<Reading> = None;
        let mut idle_until: Option<Instant> = None;
        loop {
            self.change_at_timeout();
            let (wants, room, era, timeout) = {
                let state = self.lock();
                if state.over.is_some() {
                    return;
                }
                idle_until = if state.is_idle() { idle_until.or_else(|| now().checked_add(idle)) } else { None };
                let waits = state.read_again.filter(|at| *at > now());
                let wants = state.group.wants().filter(|_| waits.is_none());
                let timeouts = [state.group.next_timeout(), waits, idle_until];
                (wants, state.group.room(), state.group.era(), timeouts.into_iter().flatten().min())
            };
            if idle_until.is_some_and(|until| until <= now()) && self.unload() {
                return;
            }
            if reading.as_ref().is_some_and(|reading| reading.era != era) {
                reading = None;
            }
            if let (None, Some(from)) = (&reading, wants) {
                reading = Some(Reading { era, page: Box::pin(read(self.stream.clone(), range.clone(), from, room)) });
            }
            tokio::select! {
                biased;
                () = self.wake.notified() => {}
                () = until(timeout) => {}
                page = next(&mut reading) => {
                    reading = None;
                    self.take(era, page);
                }
                ended = over(&mut range), if wants.is_none() => {
                    if ended {
                        self.end(&self.gone());
                    }
                }
            }
        }
    }

    fn change_at_timeout(self: &Arc<Self>) {
        let now = now();
        let mut state = self.lock();
        if state.group.next_timeout().is_none_or(|at| at > now) {
            // Room may have come in an outbox.
            state.hand_out();
            return;
        }
        state.group.handle_timeout(now);
        let State { group, members, .. } = &mut *state;
        members.retain(|key, _| group.has_member(*key));
        state.hand_out();
        drop(state);
        self.store();
    }

    /// A page was read.
    fn take(self: &Arc<Self>, era: u32, page: Result<Page>) {
        match page {
            Err(error @ Error::Ended { .. }) => self.end(&error),
            page => self.change(|state| {
                if state.group.era() != era {
                    return;
                }
                match page {
                    Ok(page) => {
                        state.group.offer(&page.batches, page.next);
                        if state.group.is_past(state.stored + PASSED_MAX) {
                            state.group.mark_dirty();
                        }
                    }
                    Err(error @ (Error::OutOfRange { .. } | Error::Damaged { .. })) => state.halt(&error),
                    Err(error) => {
                        let (stream, group) = (self.stream.name(), &self.name);
                        tracing::warn!(%stream, %group, %error, "a group could not be read for; again in a moment");
                        state.read_again = Some(now() + READ_AGAIN);
                    }
                }
            }),
        }
    }
}

impl State {
    /// Whether nobody uses it, and its cursor says everything.
    fn is_idle(&self) -> bool {
        let is_stored = !self.storing && self.waiting.is_empty() && !self.group.is_dirty();
        self.users == 0 && !self.group.has_members() && is_stored
    }

    /// Hands out what members have room for.
    fn hand_out(&mut self) {
        let now = now();
        let Self { group, members, .. } = self;
        let can = |key: MemberKey| members.get(&key).is_some_and(|member| member.link.pack().has_room());
        while let Some(Handed { member, attempt, event }) = group.next(now, can) {
            let Some(Member { link, lane, number }) = members.get(&member) else { continue };
            let header = Header { service: SERVICE, verb: verb::HANDED, flags: 0, call: *number };
            let head = batch_head(event.first, event.timestamp, attempt);
            link.pack().push(*lane, header, &[&head], event.events.body());
        }
    }

    /// What is to be read next is not there. Members are told, and the group waits to be reset.
    fn halt(&mut self, error: &Error) {
        self.group.halt(error.to_string());
        let failure = failure_of(error);
        let members: Vec<_> = std::mem::take(&mut self.members).into_iter().collect();
        for (key, Member { link, lane, number }) in members {
            self.group.leave(key, false);
            ended(&link, lane, number, Some(&failure));
        }
    }
}

/// A page that is being read.
struct Reading {
    era: u32,
    page: Pin<Box<dyn Future<Output = Result<Page>> + Send>>,
}

async fn read(
    stream: Arc<dyn Stream>,
    mut range: watch::Receiver<StreamRange>,
    from: u64,
    events_max: usize,
) -> Result<Page> {
    let gone = || Error::Ended { stream: stream.name().to_string() };
    let seen = *range.wait_for(|range| range.ended || range.next > from).await.map_err(|_| gone())?;
    if seen.ended {
        return Err(gone());
    }
    stream.read(from, ReadLimits { bytes_max: READ_BYTES, events_max }).await
}

async fn next(reading: &mut Option<Reading>) -> Result<Page> {
    match reading {
        Some(reading) => reading.page.as_mut().await,
        None => std::future::pending().await,
    }
}

async fn over(range: &mut watch::Receiver<StreamRange>) -> bool {
    range.wait_for(|range| range.ended).await.map_or(true, |range| range.ended)
}

async fn until(timeout: Option<Instant>) {
    match timeout {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
