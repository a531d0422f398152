//! A data directory that is simulated, for the tests of those that stand on the engine: writes gather until they are told
//! to be stored, the disk fails on demand, and the power goes at any moment.

use std::path::Path;
use std::sync::Arc;

use sinew_journal::{Crash, SimulatedDisk};

use super::clock::SystemClock;
use super::simulated_store::SimulatedStores;
use super::{JournalEngine, KvEngineOptions};
use crate::Result;

/// A data directory in memory, with its table.
#[derive(Clone, Debug)]
pub struct SimulatedData {
    disk: SimulatedDisk,
    stores: SimulatedStores,
}

impl SimulatedData {
    /// An empty one; what is random about it follows from the seed.
    pub fn new(seed: u64) -> Self {
        Self::on(SimulatedDisk::new(seed))
    }

    fn on(disk: SimulatedDisk) -> Self {
        Self { stores: SimulatedStores::new(&disk), disk }
    }

    /// Its disk, to let calls fail.
    pub fn disk(&self) -> &SimulatedDisk {
        &self.disk
    }

    /// The engine on it, without threads: nothing is stored, taken into the table or expired but by
    /// [`JournalEngine::step`]. Time is tokio's: it stands still where that one's does.
    ///
    /// # Errors
    /// `Storage` while another one has it; what the disk is told to fail with.
    pub fn open(&self, options: KvEngineOptions) -> Result<JournalEngine> {
        let options = KvEngineOptions { committer_threads: 0, ..options };
        let clock = Box::<SystemClock>::default();
        JournalEngine::given(
            Arc::new(self.disk.clone()),
            Path::new("/data"),
            options,
            clock,
            Arc::new(self.stores.clone()),
        )
    }

    /// What is found when the power goes now: the disk as the crash leaves it, and no table.
    #[must_use]
    pub fn crashed(&self, crash: Crash) -> Self {
        let history = self.disk.history();
        let mut replay = history.replay();
        replay.go_to(history.moments() - 1);
        Self::on(replay.crash(crash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Action, BucketConfig, Engine, Error, Expected, Key, Operation, Write};

    fn write(value: &str, expected: Option<Expected>) -> Write {
        let key = Key::try_from("a").expect("a key");
        let conditions = expected.map(|expected| crate::Condition { key: key.clone(), expected });
        let operation = Operation::Put { value: value.to_owned().into(), time_to_live: None };
        let actions = vec![Action { key, operation }];
        Write { id: None, conditions: conditions.into_iter().collect(), actions }
    }

    #[tokio::test]
    async fn what_gathers_is_stored_as_one_and_a_crash_before_keeps_nothing() {
        let data = SimulatedData::new(1);
        let engine = data.open(KvEngineOptions::default()).expect("opened");
        let name = sinew_session::ResourceName::try_from("b").expect("a name");
        engine.create(&name, &BucketConfig::default()).await.expect("created");
        let bucket = engine.bucket(&name).await.expect("opened");
        let ask = |of: Write| {
            let (done, answer) = tokio::sync::oneshot::channel();
            bucket.write(of, Box::new(move |result| drop(done.send(result))));
            answer
        };
        let first = ask(write("1", None));
        assert!(engine.step() > 0);
        first.await.expect("answered").expect("put");
        let mut swaps = ["2", "3"].map(|value| ask(write(value, Some(Expected::Revision(1)))));
        assert!(swaps.iter_mut().all(|swap| swap.try_recv().is_err()));
        let before = data.crashed(Crash::Drop);
        engine.step();
        let [one, other] = swaps;
        assert_eq!(one.await.expect("answered").expect("it was first").revisions, [2]);
        assert!(matches!(other.await.expect("answered"), Err(Error::Conflict { revision: 2, .. })));
        for (data, value) in [(before, "1"), (data.crashed(Crash::Drop), "2")] {
            let engine = data.open(KvEngineOptions::default()).expect("opened");
            let bucket = engine.bucket(&name).await.expect("opened");
            let entry = bucket.load(&[Key::try_from("a").expect("a key")]).await.expect("read").pop().flatten();
            assert_eq!(entry.expect("there").value, value);
        }
    }
}
