//! A small seeded generator for tests, and where its seed comes from.

use std::time::Duration;

/// splitmix64: the same seed gives the same numbers on every machine.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Starts from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number below `end`, which must not be 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.bits() % end as u64) as usize
    }

    /// A time below so many milliseconds, which must not be 0.
    pub fn millis(&mut self, end: usize) -> Duration {
        Duration::from_millis(self.below(end) as u64)
    }

    /// True once in `count`.
    pub fn once_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    /// So many random bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.bits() as u8).collect()
    }
}

/// The seeds of a simulation: one if `SINEW_SEED` names it, else `count`, or ten times as many with `SINEW_LONG=1`.
pub fn seeds(count: u64) -> Vec<u64> {
    if let Ok(seed) = std::env::var("SINEW_SEED") {
        return vec![seed.parse().expect("SINEW_SEED is a number")];
    }
    let long = std::env::var("SINEW_LONG").is_ok_and(|long| long == "1");
    (0..if long { 10 * count } else { count }).collect()
}

/// Prints the seed when the test fails while this is alive.
#[derive(Debug)]
pub struct Telltale(pub u64);

impl Drop for Telltale {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}: run this test with SINEW_SEED={} to see it again", self.0, self.0);
        }
    }
}
