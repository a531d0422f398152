//! What a bucket is, as simple as can be said: maps, and no thought for disk or speed. Both engines are held against it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::{
    Action, BucketConfig, Condition, Expected, Found, Key, Operation, OperationId, PageLimits, Range, Removal,
    Revision, Write,
};
use crate::{Bucket, Change, Error};

/// Everything of a bucket.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) keys: BTreeMap<String, Known>,
    /// Every change there ever was: the first has revision 1.
    pub(crate) changes: Vec<Changed>,
    /// Since which change each key's history is kept.
    purged: BTreeMap<String, u64>,
    answers: BTreeMap<OperationId, Told>,
    /// Milliseconds that have passed.
    now: u64,
}

/// A key that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) revision: u64,
    pub(crate) created: u64,
    pub(crate) value: Vec<u8>,
    pub(crate) deadline: Option<u64>,
}

/// A change, without times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Changed {
    pub(crate) key: String,
    pub(crate) revision: u64,
    pub(crate) put: Option<(Vec<u8>, u64, bool)>,
    pub(crate) removal: Option<Removal>,
}

/// What a write is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Written(Vec<u64>, Vec<i64>),
    Conflict(u64),
    NotACounter,
}

impl From<&Revision> for Changed {
    fn from(of: &Revision) -> Self {
        let (put, removal) = match &of.change {
            Change::Put { value, created, expires } => (Some((value.to_vec(), *created, expires.is_some())), None),
            Change::Gone(removal) => (None, Some(*removal)),
        };
        Self { key: of.key.to_string(), revision: of.revision, put, removal }
    }
}

impl Told {
    pub(crate) fn of(answer: Result<crate::Written, Error>) -> Self {
        match answer {
            Ok(written) => Self::Written(written.revisions, written.counters),
            Err(Error::Conflict { revision, .. }) => Self::Conflict(revision),
            Err(Error::NotACounter { .. }) => Self::NotACounter,
            Err(error) => panic!("{error}"),
        }
    }
}

impl Model {
    pub(crate) fn revision(&self) -> u64 {
        self.changes.len() as u64
    }

    /// Removed, and made again.
    pub(crate) fn renewed(&self) -> Self {
        Self { now: self.now, ..Self::default() }
    }

    /// What was answered to writes with an id.
    pub(crate) fn told(&self) -> &BTreeMap<OperationId, Told> {
        &self.answers
    }

    fn change(&mut self, key: &str, put: Option<(Vec<u8>, Option<u64>)>, removal: Option<Removal>) -> u64 {
        let revision = self.revision() + 1;
        let created = self.keys.get(key).map_or(revision, |known| known.created);
        match &put {
            Some((value, deadline)) => {
                let known = Known { revision, created, value: value.clone(), deadline: *deadline };
                self.keys.insert(key.to_owned(), known);
            }
            None => drop(self.keys.remove(key)),
        }
        if removal == Some(Removal::Purged) {
            self.purged.insert(key.to_owned(), revision);
        }
        let put = put.map(|(value, deadline)| (value, created, deadline.is_some()));
        self.changes.push(Changed { key: key.to_owned(), revision, put, removal });
        revision
    }

    /// Time passes; what is due goes, first come first.
    pub(crate) fn advance(&mut self, milliseconds: u64) {
        self.now += milliseconds;
        let mut due: Vec<_> =
            self.keys.iter().filter_map(|(key, known)| Some((known.deadline?, known.revision, key))).collect();
        due.retain(|(deadline, ..)| *deadline <= self.now);
        due.sort();
        let due: Vec<_> = due.into_iter().map(|(.., key)| key.clone()).collect();
        for key in due {
            self.change(&key, None, Some(Removal::Expired));
        }
    }

    pub(crate) fn write(&mut self, write: &Write, config: &BucketConfig) -> Told {
        if let Some(told) = write.id.and_then(|id| self.answers.get(&id)) {
            return told.clone();
        }
        let before = self.clone();
        let told = self.try_write(write, config).unwrap_or_else(|told| {
            *self = before.clone();
            told
        });
        if let Some(id) = write.id.filter(|_| self.revision() > before.revision()) {
            self.answers.insert(id, told.clone());
        }
        told
    }

    fn try_write(&mut self, write: &Write, config: &BucketConfig) -> Result<Told, Told> {
        for Condition { key, expected } in &write.conditions {
            let revision = self.keys.get(key.as_str()).map_or(0, |known| known.revision);
            let holds = match expected {
                Expected::Absent => revision == 0,
                Expected::Present => revision > 0,
                Expected::Revision(wanted) => revision == *wanted,
            };
            if !holds {
                return Err(Told::Conflict(revision));
            }
        }
        let (mut revisions, mut counters) = (Vec::new(), Vec::new());
        for Action { key, operation } in &write.actions {
            let key = key.as_str();
            let until =
                |time: Option<Duration>| time.or(config.time_to_live).map(|time| self.now + time.as_millis() as u64);
            let revision = match operation {
                Operation::Put { value, time_to_live } => {
                    let put = (value.to_vec(), until(*time_to_live));
                    self.change(key, Some(put), None)
                }
                Operation::Add(delta) => {
                    let known = self.keys.get(key);
                    let value = known.map_or(Ok("0"), |known| std::str::from_utf8(&known.value));
                    let number: i64 = value
                        .ok()
                        .filter(|text| text.len() <= 20)
                        .and_then(|text| text.parse().ok())
                        .ok_or(Told::NotACounter)?;
                    let deadline = known.map_or_else(|| until(None), |known| known.deadline);
                    let sum = number.checked_add(*delta).ok_or(Told::NotACounter)?;
                    counters.push(sum);
                    self.change(key, Some((sum.to_string().into(), deadline)), None)
                }
                Operation::Delete if !self.keys.contains_key(key) => 0,
                Operation::Delete => self.change(key, None, Some(Removal::Deleted)),
                Operation::Purge if self.history(key, config.history).is_empty() => 0,
                Operation::Purge => self.change(key, None, Some(Removal::Purged)),
            };
            revisions.push(revision);
        }
        Ok(Told::Written(revisions, counters))
    }

    /// A key's kept revisions, oldest first. Of one that is gone nothing is kept where only the newest is.
    pub(crate) fn history(&self, key: &str, history: u16) -> Vec<Changed> {
        if history == 1 && !self.keys.contains_key(key) {
            return Vec::new();
        }
        let since = self.purged.get(key).copied().unwrap_or(0);
        let all: Vec<_> = self.changes.iter().filter(|of| of.key == key && of.revision > since).collect();
        all[all.len().saturating_sub(history.into())..].iter().map(|of| (*of).clone()).collect()
    }

    /// Holds a bucket against it. Waits for expiries that are due to be written.
    pub(crate) async fn check(&self, bucket: &dyn Bucket, config: &BucketConfig, names: &[&str], pages: PageLimits) {
        let mut range = bucket.range();
        range.wait_for(|range| range.revision >= self.revision()).await.expect("it lives");
        assert_eq!(range.borrow().revision, self.revision());
        let keys: Vec<_> = names.iter().map(|name| Key::try_from(*name).expect("a key")).collect();
        let loaded = bucket.load(&keys).await.expect("read");
        for (key, loaded) in keys.iter().zip(loaded) {
            if let Found::Now(found) = bucket.get(key) {
                assert_eq!(found, loaded, "{key}");
            }
            let known = loaded
                .as_ref()
                .map(|entry| (entry.revision, entry.created, entry.value.to_vec(), entry.expires.is_some()));
            let expected = self.keys.get(key.as_str());
            let expected = expected.map(|of| (of.revision, of.created, of.value.clone(), of.deadline.is_some()));
            assert_eq!(known, expected, "{key}");
            let history = bucket.history(key).await.expect("read");
            let history: Vec<_> = history.iter().map(Changed::from).collect();
            assert_eq!(history, self.history(key.as_str(), config.history), "{key}");
        }
        self.check_scan(bucket, Range::default(), pages).await;
        self.check_scan(bucket, Range { prefix: names[0][..1].to_owned(), ..Range::default() }, pages).await;
        let (from, to) = (Some(names[1].to_owned()), Some(names[names.len() - 1].to_owned()));
        self.check_scan(bucket, Range { from, to, ..Range::default() }, pages).await;
        self.check_changes(bucket, config, pages).await;
        let info = bucket.info().await.expect("it is there");
        let bytes: usize = self.keys.iter().map(|(key, known)| key.len() + known.value.len()).sum();
        assert_eq!((info.keys, info.bytes), (self.keys.len() as u64, bytes as u64));
    }

    async fn check_scan(&self, bucket: &dyn Bucket, mut range: Range, pages: PageLimits) {
        let is_in = |key: &&String| {
            key.starts_with(&range.prefix)
                && range.from.as_ref().is_none_or(|from| *key >= from)
                && range.to.as_ref().is_none_or(|to| *key < to)
        };
        let expected: Vec<_> = self.keys.keys().filter(is_in).cloned().collect();
        let mut found = Vec::new();
        loop {
            let page = bucket.scan(&range, pages).await.expect("scanned");
            assert_eq!(page.revision, self.revision());
            for entry in &page.entries {
                let known = &self.keys[entry.key.as_str()];
                let value = if pages.keys_only { &[][..] } else { &known.value };
                assert_eq!((entry.revision, &entry.value[..]), (known.revision, value));
                found.push(entry.key.to_string());
            }
            assert!(page.entries.len() <= pages.items_max);
            if !page.more {
                break;
            }
            range.after = found.last().cloned();
        }
        assert_eq!(found, expected);
    }

    async fn check_changes(&self, bucket: &dyn Bucket, config: &BucketConfig, pages: PageLimits) {
        let first = bucket.range().borrow().first;
        let kept = config.limits.changes_kept;
        assert!(first <= (self.revision() + 1).saturating_sub(kept).max(1), "{first}");
        if first > 1 {
            let refused = bucket.changes(first - 1, pages).await.expect_err("it is compacted");
            assert!(matches!(refused, Error::Compacted { .. }), "{refused}");
        }
        let (mut at, mut found) = (first, Vec::new());
        loop {
            let page = bucket.changes(at, pages).await.expect("read");
            assert!(page.changes.len() <= pages.items_max && page.revision == self.revision());
            found.extend(page.changes.iter().map(Changed::from));
            if page.changes.is_empty() {
                break;
            }
            at = page.next;
        }
        let expected = &self.changes[first as usize - 1..];
        if pages.keys_only {
            assert_eq!(
                found.iter().map(|of| of.revision).collect::<Vec<_>>(),
                expected.iter().map(|of| of.revision).collect::<Vec<_>>()
            );
        } else {
            assert_eq!(found, expected);
        }
    }
}

/// Random numbers below a bound.
pub(crate) type Below<'a> = &'a mut dyn FnMut(usize) -> usize;

/// A write that may be anything.
pub(crate) fn some_write(model: &Model, names: &[&str], below: Below<'_>) -> Write {
    let mut unused: Vec<_> = names.to_vec();
    let mut actions = Vec::new();
    for _ in 0..[1, 1, 1, 1, 2, 4][below(6)] {
        let name = unused.swap_remove(below(unused.len()));
        let time_to_live = (below(4) == 0).then(|| Duration::from_millis(1 + below(40) as u64));
        let operation = match below(10) {
            0..4 => Operation::Put { value: vec![b'0' + below(10) as u8; below(150)].into(), time_to_live },
            4..6 => Operation::Put { value: below(1_000).to_string().into(), time_to_live },
            6 => Operation::Add(below(100) as i64 - 50),
            7 | 8 => Operation::Delete,
            _ => Operation::Purge,
        };
        actions.push(Action { key: Key::try_from(name).expect("a key"), operation });
    }
    let mut conditions = Vec::new();
    for _ in 0..[0, 0, 1, 2][below(4)] {
        let name = names[below(names.len())];
        let revision = model.keys.get(name).map_or(0, |known| known.revision);
        let expected = match below(8) {
            0 => Expected::Absent,
            1 => Expected::Present,
            2 => Expected::Revision(1 + below(20) as u64),
            _ if revision > 0 => Expected::Revision(revision),
            _ => Expected::Absent,
        };
        conditions.push(Condition { key: Key::try_from(name).expect("a key"), expected });
    }
    // Now and then one is told again.
    let id = (below(2) == 0).then(|| OperationId { client: below(3) as u64, sequence: below(200) as u64 });
    Write { id, conditions, actions }
}
