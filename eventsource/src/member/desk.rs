//! The client's end of one membership: events that came and were not given out, events that are not settled, settlements on
//! their way. Plain state behind one short lock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use sinew_session::{Error as SessionError, Failure, Record, Reply, Request, ResourceName, from_cbor};
use tokio::sync::Notify;

use crate::client::CALL;
use crate::member::GroupEvent;
use crate::protocol::{
    Held, Joined, SERVICE, Settled, error_of, read_batch_head, read_number, settle_head, settlement_bytes, verb,
};
use crate::{Error, EventBatch, GroupOptions, Log, Result};

/// Settlements that go in one call.
const SETTLEMENTS_MAX: usize = 1_024;

#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) number: u32,
    pub(crate) stream: ResourceName,
    pub(crate) group: ResourceName,
    pub(crate) options: GroupOptions,
    state: Mutex<State>,
    settled: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Came and was not given out.
    events: VecDeque<GroupEvent>,
    /// Came, and the server has not said that it knows what became of it: offset and attempt.
    held: BTreeMap<u64, u32>,
    /// What was there at the last restore.
    said: BTreeSet<u64>,
    /// What comes is of this era, until the group is reset.
    era: u32,
    /// Settlements to be sent.
    pending: VecDeque<(u64, u32, Settled)>,
    sending: bool,
    /// Nobody reads any more.
    given_up: bool,
    confirmed: bool,
    late: u64,
    failed: Option<Error>,
    waker: Option<Waker>,
    ended: Option<Error>,
}

impl Desk {
    pub(crate) fn new(number: u32, stream: ResourceName, group: ResourceName, options: GroupOptions) -> Self {
        Self { number, stream, group, options, state: Mutex::default(), settled: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A record for it has come.
    pub(crate) fn receive(&self, record: &Record<'_>) {
        match record.header.verb {
            verb::HANDED => {
                let Some((first, timestamp, attempt)) = read_batch_head(record.head()) else { return };
                let Ok(batch) = EventBatch::parse(record.body_shared()) else { return };
                let Some(event) = batch.events(first, timestamp).next() else { return };
                let mut state = self.lock();
                state.held.insert(event.offset, attempt);
                state.events.push_back(GroupEvent { event, attempt });
                wake(state);
            }
            verb::RESET => {
                let mut state = self.lock();
                (state.events, state.held, state.pending) = Default::default();
                state.era = read_number(record.head()).unwrap_or(state.era);
                drop(state);
                self.settled.notify_waiters();
            }
            verb::ENDED => {
                let failure =
                    from_cbor(record.body()).unwrap_or_else(|error| Failure::new("unreadable", error.to_string()));
                self.end(error_of(SessionError::Failed(failure)));
            }
            _ => {}
        }
    }

    /// It is a member. To be called where the answer arrives: a cut after it must find it confirmed.
    pub(crate) fn confirm(&self, joined: &Joined) {
        let mut state = self.lock();
        state.confirmed = true;
        if state.era != joined.era {
            // What was dealt with before says nothing about what is handed out from now on.
            (state.era, state.pending) = (joined.era, VecDeque::new());
        }
        let said = std::mem::take(&mut state.said);
        let gone: BTreeSet<u64> = said.into_iter().filter(|offset| !joined.keeps(*offset)).collect();
        state.events.retain(|event| !gone.contains(&event.offset));
        state.held.retain(|offset, _| !gone.contains(offset));
    }

    /// After a cut: what it has. `None` if it never stood, or is over.
    pub(crate) fn standing(&self) -> Option<Held> {
        let mut state = self.lock();
        if !state.confirmed || state.ended.is_some() {
            return None;
        }
        state.said = state.held.keys().copied().collect();
        Some(Held::of(state.era, state.held.iter().map(|(offset, attempt)| (*offset, *attempt))))
    }

    /// It is over; what is here can still be dealt with.
    pub(crate) fn end(&self, why: Error) {
        let mut state = self.lock();
        state.ended.get_or_insert(why);
        state.events.clear();
        wake(state);
        self.settled.notify_waiters();
    }

    pub(crate) fn ended(&self) -> Option<Error> {
        self.lock().ended.clone()
    }

    pub(crate) fn late(&self) -> u64 {
        self.lock().late
    }

    pub(crate) fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Option<GroupEvent>> {
        let mut state = self.lock();
        if let Some(event) = state.events.pop_front() {
            return Poll::Ready(Some(event));
        }
        if state.ended.is_some() {
            return Poll::Ready(None);
        }
        if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            state.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    pub(crate) fn settle(&self, offset: u64, attempt: u32, settled: Settled) {
        self.lock().pending.push_back((offset, attempt, settled));
    }

    /// Nobody reads any more: what is to be sent goes at once.
    pub(crate) fn give_up(&self) {
        let mut state = self.lock();
        (state.given_up, state.sending) = (true, false);
    }

    /// Sends what was settled, one call at a time: what gathers meanwhile goes with the next.
    pub(crate) fn pump(self: &Arc<Self>, log: &Log) {
        loop {
            let (era, batch): (_, Vec<_>) = {
                let mut state = self.lock();
                if state.sending || state.ended.is_some() || state.pending.is_empty() {
                    return;
                }
                state.sending = !state.given_up;
                let count = state.pending.len().min(SETTLEMENTS_MAX);
                (state.era, state.pending.drain(..count).collect())
            };
            let bytes = batch.iter().map(|(offset, attempt, settled)| settlement_bytes(*offset, *attempt, *settled));
            let (words, body) = (settle_head(self.number, era), Bytes::from(bytes.collect::<Vec<_>>().concat()));
            let head: [&[u8]; 1] = [&words];
            let key = self.stream.as_str().as_bytes();
            let request = Request { head: Some(&head), ..Request::new(SERVICE, verb::SETTLE, key, body, CALL) };
            // Weak in both directions: neither the member nor its session is kept by an answer that is awaited.
            let (desk, session, shared) = (Arc::downgrade(self), log.session.downgrade(), Arc::downgrade(&log.shared));
            log.session.cast(request, move |reply| {
                let Some(desk) = desk.upgrade() else { return };
                desk.answered(era, batch, reply);
                if let (Some(session), Some(shared)) = (session.upgrade(), shared.upgrade()) {
                    desk.pump(&Log { session, shared });
                }
            });
        }
    }

    fn answered(&self, era: u32, batch: Vec<(u64, u32, Settled)>, reply: sinew_session::Result<Reply>) {
        let mut state = self.lock();
        state.sending = false;
        match reply {
            Ok(reply) => {
                state.late += u64::from(read_number(&reply.head).unwrap_or(0));
                for (offset, attempt, _) in batch {
                    // It may have come again meanwhile.
                    if state.era == era && state.held.get(&offset) == Some(&attempt) {
                        state.held.remove(&offset);
                    }
                }
            }
            // Cut: they go again once it is a member again, unless the group was reset.
            Err(SessionError::OutcomeUnknown) if state.era == era => {
                batch.into_iter().rev().for_each(|one| state.pending.push_front(one));
            }
            Err(SessionError::OutcomeUnknown) => {}
            Err(error) => state.failed = Some(error_of(error)),
        }
        drop(state);
        self.settled.notify_waiters();
    }

    pub(crate) async fn flush(&self) -> Result<()> {
        loop {
            let settled = self.settled.notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            {
                let mut state = self.lock();
                if let Some(error) = state.failed.take() {
                    return Err(error);
                }
                if !state.sending && state.pending.is_empty() {
                    return Ok(());
                }
                if let Some(error) = &state.ended {
                    return Err(error.clone());
                }
            }
            settled.await;
        }
    }
}

fn wake(mut state: MutexGuard<'_, State>) {
    let waker = state.waker.take();
    drop(state);
    waker.into_iter().for_each(Waker::wake);
}
