//! The engine on disk in virtual time: on a simulated disk, and without threads, so that everything follows from the seed.

use sinew_journal::Crash;
use sinew_kvstore::{JournalEngine, KvEngineOptions, SimulatedData};
use sinew_testkit::random::Random;

/// A disk, and whoever has opened it last.
#[derive(Debug)]
pub(crate) struct Disk {
    data: SimulatedData,
    random: Random,
}

impl Disk {
    /// An empty one.
    pub(crate) fn new(mut random: Random) -> Self {
        Self { data: SimulatedData::new(random.bits()), random }
    }

    /// The engine on it. It stores what waits when its `step` is called.
    pub(crate) fn open(&self) -> JournalEngine {
        self.data.open(KvEngineOptions::default()).expect("nobody else has it")
    }

    /// The power goes: what is not stored is there, or not, or in part. Whoever had it open has a disk that nobody sees any
    /// more.
    pub(crate) fn crash(&mut self) {
        let crash = match self.random.below(4) {
            0 => Crash::Keep,
            1 => Crash::Drop,
            2 => Crash::Some(self.random.bits()),
            _ => Crash::Torn(self.random.bits()),
        };
        self.data = self.data.crashed(crash);
    }
}
