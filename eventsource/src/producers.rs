//! Idempotent producers of one stream: who has which epoch, what comes next of each, and what was stored lately, so that
//! a batch that is sent again gets its first answer. No IO.
//!
//! 1. A batch is stored when its sequence is the producer's next; one that is remembered is answered with where it
//!    stands; everything else is refused.
//! 2. What is changed can be undone, newest first, until the round is known to be stored.
//! 3. The table follows from the log alone: the openings and the batches in their order. Two replays agree.

use std::collections::{BTreeMap, HashMap, VecDeque};

use serde::{Deserialize, Serialize};
use sinew_session::{from_value, to_value};

use crate::{ProducerGrant, ProducerStamp};

/// Batches of a producer that are remembered: a client has at most so many of one producer in flight.
pub(crate) const BATCHES_REMEMBERED: usize = 64;

/// Producers of one stream.
#[derive(Debug)]
pub(crate) struct Producers {
    max: u32,
    by_id: HashMap<u64, Producer>,
    by_name: HashMap<String, u64>,
    /// Who was heard of when, by a count: the first is silent for longest.
    by_silence: BTreeMap<u64, u64>,
    heard: u64,
    /// Openings so far; each has its number, so that a replay knows which it has.
    openings: u64,
    /// In a replay: the last batch of each that was not opened yet. Compaction has removed the opening under which it was
    /// sent, since there was a later one.
    unopened: HashMap<u64, Remembered>,
}

/// Of those, at most; far more than there are producers.
const UNOPENED_MAX: usize = 200_000;

#[derive(Clone, Debug)]
struct Producer {
    name: String,
    epoch: u32,
    sequence: u64,
    last_offset: Option<u64>,
    recent: VecDeque<Remembered>,
    heard: u64,
}

/// A batch that was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Remembered {
    pub(crate) sequence: u64,
    pub(crate) count: u32,
    pub(crate) first: u64,
    pub(crate) timestamp: u64,
}

/// What is to become of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the next.
    Store,
    /// It is stored already, there.
    Duplicate(Remembered),
    /// Another epoch is the producer's.
    Fenced { current: u32 },
    /// No such producer, or no longer.
    Expired,
    /// Something is missing before it.
    Gap { expected: u64 },
    /// It was stored, and where is forgotten; or it is cut otherwise than it was.
    Old { expected: u64 },
}

/// An opening as it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Opening {
    pub(crate) number: u64,
    pub(crate) name: String,
    pub(crate) id: u64,
    pub(crate) epoch: u32,
}

/// How to take one change back.
#[derive(Debug)]
pub(crate) enum Undo {
    Stored { id: u64, dropped: Option<Remembered>, last_offset: Option<u64>, heard: u64 },
    Opened { id: u64, before: Option<Former>, forgotten: Vec<(u64, Former)> },
}

/// A producer as it was; nobody but [`Producers`] looks into it.
#[derive(Debug)]
pub(crate) struct Former(Producer);

impl Producers {
    /// None yet, and never more than `max`, of which there is one at least.
    pub(crate) fn new(max: u32) -> Self {
        Self {
            max: max.max(1),
            by_id: HashMap::new(),
            by_name: HashMap::new(),
            by_silence: BTreeMap::new(),
            heard: 0,
            openings: 0,
            unopened: HashMap::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// How many openings there were.
    pub(crate) fn openings(&self) -> u64 {
        self.openings
    }

    /// Another bound; those silent for longest are forgotten at once.
    pub(crate) fn limit(&mut self, max: u32) {
        self.max = max.max(1);
        self.forget_above(self.max as usize);
    }

    /// What is to become of a batch of `count` events.
    pub(crate) fn judge(&self, stamp: &ProducerStamp, count: u32) -> Verdict {
        let Some(producer) = self.by_id.get(&stamp.id) else { return Verdict::Expired };
        let expected = producer.sequence;
        if producer.epoch != stamp.epoch {
            return Verdict::Fenced { current: producer.epoch };
        }
        if stamp.sequence > expected {
            return Verdict::Gap { expected };
        }
        if stamp.sequence == expected {
            return Verdict::Store;
        }
        let at = producer.recent.binary_search_by_key(&stamp.sequence, |batch| batch.sequence);
        match at.ok().map(|at| producer.recent[at]).filter(|batch| batch.count == count) {
            Some(batch) => Verdict::Duplicate(batch),
            None => Verdict::Old { expected },
        }
    }

    /// Notes a batch that was judged [`Verdict::Store`].
    pub(crate) fn store(&mut self, id: u64, batch: Remembered) -> Undo {
        self.heard += 1;
        let producer = self.by_id.get_mut(&id).expect("it was judged, and nothing happened since");
        let dropped = (producer.recent.len() >= BATCHES_REMEMBERED).then(|| producer.recent.pop_front()).flatten();
        let undo = Undo::Stored { id, dropped, last_offset: producer.last_offset, heard: producer.heard };
        producer.recent.push_back(batch);
        producer.sequence = batch.sequence + u64::from(batch.count);
        producer.last_offset = Some(batch.first + u64::from(batch.count).saturating_sub(1));
        self.by_silence.remove(&producer.heard);
        producer.heard = self.heard;
        self.by_silence.insert(self.heard, id);
        undo
    }

    /// Opens the producer of this name with the next epoch; a new one gets `new_id`, which is random.
    pub(crate) fn open(&mut self, name: &str, new_id: u64) -> (Opening, ProducerGrant, Undo) {
        let known = self.by_name.get(name).map(|id| (*id, self.by_id[id].epoch));
        let (id, epoch) = known.map_or((new_id, 1), |(id, epoch)| (id, epoch.saturating_add(1)));
        let opening = Opening { number: self.openings + 1, name: name.to_owned(), id, epoch };
        let undo = self.enter(&opening);
        let producer = &self.by_id[&id];
        let grant = ProducerGrant { id, epoch, sequence: producer.sequence, last_offset: producer.last_offset };
        (opening, grant, undo)
    }

    fn enter(&mut self, opening: &Opening) -> Undo {
        (self.openings, self.heard) = (opening.number, self.heard + 1);
        let before = self.take(opening.id);
        let forgotten = self.forget_above(self.max as usize - 1);
        let fresh = || Producer {
            name: opening.name.clone(),
            epoch: 0,
            sequence: 0,
            last_offset: None,
            recent: VecDeque::new(),
            heard: 0,
        };
        let mut producer = before.clone().unwrap_or_else(fresh);
        (producer.epoch, producer.heard) = (opening.epoch, self.heard);
        self.put(opening.id, producer);
        let kept = |(id, producer)| (id, Former(producer));
        Undo::Opened {
            id: opening.id,
            before: before.map(Former),
            forgotten: forgotten.into_iter().map(kept).collect(),
        }
    }

    /// Takes the newest change back.
    pub(crate) fn undo(&mut self, undo: Undo) {
        match undo {
            Undo::Stored { id, dropped, last_offset, heard } => {
                let mut producer = self.take(id).expect("it was changed, so that it is there");
                let batch = producer.recent.pop_back().expect("it was added");
                (producer.sequence, producer.last_offset, producer.heard) = (batch.sequence, last_offset, heard);
                dropped.into_iter().for_each(|batch| producer.recent.push_front(batch));
                self.put(id, producer);
            }
            Undo::Opened { id, before, forgotten } => {
                self.openings -= 1;
                self.take(id);
                before.into_iter().for_each(|before| self.put(id, before.0));
                forgotten.into_iter().for_each(|(id, producer)| self.put(id, producer.0));
            }
        }
    }

    /// An opening as it is read from the log, which the table may have already.
    pub(crate) fn replay_opening(&mut self, opening: &Opening) {
        if opening.number > self.openings {
            let is_new = !self.by_id.contains_key(&opening.id);
            self.enter(opening);
            if let Some(batch) = self.unopened.remove(&opening.id).filter(|_| is_new) {
                self.store(opening.id, batch);
            }
        }
    }

    /// A batch as it is read from the log, from behind what the table has. One of a producer that was forgotten in the
    /// meantime changes nothing: it is opened under another id.
    pub(crate) fn replay_batch(&mut self, id: u64, batch: Remembered) {
        if self.by_id.contains_key(&id) {
            self.store(id, batch);
        } else if self.unopened.len() < UNOPENED_MAX || self.unopened.contains_key(&id) {
            self.unopened.insert(id, batch);
        }
    }

    /// The replay is over.
    pub(crate) fn replayed(&mut self) {
        self.unopened = HashMap::new();
    }

    /// Each producer's epoch, and where its last batch begins: the log must keep the heads of both, or a replay would
    /// take the producer for further back than it is.
    pub(crate) fn epochs(&self) -> impl Iterator<Item = (u64, (u32, Option<u64>))> {
        let last = |producer: &Producer| producer.recent.back().map(|batch| batch.first);
        self.by_id.iter().map(move |(id, producer)| (*id, (producer.epoch, last(producer))))
    }

    fn take(&mut self, id: u64) -> Option<Producer> {
        let producer = self.by_id.remove(&id)?;
        self.by_name.remove(&producer.name);
        self.by_silence.remove(&producer.heard);
        Some(producer)
    }

    fn put(&mut self, id: u64, producer: Producer) {
        self.by_name.insert(producer.name.clone(), id);
        self.by_silence.insert(producer.heard, id);
        self.by_id.insert(id, producer);
    }

    fn forget_above(&mut self, max: usize) -> Vec<(u64, Producer)> {
        let mut forgotten = Vec::new();
        while self.by_id.len() > max {
            let id = *self.by_silence.first_key_value().expect("as many as there are producers").1;
            forgotten.push((id, self.take(id).expect("it is in the order of silence")));
        }
        forgotten
    }
}

/// The table as CBOR: `docs/STORAGE.md`, "Producers".
#[derive(Serialize, Deserialize)]
struct Snapshot {
    openings: u64,
    /// Silent for longest first.
    producers: Vec<SnapshotProducer>,
}

#[derive(Serialize, Deserialize)]
struct SnapshotProducer {
    id: u64,
    name: String,
    epoch: u32,
    sequence: u64,
    last: Option<u64>,
    recent: Vec<(u64, u32, u64, u64)>,
}

impl Producers {
    /// The table as bytes.
    pub(crate) fn snapshot(&self) -> Vec<u8> {
        let producers = self.by_silence.values().map(|id| {
            let producer = &self.by_id[id];
            let recent = producer.recent.iter().map(|of| (of.sequence, of.count, of.first, of.timestamp));
            SnapshotProducer {
                id: *id,
                name: producer.name.clone(),
                epoch: producer.epoch,
                sequence: producer.sequence,
                last: producer.last_offset,
                recent: recent.collect(),
            }
        });
        let snapshot = Snapshot { openings: self.openings, producers: producers.collect() };
        to_value(&snapshot).expect("numbers and texts can be written")
    }

    /// What [`snapshot`](Self::snapshot) wrote, with this bound. `Err` says what does not hold.
    pub(crate) fn restore(bytes: &[u8], max: u32) -> Result<Self, String> {
        let snapshot: Snapshot = from_value(bytes).map_err(|error| error.why)?;
        let mut producers = Self::new(max);
        producers.openings = snapshot.openings;
        for stored in snapshot.producers {
            let recent: VecDeque<_> = stored
                .recent
                .into_iter()
                .map(|(sequence, count, first, timestamp)| Remembered { sequence, count, first, timestamp })
                .collect();
            let rises = recent.iter().zip(recent.iter().skip(1)).all(|(one, next)| one.sequence < next.sequence);
            let is_known = producers.by_id.contains_key(&stored.id) || producers.by_name.contains_key(&stored.name);
            if is_known || !rises || recent.len() > BATCHES_REMEMBERED {
                return Err(format!("producer {} does not hold together", stored.id));
            }
            producers.heard += 1;
            let producer = Producer {
                name: stored.name,
                epoch: stored.epoch,
                sequence: stored.sequence,
                last_offset: stored.last,
                recent,
                heard: producers.heard,
            };
            producers.put(stored.id, producer);
        }
        producers.forget_above(producers.max as usize);
        Ok(producers)
    }
}

#[cfg(test)]
#[path = "producers/tests.rs"]
mod tests;
