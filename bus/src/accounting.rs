//! What became of every message: counted for each subject, summed for a pattern or for all.
//!
//! A published message is heard by nobody, or it makes one **copy** for each subscription that hears it (one for a
//! queue group, however many members it has). At all times, for each subject and for the sum of all,
//!
//! ```text
//! copies = delivered + dropped (oldest, newest, cut, ended) + queued
//! ```
//!
//! `queued` is counted by itself, up when a copy begins to wait and down when it stops, so that the equation can fail:
//! tests hold it against what subscribers saw.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::{Pattern, Subject};

/// Subjects that are counted apart unless told otherwise: some 2 MiB. What was published to others is in the sums of
/// the server, and in no pattern's.
pub const SUBJECTS_COUNTED_MAX_DEFAULT: usize = 10_000;

/// Sums over the messages of some subjects, since the server started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Accounting {
    /// Messages taken in.
    pub published: u64,
    /// Of these, messages that no subscription heard.
    pub unheard: u64,
    /// One for each subscription, or group, that a message was for. Kept values that a new subscription hears first
    /// are copies too.
    pub copies: u64,
    /// Copies handed to the subscriber's connection.
    pub delivered: u64,
    /// Copies that were lost, by reason. Each was told to its subscriber.
    pub dropped: Dropped,
    /// Copies that wait for a slow subscriber at this moment.
    pub queued: u64,
    /// Messages that the policy did not permit; they are in no other sum, and were told to the publisher.
    pub refused: u64,
    /// Subjects that are in these sums.
    pub subjects: u64,
    /// Messages to subjects beyond the limit of those counted apart: only the server's sums have them.
    pub uncounted: u64,
}

/// Why copies were lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// The queue was full, and the oldest had to go.
    pub oldest: u64,
    /// The queue was full, and the newest was not taken.
    pub newest: u64,
    /// The subscriber's connection was cut.
    pub cut: u64,
    /// The subscription ended while they waited.
    pub ended: u64,
}

impl Dropped {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.oldest + self.newest + self.cut + self.ended
    }
}

impl Accounting {
    /// Whether every copy is accounted for.
    pub fn is_balanced(&self) -> bool {
        self.copies == self.delivered + self.dropped.total() + self.queued
    }
}

/// The counters of one subject. Each is written where the message is, without a lock.
#[derive(Debug, Default)]
pub(crate) struct Account {
    published: AtomicU64,
    unheard: AtomicU64,
    copies: AtomicU64,
    delivered: AtomicU64,
    oldest: AtomicU64,
    newest: AtomicU64,
    cut: AtomicU64,
    ended: AtomicU64,
    queued: AtomicU64,
    refused: AtomicU64,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Published,
    Unheard,
    Copies,
    Delivered,
    Oldest,
    Newest,
    Cut,
    Ended,
    Queued,
    /// No longer: delivered, dropped or moved.
    Unqueued,
    Refused,
}

impl Account {
    #[inline]
    pub(crate) fn add(&self, event: Event, count: u64) {
        let counter = match event {
            Event::Published => &self.published,
            Event::Unheard => &self.unheard,
            Event::Copies => &self.copies,
            Event::Delivered => &self.delivered,
            Event::Oldest => &self.oldest,
            Event::Newest => &self.newest,
            Event::Cut => &self.cut,
            Event::Ended => &self.ended,
            Event::Queued => &self.queued,
            Event::Refused => &self.refused,
            Event::Unqueued => {
                self.queued.fetch_sub(count, Ordering::Relaxed);
                return;
            }
        };
        if count > 0 {
            counter.fetch_add(count, Ordering::Relaxed);
        }
    }

    fn add_to(&self, sums: &mut Accounting) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        sums.published += read(&self.published);
        sums.unheard += read(&self.unheard);
        sums.copies += read(&self.copies);
        sums.delivered += read(&self.delivered);
        sums.dropped.oldest += read(&self.oldest);
        sums.dropped.newest += read(&self.newest);
        sums.dropped.cut += read(&self.cut);
        sums.dropped.ended += read(&self.ended);
        sums.queued += read(&self.queued);
        sums.refused += read(&self.refused);
    }
}

/// The accounts of a server.
#[derive(Debug)]
pub(crate) struct Accounts {
    state: Mutex<State>,
    subjects_max: usize,
}

#[derive(Debug)]
struct State {
    by_subject: HashMap<Subject, Arc<Account>>,
    /// Sums of subjects that gave up their place.
    folded: Accounting,
    /// Shared by the subjects that found no place.
    others: Arc<Account>,
    /// How many subjects must find no place before room is made again.
    fold_in: usize,
}

impl Accounts {
    pub(crate) fn new(subjects_max: usize) -> Self {
        let (by_subject, others) = (HashMap::new(), Arc::new(Account::default()));
        let state = State { by_subject, folded: Accounting::default(), others, fold_in: 0 };
        Self { state: Mutex::new(state), subjects_max }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The account of a subject: its own, or where all places are taken by subjects in use, the one that the rest
    /// share. Copies the subject when it is new. Not for the hot path: keep what it gives.
    pub(crate) fn of(&self, subject: &Subject) -> Arc<Account> {
        let mut state = self.lock();
        if let Some(account) = state.by_subject.get(subject) {
            return Arc::clone(account);
        }
        if state.by_subject.len() >= self.subjects_max {
            if state.fold_in == 0 {
                state.fold();
                // A walk over all of them: so seldom that it costs each new subject a few steps.
                state.fold_in = self.subjects_max / 8;
            } else {
                state.fold_in -= 1;
            }
        }
        if state.by_subject.len() >= self.subjects_max {
            return Arc::clone(&state.others);
        }
        let account = Arc::new(Account::default());
        state.by_subject.insert(subject.to_owned_bytes(), Arc::clone(&account));
        account
    }

    /// The sums of the subjects that the pattern stands for; without one, of all messages there ever were.
    pub(crate) fn sum(&self, pattern: Option<&Pattern>) -> Accounting {
        let state = self.lock();
        let mut sums = if pattern.is_none() { state.folded } else { Accounting::default() };
        for (subject, account) in &state.by_subject {
            if pattern.is_none_or(|pattern| pattern.matches(subject)) {
                account.add_to(&mut sums);
                sums.subjects += 1;
            }
        }
        let mut others = Accounting::default();
        state.others.add_to(&mut others);
        sums.uncounted = state.folded.published + others.published;
        if pattern.is_none() {
            state.others.add_to(&mut sums);
        }
        sums
    }
}

impl State {
    /// Makes room: the subjects that nothing refers to any more, neither a cached route nor a copy that waits, keep
    /// their part in the sums and give up their place.
    fn fold(&mut self) {
        let folded = &mut self.folded;
        self.by_subject.retain(|_, account| {
            let used = Arc::strong_count(account) > 1;
            if !used {
                account.add_to(folded);
            }
            used
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(text: &str) -> Subject {
        Subject::try_from(text).unwrap()
    }

    #[test]
    fn sums_are_by_pattern_and_nothing_is_lost_when_places_run_out() {
        let accounts = Accounts::new(2);
        let held = accounts.of(&subject("a.1"));
        held.add(Event::Published, 1);
        accounts.of(&subject("a.2")).add(Event::Published, 10);
        assert!(Arc::ptr_eq(&held, &accounts.of(&subject("a.1"))));
        // `a.2` is in nobody's hands: its place goes to the next.
        let next = accounts.of(&subject("b.1"));
        next.add(Event::Published, 100);
        accounts.of(&subject("b.2")).add(Event::Published, 1_000);
        let of = |text: &str| accounts.sum(Some(&Pattern::try_from(text).unwrap()));
        assert_eq!((of("a.*").published, of("b.>").published, of("b.>").subjects), (1, 100, 1));
        assert_eq!((of(">").published, of(">").uncounted), (101, 1_010));
        assert_eq!(accounts.sum(None).published, 1_111);
    }

    #[test]
    fn copies_are_delivered_dropped_or_queued() {
        let account = Account::default();
        let (mut sums, moves) = (
            Accounting::default(),
            [
                (Event::Copies, 10),
                (Event::Delivered, 3),
                (Event::Queued, 7),
                (Event::Unqueued, 4),
                (Event::Oldest, 1),
                (Event::Cut, 2),
                (Event::Ended, 1),
            ],
        );
        moves.iter().for_each(|(event, count)| account.add(*event, *count));
        account.add_to(&mut sums);
        assert!(sums.is_balanced(), "{sums:?}");
        account.add(Event::Copies, 1);
        let mut sums = Accounting::default();
        account.add_to(&mut sums);
        assert!(!sums.is_balanced());
    }
}
