//! A small seeded generator (splitmix64, Steele, Lea and Flood 2014) for faults and tests: the same seed gives the same
//! numbers on every machine and in every version. Nothing secret may come from it.

use std::ops::Range;
use std::time::Duration;

/// The generator. Its whole state is one number.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// Starts from `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Starts from `seed` and whatever tells this use apart from others of the same seed.
    pub(crate) fn derived(seed: u64, parts: &[u64]) -> Self {
        parts
            .iter()
            .fold(Self::new(seed), |mut random, part| Self(random.next() ^ part.wrapping_mul(0xd134_2543_de82_ef95)))
    }

    /// 64 random bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number below `end`, which must not be 0. The bias of the remainder does not matter here.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// True in `share` of all cases (0.0 never, 1.0 always).
    pub(crate) fn chance(&mut self, share: f64) -> bool {
        share > 0.0 && ((self.next() >> 11) as f64 / (1u64 << 53) as f64) < share
    }

    /// A duration within `range`, or its start if it is empty.
    pub(crate) fn duration(&mut self, range: &Range<Duration>) -> Duration {
        let width = range.end.saturating_sub(range.start).as_nanos() as u64;
        range.start + Duration::from_nanos(if width == 0 { 0 } else { self.next() % width })
    }

    /// A number from 1 to `max`, each order of magnitude as likely as another.
    #[cfg(feature = "conformance")]
    pub(crate) fn magnitude(&mut self, max: usize) -> usize {
        let bits = self.below(max.ilog2() as usize + 1);
        (1 + self.below(1 << bits)).min(max)
    }

    /// Fills `bytes`.
    #[cfg(feature = "conformance")]
    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    /// The first numbers of the published reference implementation for seed 1234567.
    #[test]
    fn it_is_splitmix64() {
        let mut random = Random::new(1_234_567);
        let first: Vec<u64> = (0..3).map(|_| random.next()).collect();
        assert_eq!(first, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }
}
