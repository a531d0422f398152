//! The client's end of one watch: how far it is. What waits is in the session's [`Arrivals`].
//!
//! At any time the reader has, or will have once it has taken what waits, the keys up to some key as they were at some
//! revision; behind the snapshot all keys. That is what a server is asked to go on from.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sinew_session::{
    Arrivals, ArrivalsGuard, Error as SessionError, Failure, Pattern, Record, ResourceName, StreamState, WeakSession,
    from_cbor,
};

use crate::client::{WatchFrom, WatchOptions, ask_again};
use crate::protocol::{Begin, CHANGE_KEY_AT, Mark, WatchAsk, Watched, error_of, read_change, verb};
use crate::{Change, Entry, Error, Key, Revision, WatchEvent};

/// What waits for the reader, and the bytes of credit that it takes.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) event: WatchEvent,
    pub(crate) cost: u64,
}

/// One watch at the client.
#[derive(Debug)]
pub(crate) struct Inbox {
    pub(crate) number: u32,
    pub(crate) bucket: ResourceName,
    pub(crate) pattern: Pattern,
    session: WeakSession,
    options: WatchOptions,
    pub(crate) arrivals: Arrivals<Item, State>,
}

#[derive(Debug)]
pub(crate) struct State {
    /// The snapshot is not complete.
    in_snapshot: bool,
    /// Up to which key it was told.
    after: Option<String>,
    /// Everything up to here was told, of those keys.
    revision: u64,
    /// Counts how often it was asked for.
    standing: u32,
    window_bytes: u64,
    confirmed: bool,
    /// It is being asked for on this connection; a restore must not do so too.
    asking: bool,
    /// Since when it is not known to be up to date; `None` while it is.
    behind_since: Option<Instant>,
    ended: Option<Error>,
}

/// How fresh what a watch has told is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// Everything up to this revision is in it.
    pub revision: u64,
    /// How long it has not been known to be up to date: the connection was cut, or the server has more than it could send.
    /// `None`: it is up to date, but for what is on its way from the server at this moment.
    pub behind: Option<Duration>,
}

impl Freshness {
    /// Whether it is up to date, but for what is on its way from the server at this moment.
    pub fn is_current(&self) -> bool {
        self.behind.is_none()
    }
}

impl Inbox {
    pub(crate) fn new(
        number: u32,
        session: WeakSession,
        bucket: ResourceName,
        pattern: Pattern,
        options: WatchOptions,
    ) -> Self {
        let state = State {
            in_snapshot: options.from == WatchFrom::Snapshot,
            after: None,
            revision: 0,
            standing: 0,
            window_bytes: options.window_bytes as u64,
            confirmed: false,
            asking: false,
            behind_since: Some(Instant::now()),
            ended: None,
        };
        Self { number, bucket, pattern, session, options, arrivals: Arrivals::new(state) }
    }

    fn lock(&self) -> ArrivalsGuard<'_, Item, State> {
        self.arrivals.lock()
    }

    /// How it is asked for at first.
    pub(crate) fn first_ask(&self) -> WatchAsk {
        let from = match self.options.from {
            WatchFrom::Snapshot => Begin::Snapshot,
            WatchFrom::Now => Begin::Now,
            WatchFrom::Revision(revision) => Begin::Revision(revision),
        };
        self.wish(from, 0, 0)
    }

    fn wish(&self, from: Begin, used_bytes: u64, standing: u32) -> WatchAsk {
        WatchAsk {
            bucket: self.bucket.to_string(),
            pattern: self.pattern.to_string(),
            from,
            window_bytes: self.options.window_bytes as u64,
            used_bytes,
            standing,
            keys_only: self.options.keys_only,
        }
    }

    /// How it is asked for now: to go on where it is.
    pub(crate) fn ask(&self) -> WatchAsk {
        let mut state = self.lock();
        state.standing += 1;
        let (used_bytes, standing) = (state.in_use(), state.standing);
        let from = match (state.in_snapshot, state.after.clone()) {
            (false, _) => Begin::Revision(state.revision + 1),
            (true, None) => Begin::Snapshot,
            (true, Some(after)) => Begin::Within(after, state.revision),
        };
        drop(state);
        self.wish(from, used_bytes, standing)
    }

    /// The same after a cut; `None` if it never stood, is over, or is being asked for by a call that goes out by itself.
    pub(crate) fn standing(&self) -> Option<WatchAsk> {
        let state = self.lock();
        let stands = state.confirmed && state.ended.is_none() && !state.asking;
        drop(state);
        stands.then(|| self.ask())
    }

    /// Which asking the credit belongs to that is given back now.
    pub(crate) fn now_standing(&self) -> u32 {
        self.lock().standing
    }

    /// It stands at the server. To be called where the answer arrives: a cut after it must find it confirmed.
    pub(crate) fn confirm(&self, watched: &Watched) {
        let mut state = self.lock();
        if !std::mem::replace(&mut state.confirmed, true) {
            state.revision = watched.revision;
        }
        state.window_bytes = watched.window_bytes;
    }

    /// The connection was cut.
    pub(crate) fn cut(&self) {
        self.lock().behind_since.get_or_insert_with(Instant::now);
    }

    /// A record for it has come.
    pub(crate) fn receive(self: &Arc<Self>, record: &Record<'_>) {
        match record.header.verb {
            verb::CHANGE => match read(record) {
                Some((change, of_snapshot)) => self.change(change, of_snapshot, record.size() as u64),
                None => self.end(crate::client::unreadable("a change")),
            },
            verb::MARK => match Mark::read(record.head()) {
                Some(mark) => self.mark(mark),
                None => self.end(crate::client::unreadable("a mark")),
            },
            verb::ENDED => {
                let failure =
                    from_cbor(record.body()).unwrap_or_else(|error| Failure::new("unreadable", error.to_string()));
                match error_of(SessionError::Failed(failure)) {
                    error @ Error::Compacted { .. } => self.compacted(error),
                    error => self.end(error),
                }
            }
            _ => {}
        }
    }

    fn change(&self, change: Revision, of_snapshot: bool, cost: u64) {
        let mut state = self.lock();
        let event = if of_snapshot {
            state.after = Some(change.key.to_string());
            match entry_of(change) {
                Some(entry) => WatchEvent::Entry(entry),
                None => return,
            }
        } else {
            state.revision = state.revision.max(change.revision);
            WatchEvent::Change(change)
        };
        state.spend(cost);
        state.push(Item { event, cost });
    }

    fn mark(&self, mark: Mark<'_>) {
        let mut state = self.lock();
        state.revision = state.revision.max(mark.revision);
        if !mark.after.is_empty() {
            state.after = Some(mark.after.to_owned());
        }
        if mark.whole {
            (state.in_snapshot, state.after) = (false, None);
        }
        if mark.caught_up {
            state.behind_since = None;
            let revision = state.revision;
            state.push(Item { event: WatchEvent::CaughtUp { revision }, cost: 0 });
        }
    }

    /// Changes that it needs are not kept any more: it ends, or begins anew.
    pub(crate) fn compacted(self: &Arc<Self>, why: Error) {
        let session = self.session.upgrade().filter(|_| self.options.restarts);
        let Some(session) = session else { return self.end(why) };
        let mut state = self.lock();
        if state.ended.is_some() {
            return;
        }
        (state.in_snapshot, state.after, state.revision) = (true, None, 0);
        state.asking = true;
        state.behind_since.get_or_insert_with(Instant::now);
        state.push(Item { event: WatchEvent::Restarted, cost: 0 });
        drop(state);
        ask_again(self, &session);
    }

    /// The call that asked for it anew has its answer, or was lost in a cut.
    pub(crate) fn asked_again(&self) {
        self.lock().asking = false;
    }

    /// It is over; what is here can still be consumed.
    pub(crate) fn end(&self, why: Error) {
        let mut state = self.lock();
        state.ended.get_or_insert(why);
        state.behind_since.get_or_insert_with(Instant::now);
        state.wake();
    }

    pub(crate) fn ended(&self) -> Option<Error> {
        self.lock().ended.clone()
    }

    pub(crate) fn freshness(&self) -> Freshness {
        let state = self.lock();
        Freshness { revision: state.revision, behind: state.behind_since.map(|since| since.elapsed()) }
    }
}

fn read(record: &Record<'_>) -> Option<(Revision, bool)> {
    let head = record.head();
    head.get(..CHANGE_KEY_AT)?;
    let key = Key::try_from(record.head_shared(CHANGE_KEY_AT..head.len())).ok()?;
    read_change(head, key, record.body_shared())
}

fn entry_of(change: Revision) -> Option<Entry> {
    let Revision { key, revision, timestamp, change } = change;
    match change {
        Change::Put { value, created, expires } => Some(Entry { key, value, revision, created, timestamp, expires }),
        Change::Gone(_) => None,
    }
}

impl StreamState for State {
    fn window_bytes(&self) -> u64 {
        self.window_bytes
    }

    fn is_over(&self) -> bool {
        self.ended.is_some()
    }
}
