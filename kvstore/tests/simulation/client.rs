//! Somebody who reads and writes a few keys at random, and writes down what came of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sinew_kvstore::{Entry, Error, Key, KvBucket};
use sinew_session::Error as SessionError;
use sinew_testkit::random::Random;
use tokio::time::sleep;

use crate::history::{Answer, Effect, Event, Seen};

/// One that lives until it has done what it was to.
pub(crate) struct Client {
    pub(crate) number: usize,
    pub(crate) bucket: KvBucket,
    pub(crate) random: Random,
    /// Counts what begins and ends, in its order.
    pub(crate) clock: Arc<AtomicU64>,
    pub(crate) keys: usize,
    pub(crate) operations: usize,
    /// Revisions that it has seen.
    pub(crate) known: BTreeMap<String, u64>,
    pub(crate) next: u64,
}

fn seen(entry: Option<&Entry>) -> Option<Seen> {
    entry.map(|entry| Seen {
        number: u64::from_le_bytes(entry.value[..].try_into().expect("a number of this test")),
        revision: entry.revision,
    })
}

impl Client {
    pub(crate) async fn live(mut self) -> Vec<Event> {
        let mut events = Vec::new();
        for _ in 0..self.operations {
            let begun = self.tick();
            let answer = self.act().await;
            let ended = self.tick();
            events.push(Event { client: self.number, begun, ended, answer });
            let pause = self.random.millis(30);
            sleep(pause).await;
        }
        events
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed)
    }

    fn key(&mut self) -> (String, Key) {
        let text = format!("k{}", self.random.below(self.keys));
        (text.clone(), text.parse().expect("a key of this test"))
    }

    fn value(&mut self) -> (u64, Vec<u8>) {
        self.next += 1;
        let number = (self.number as u64) << 32 | self.next;
        (number, number.to_le_bytes().to_vec())
    }

    async fn act(&mut self) -> Answer {
        match self.random.below(10) {
            0..=2 => self.read().await,
            3 => self.read_all().await,
            4 => self.put().await,
            5 => self.delete().await,
            6..=8 => self.swap().await,
            _ => self.together().await,
        }
    }

    async fn read(&mut self) -> Answer {
        let (text, key) = self.key();
        match self.bucket.get(&key).await {
            Ok(entry) => {
                self.known.insert(text.clone(), entry.as_ref().map_or(0, |entry| entry.revision));
                Answer::Read(text, seen(entry.as_ref()))
            }
            Err(error) => unanswered(&error),
        }
    }

    async fn read_all(&mut self) -> Answer {
        let all: Vec<_> = (0..self.keys).map(|number| format!("k{number}")).collect();
        let keys: Vec<Key> = all.iter().map(|text| text.parse().expect("a key of this test")).collect();
        match self.bucket.get_many(&keys).await {
            Ok(entries) => {
                Answer::ReadAll(all.into_iter().zip(entries.iter().map(|entry| seen(entry.as_ref()))).collect())
            }
            Err(error) => unanswered(&error),
        }
    }

    async fn put(&mut self) -> Answer {
        let ((text, key), (number, value)) = (self.key(), self.value());
        let stored = self.bucket.put(&key, value).await.unwrap_or_else(|error| panic!("a put: {error}"));
        Answer::Written(vec![(text, Effect::Put(number), stored.revision)], None)
    }

    async fn delete(&mut self) -> Answer {
        let (text, key) = self.key();
        let stored = self.bucket.delete(&key).await.unwrap_or_else(|error| panic!("a delete: {error}"));
        Answer::Written(vec![(text, Effect::Delete, stored.revision)], None)
    }

    /// Compares and sets, by the revision that it knows.
    async fn swap(&mut self) -> Answer {
        let ((text, key), (number, value)) = (self.key(), self.value());
        let expected = self.known.get(&text).copied().unwrap_or(0);
        let swapped = match expected {
            0 => self.bucket.create(&key, value).await,
            revision => self.bucket.update(&key, value, revision).await,
        };
        match swapped {
            Ok(stored) => {
                self.known.insert(text.clone(), stored.revision);
                Answer::Written(vec![(text.clone(), Effect::Put(number), stored.revision)], Some((text, expected)))
            }
            Err(Error::Conflict { revision, .. }) => {
                self.known.insert(text.clone(), revision);
                Answer::Conflict(text, expected, revision)
            }
            Err(error) => panic!("a compare-and-set: {error}"),
        }
    }

    /// Two keys in one transaction.
    async fn together(&mut self) -> Answer {
        let ((one, first), (number, value)) = (self.key(), self.value());
        let (other, second) = self.key();
        let mut transaction = self.bucket.transaction().put(&first, value);
        let mut effects = vec![(one, Effect::Put(number))];
        if second != first {
            transaction = transaction.delete(&second);
            effects.push((other, Effect::Delete));
        }
        let written = transaction.commit().await.unwrap_or_else(|error| panic!("a transaction: {error}"));
        let written = effects.into_iter().zip(written.revisions);
        Answer::Written(written.map(|((key, effect), revision)| (key, effect, revision)).collect(), None)
    }
}

/// A read that took too long says nothing.
fn unanswered(error: &Error) -> Answer {
    match error {
        Error::Session(SessionError::Timeout { .. } | SessionError::Disconnected { .. }) => Answer::Nothing,
        error => panic!("a read: {error}"),
    }
}
