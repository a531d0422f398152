//! A key as it is kept: its newest change, and which earlier ones are kept of it.

use bytes::Bytes;

use crate::{Change, Entry, Key, Removal};

/// A moment by both clocks, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Now {
    /// Since 1970, by the clock that somebody may set.
    pub(crate) wall: u64,
    /// Since a fixed moment, by the one that goes only forward.
    pub(crate) steady: u64,
}

/// When a key is gone. Stored and told by the wall clock; what counts while the server runs is the steady one, so that
/// nobody who sets the former shortens or stretches a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deadline {
    pub(crate) wall: u64,
    pub(crate) steady: u64,
}

impl Deadline {
    /// One that was stored, as it counts from now on.
    pub(crate) fn at(wall: u64, now: Now) -> Self {
        Self { wall, steady: now.steady.saturating_add(wall.saturating_sub(now.wall)) }
    }
}

/// A value, or where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Here(Bytes),
    /// In the journal, at the key's revision; so many bytes.
    Journal(u32),
}

impl Value {
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::Here(bytes) => bytes.len() as u64,
            Self::Journal(bytes) => u64::from(*bytes),
        }
    }
}

/// A key that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Live {
    pub(crate) created: u64,
    pub(crate) expires: Option<Deadline>,
    pub(crate) value: Value,
}

impl Live {
    /// Of the key and its value.
    pub(crate) fn bytes(&self, key: &Key) -> u64 {
        key.as_bytes().len() as u64 + self.value.bytes()
    }
}

/// What is kept of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Of its newest change.
    pub(crate) revision: u64,
    pub(crate) timestamp: u64,
    /// `None` when it is gone, and its history is kept.
    pub(crate) live: Option<Live>,
    /// Earlier revisions that are kept, oldest first.
    pub(crate) earlier: Vec<u64>,
}

impl Stored {
    /// What is kept once a change is made; `None` for nothing. A key that is gone leaves nothing where only the newest
    /// revision is kept.
    pub(crate) fn after(
        before: Option<&Self>,
        revision: u64,
        timestamp: u64,
        change: &Change,
        deadline: Option<Deadline>,
        history: u16,
    ) -> Option<Self> {
        let kept = usize::from(history.max(1)) - 1;
        let earlier = || {
            let all = before.map(|before| before.earlier.iter().copied().chain([before.revision]));
            let all: Vec<_> = all.into_iter().flatten().collect();
            all[all.len().saturating_sub(kept)..].to_vec()
        };
        match change {
            Change::Gone(Removal::Purged) => None,
            Change::Gone(_) if kept == 0 => None,
            Change::Gone(_) => Some(Self { revision, timestamp, live: None, earlier: earlier() }),
            Change::Put { value, created, .. } => {
                let live = Live { created: *created, expires: deadline, value: Value::Here(value.clone()) };
                let earlier = if kept == 0 { Vec::new() } else { earlier() };
                Some(Self { revision, timestamp, live: Some(live), earlier })
            }
        }
    }

    /// Whether this revision of the key is kept.
    pub(crate) fn keeps(&self, revision: u64) -> bool {
        self.revision == revision || self.earlier.contains(&revision)
    }

    /// The newest `history` revisions that are kept, oldest first.
    pub(crate) fn revisions(&self, history: u16) -> impl Iterator<Item = u64> {
        let behind = (self.earlier.len() + 1).saturating_sub(usize::from(history.max(1)));
        self.earlier.iter().copied().chain([self.revision]).skip(behind)
    }

    /// As it is told; `None` where it is gone, or its value is elsewhere.
    pub(crate) fn entry(&self, key: &Key) -> Option<Entry> {
        let live = self.live.as_ref()?;
        match &live.value {
            Value::Here(value) => Some(self.entry_with(key, live, value.clone())),
            Value::Journal(_) => None,
        }
    }

    /// The same with this value.
    pub(crate) fn entry_with(&self, key: &Key, live: &Live, value: Bytes) -> Entry {
        Entry {
            key: key.clone(),
            value,
            revision: self.revision,
            created: live.created,
            timestamp: self.timestamp,
            expires: live.expires.map(|deadline| deadline.wall),
        }
    }

    /// When it is gone by the steady clock.
    pub(crate) fn deadline(&self) -> Option<u64> {
        Some(self.live.as_ref()?.expires?.steady)
    }

    /// Whether its deadline is past.
    pub(crate) fn is_due(&self, steady: u64) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= steady)
    }
}
