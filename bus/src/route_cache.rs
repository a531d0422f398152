//! Routes that a connection used lately, found by the bytes of a subject as they came off the wire.
//!
//! A table of sets of four: a subject can only be in the one set that its hash names. So a look-up compares four
//! hashes at most whatever subjects a peer chooses, nothing is ever rehashed beyond the limit, and a full set gives up
//! one of its own. The hash is seeded, so that a peer cannot aim all its subjects at one set; if it could, it would
//! only lose its own cache.
//!
//! An entry holds for the generation it was made in. A stale one counts as absent and is the first to be replaced, so
//! a change of subscriptions costs nothing here.

use std::hash::{BuildHasher, RandomState};

use crate::Subject;

/// How many places for routes a connection has unless told otherwise. About half as many subjects fit without pushing
/// each other out, more than most programs publish to; at 40 bytes a place, and a subject and a route where it is used,
/// it takes some 150 KiB when full. Give a gateway that publishes to thousands of subjects twice as many places.
pub const ROUTE_CACHE_ENTRIES_DEFAULT: usize = 1024;

/// Entries in a set.
const WAYS: usize = 4;
/// Entries at the first use; the table doubles from here when a set is full.
const ENTRIES_FIRST: usize = 16;

/// What one connection looked up lately for its subjects: `T` is a route, or what else goes with it. Takes no memory
/// until the first is kept.
#[derive(Debug)]
pub struct RouteCache<T> {
    slots: Vec<Option<Slot<T>>>,
    /// Where the last look-up ended: most publishers name the same subject many times in a row.
    last: usize,
    /// Which entry of a full set goes next.
    victim: usize,
    entries_max: usize,
    seed: Seed,
}

#[derive(Debug)]
struct Slot<T> {
    hash: u64,
    generation: u64,
    subject: Box<[u8]>,
    route: T,
}

impl<T> Default for RouteCache<T> {
    fn default() -> Self {
        Self::with_entries_max(ROUTE_CACHE_ENTRIES_DEFAULT)
    }
}

impl<T> RouteCache<T> {
    /// A cache with places for at most so many routes, rounded up to a power of two, at least 16.
    pub fn with_entries_max(entries: usize) -> Self {
        let entries_max = entries.max(ENTRIES_FIRST).next_power_of_two();
        Self { slots: Vec::new(), last: 0, victim: 0, entries_max, seed: Seed::random() }
    }

    /// The route kept for these bytes, if it was made in this generation. The bytes may be anything: only valid
    /// subjects are ever kept, so whoever finds a route need not check the subject. Does not allocate; costs one
    /// comparison for the subject of the last call, else a hash and a comparison.
    #[inline]
    pub fn lookup(&mut self, generation: u64, subject: &[u8]) -> Option<&T> {
        let index =
            if self.holds(self.last, generation, subject) { self.last } else { self.find(generation, subject)? };
        self.slots[index].as_ref().map(|slot| &slot.route)
    }

    /// Keeps a route that the router gave in this generation: where others change the router, both are read under one
    /// lock. Copies the subject.
    pub fn insert(&mut self, generation: u64, subject: &Subject, route: T) {
        let subject = subject.as_bytes();
        let hash = self.seed.hash(subject);
        if self.slots.is_empty() {
            self.slots.resize_with(ENTRIES_FIRST, || None);
        }
        let index = loop {
            if let Some(index) = self.free_slot(generation, hash, subject) {
                break index;
            }
            if self.slots.len() >= self.entries_max {
                self.victim = (self.victim + 1) % WAYS;
                break self.first_of_set(hash) + self.victim;
            }
            self.grow();
        };
        self.slots[index] = Some(Slot { hash, generation, subject: subject.into(), route });
        self.last = index;
    }

    /// Lets go of every route of another generation. A stale route keeps what it points to alive: call it now and
    /// then on a connection that publishes nothing any more.
    pub fn drop_stale(&mut self, generation: u64) {
        for slot in &mut self.slots {
            slot.take_if(|slot| slot.generation != generation);
        }
    }

    #[inline]
    fn holds(&self, index: usize, generation: u64, subject: &[u8]) -> bool {
        matches!(self.slots.get(index), Some(Some(slot)) if slot.generation == generation && *slot.subject == *subject)
    }

    fn find(&mut self, generation: u64, subject: &[u8]) -> Option<usize> {
        if self.slots.is_empty() {
            return None;
        }
        let hash = self.seed.hash(subject);
        let first = self.first_of_set(hash);
        let index = (first..first + WAYS).find(|&index| {
            matches!(&self.slots[index], Some(slot) if slot.hash == hash) && self.holds(index, generation, subject)
        })?;
        self.last = index;
        Some(index)
    }

    /// The place in its set that already has this subject, or else is empty or stale.
    fn free_slot(&self, generation: u64, hash: u64, subject: &[u8]) -> Option<usize> {
        let first = self.first_of_set(hash);
        let set = &self.slots[first..first + WAYS];
        let same =
            |slot: &Option<Slot<T>>| matches!(slot, Some(slot) if slot.hash == hash && *slot.subject == *subject);
        let free = |slot: &Option<Slot<T>>| slot.as_ref().is_none_or(|slot| slot.generation != generation);
        set.iter().position(same).or_else(|| set.iter().position(free)).map(|way| first + way)
    }

    fn first_of_set(&self, hash: u64) -> usize {
        // The upper half is the better mixed one; the length is a power of two and a multiple of `WAYS`.
        (hash >> 32) as usize & (self.slots.len() - 1) & !(WAYS - 1)
    }

    /// Doubles the table. What was in one set is spread over two, so everything finds a place.
    fn grow(&mut self) {
        let doubled = self.slots.len() * 2;
        let old = std::mem::take(&mut self.slots);
        self.slots.resize_with(doubled, || None);
        for slot in old.into_iter().flatten() {
            let first = self.first_of_set(slot.hash);
            if let Some(place) = self.slots[first..first + WAYS].iter_mut().find(|place| place.is_none()) {
                *place = Some(slot);
            }
        }
    }
}

/// A seeded hash for short byte strings: 16 bytes at a time, multiplied to 128 bits and folded, as wyhash does it. Not
/// fit for a table that degrades when hashes collide; this one does not.
#[derive(Debug)]
struct Seed {
    state: u64,
    factor: u64,
}

impl Seed {
    fn random() -> Self {
        let random = RandomState::new();
        Self { state: random.hash_one(1_u8), factor: random.hash_one(2_u8) }
    }

    #[inline]
    fn hash(&self, bytes: &[u8]) -> u64 {
        let (blocks, tail) = bytes.as_chunks::<16>();
        let mut state = self.state;
        for block in blocks {
            let word = u128::from_le_bytes(*block);
            state = fold(state ^ word as u64, self.factor ^ (word >> 64) as u64);
        }
        let (low, high) = tail_words(tail);
        // The length comes last: beside the bytes it could make up for a difference in them.
        fold(fold(state ^ low, self.factor ^ high), (self.state ^ (bytes.len() as u64) << 1) | 1)
    }
}

/// Up to 15 bytes as two words, each byte in at least one of them.
#[inline]
fn tail_words(tail: &[u8]) -> (u64, u64) {
    if let (Some(first), Some(last)) = (tail.first_chunk::<8>(), tail.last_chunk::<8>()) {
        (u64::from_le_bytes(*first), u64::from_le_bytes(*last))
    } else if let (Some(first), Some(last)) = (tail.first_chunk::<4>(), tail.last_chunk::<4>()) {
        (u32::from_le_bytes(*first).into(), u32::from_le_bytes(*last).into())
    } else {
        tail.iter().fold((0, 0), |(low, high), &byte| (low << 8 | u64::from(byte), high))
    }
}

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_slot_is_small() {
        assert_eq!(size_of::<Option<Slot<std::sync::Arc<()>>>>(), 40);
    }

    #[test]
    fn every_byte_and_the_length_count_in_the_hash() {
        let seed = Seed { state: 0x1234_5678_9abc_def1, factor: 0xfedc_ba98_7654_3211 };
        let mut seen = HashSet::new();
        for length in 0..80 {
            let mut bytes = vec![b'a'; length];
            assert!(seen.insert(seed.hash(&bytes)), "length {length}");
            for index in 0..length {
                bytes[index] = b'b';
                assert!(seen.insert(seed.hash(&bytes)), "length {length}, byte {index}");
                bytes[index] = b'a';
            }
        }
    }

    #[test]
    fn it_never_grows_beyond_its_limit_and_keeps_most_of_what_fits() {
        let mut cache = RouteCache::with_entries_max(1000);
        let subjects: Vec<_> =
            (0..5000).map(|n| Subject::try_from(format!("sensor.{n}.temperature")).expect("a subject")).collect();
        for subject in &subjects[..512] {
            cache.insert(1, subject, ());
        }
        let kept = subjects[..512].iter().filter(|s| cache.lookup(1, s.as_bytes()).is_some()).count();
        assert!(kept > 400, "only {kept} of 512 were kept in 1,024 places");
        for subject in &subjects {
            cache.insert(1, subject, ());
            assert!(cache.lookup(1, subject.as_bytes()).is_some(), "the newest is always kept");
        }
        assert_eq!(cache.slots.len(), 1024);
        cache.drop_stale(2);
        assert!(cache.slots.iter().all(Option::is_none));
    }
}
