//! Writes that were answered, so that one whose answer was lost gets it again instead of being done twice.
//!
//! Of each client the newest [`OPERATIONS_REMEMBERED_PER_CLIENT`] sequence numbers are remembered. Clients are forgotten
//! as a whole, the one silent for longest first: beyond [`OPERATIONS_REMEMBERED_MAX`] writes in all, and
//! [`OPERATIONS_REMEMBERED_FOR`] after a client's last one. All of it follows from the log.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sinew_session::{from_value, to_value};

use super::Record;
use crate::{Level, OperationId, Written};

/// Writes of one client that are remembered, counted back from its newest sequence number.
pub const OPERATIONS_REMEMBERED_PER_CLIENT: u64 = 1_024;
/// Writes of a bucket that are remembered: 64 clients at their most. Each costs some 150 bytes of memory.
pub const OPERATIONS_REMEMBERED_MAX: usize = 65_536;
/// How long a client is remembered after its last write, by the log's time.
pub const OPERATIONS_REMEMBERED_FOR: Duration = Duration::from_secs(600);

/// The answer to a write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Remembered {
    revisions: Vec<u64>,
    counters: Vec<i64>,
    timestamp: u64,
}

impl Remembered {
    pub(crate) fn new(records: &[Record], timestamp: u64) -> Self {
        let revisions = records.iter().map(|record| record.revision).collect();
        Self { revisions, counters: records.iter().filter_map(|record| record.counter).collect(), timestamp }
    }

    pub(crate) fn written(&self, level: Level, duplicate: bool) -> Written {
        let Self { revisions, counters, timestamp } = self.clone();
        Written { revisions, counters, timestamp, level, duplicate }
    }

    /// Revision of the last change; for what is known to be stored.
    fn last(&self) -> u64 {
        self.revisions.iter().copied().max().unwrap_or(0)
    }
}

/// The writes of all clients of a bucket.
#[derive(Debug, Default)]
pub(crate) struct Operations {
    clients: HashMap<u64, Client>,
    /// Client by when it was heard.
    by_silence: BTreeMap<u64, u64>,
    heard: u64,
    count: usize,
}

#[derive(Debug)]
struct Client {
    answers: BTreeMap<u64, Remembered>,
    newest: u64,
    heard: u64,
    /// Log time of its last write.
    timestamp: u64,
}

impl Operations {
    /// The answer to a write that was done.
    pub(crate) fn find(&self, id: OperationId) -> Option<&Remembered> {
        self.clients.get(&id.client)?.answers.get(&id.sequence)
    }

    /// Whether it was done cannot be told any more.
    pub(crate) fn is_too_old(&self, id: OperationId) -> bool {
        self.clients.get(&id.client).is_some_and(|client| id.sequence < oldest_kept(client.newest))
    }

    /// A write was done.
    pub(crate) fn remember(&mut self, id: OperationId, answer: Remembered) {
        self.heard += 1;
        let timestamp = answer.timestamp;
        let client = self.clients.entry(id.client).or_insert_with(|| Client {
            answers: BTreeMap::new(),
            newest: 0,
            heard: 0,
            timestamp,
        });
        self.by_silence.remove(&client.heard);
        (client.heard, client.timestamp) = (self.heard, client.timestamp.max(timestamp));
        client.newest = client.newest.max(id.sequence);
        self.by_silence.insert(self.heard, id.client);
        self.count += usize::from(client.answers.insert(id.sequence, answer).is_none());
        let oldest = oldest_kept(client.newest);
        while client.answers.first_key_value().is_some_and(|(sequence, _)| *sequence < oldest) {
            client.answers.pop_first();
            self.count -= 1;
        }
        self.forget(timestamp);
    }

    fn forget(&mut self, now: u64) {
        let age = OPERATIONS_REMEMBERED_FOR.as_nanos() as u64;
        while let Some((heard, id)) = self.by_silence.first_key_value().map(|(heard, id)| (*heard, *id)) {
            let is_silent = self.clients[&id].timestamp.saturating_add(age) < now;
            let is_above = self.count > OPERATIONS_REMEMBERED_MAX && self.clients.len() > 1;
            if !is_silent && !is_above {
                break;
            }
            self.by_silence.remove(&heard);
            self.count -= self.clients.remove(&id).map_or(0, |client| client.answers.len());
        }
    }

    /// How many are remembered.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.count
    }
}

/// The lowest sequence number that is remembered.
fn oldest_kept(newest: u64) -> u64 {
    newest.saturating_add(1).saturating_sub(OPERATIONS_REMEMBERED_PER_CLIENT)
}

/// A client in a snapshot: `docs/STORAGE.md`, "A bucket".
#[derive(Serialize, Deserialize)]
struct SnapshotClient {
    client: u64,
    newest: u64,
    answers: Vec<(u64, Remembered)>,
}

impl Operations {
    /// All of them as CBOR, the client silent for longest first.
    pub(crate) fn snapshot(&self) -> Vec<u8> {
        let clients = self.by_silence.values().map(|id| {
            let client = &self.clients[id];
            let answers = client.answers.iter().map(|(sequence, answer)| (*sequence, answer.clone())).collect();
            SnapshotClient { client: *id, newest: client.newest, answers }
        });
        to_value(&clients.collect::<Vec<_>>()).expect("numbers can be written")
    }

    /// What [`snapshot`](Self::snapshot) wrote. `Err` says what does not hold.
    pub(crate) fn restore(bytes: &[u8]) -> Result<Self, String> {
        let clients: Vec<SnapshotClient> = from_value(bytes).map_err(|error| error.why)?;
        let mut operations = Self::default();
        for SnapshotClient { client: id, newest, answers } in clients {
            let holds = answers.iter().all(|(sequence, _)| (oldest_kept(newest)..=newest).contains(sequence));
            if operations.clients.contains_key(&id) || !holds {
                return Err(format!("client {id:016x} does not hold together"));
            }
            operations.heard += 1;
            let timestamp = answers.iter().map(|(_, answer)| answer.timestamp).max().unwrap_or(0);
            let answers: BTreeMap<_, _> = answers.into_iter().collect();
            operations.count += answers.len();
            operations.by_silence.insert(operations.heard, id);
            operations.clients.insert(id, Client { answers, newest, heard: operations.heard, timestamp });
        }
        Ok(operations)
    }

    /// A write as it is read from the log, which the snapshot may have already.
    pub(crate) fn replay(&mut self, id: OperationId, answer: Remembered) {
        if self.find(id).is_none_or(|known| known.last() < answer.last()) {
            self.remember(id, answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(revision: u64, timestamp: u64) -> Remembered {
        Remembered { revisions: vec![revision], counters: vec![], timestamp }
    }

    fn id(client: u64, sequence: u64) -> OperationId {
        OperationId { client, sequence }
    }

    #[test]
    fn the_newest_of_each_client_are_known() {
        let mut operations = Operations::default();
        for sequence in 0..2 * OPERATIONS_REMEMBERED_PER_CLIENT {
            operations.remember(id(1, sequence), answer(sequence + 1, 5));
        }
        assert_eq!(operations.len() as u64, OPERATIONS_REMEMBERED_PER_CLIENT);
        let first = OPERATIONS_REMEMBERED_PER_CLIENT;
        assert_eq!(operations.find(id(1, first)), Some(&answer(first + 1, 5)));
        assert!(operations.find(id(1, first - 1)).is_none() && operations.is_too_old(id(1, first - 1)));
        // Another bucket may have had it: it was not done here.
        assert!(!operations.is_too_old(id(2, 0)));
        let restored = Operations::restore(&operations.snapshot()).expect("it was written so");
        assert_eq!(restored.snapshot(), operations.snapshot());
        assert_eq!((restored.len(), restored.is_too_old(id(1, first - 1))), (operations.len(), true));
    }

    #[test]
    fn clients_are_forgotten_by_silence() {
        let mut operations = Operations::default();
        for client in 0..70 {
            for sequence in 0..OPERATIONS_REMEMBERED_PER_CLIENT {
                operations.remember(id(client, sequence), answer(1, client));
            }
        }
        assert_eq!(operations.len(), OPERATIONS_REMEMBERED_MAX);
        assert!(operations.find(id(5, 1_000)).is_none());
        assert!(operations.find(id(6, 1_000)).is_some());
        operations.remember(id(6, 2_000), answer(2, OPERATIONS_REMEMBERED_FOR.as_nanos() as u64 + 30));
        assert!(operations.find(id(29, 1_000)).is_none());
        assert!(operations.find(id(30, 1_000)).is_some() && operations.find(id(6, 2_000)).is_some());
    }

    #[test]
    fn what_is_no_snapshot_is_refused() {
        let mut operations = Operations::default();
        operations.remember(id(1, 7), answer(1, 1));
        let good = operations.snapshot();
        assert!(Operations::restore(&good).is_ok());
        assert!(Operations::restore(&good[1..]).is_err());
        assert!(Operations::restore(&[]).is_err());
        let twice = [
            SnapshotClient { client: 1, newest: 0, answers: vec![] },
            SnapshotClient { client: 1, newest: 0, answers: vec![] },
        ];
        assert!(Operations::restore(&to_value(&twice).expect("written")).is_err());
        let ahead = [SnapshotClient { client: 1, newest: 0, answers: vec![(3, answer(1, 1))] }];
        assert!(Operations::restore(&to_value(&ahead).expect("written")).is_err());
    }
}
