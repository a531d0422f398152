//! A store that loses at a crash what it was not done with, or some of it.

use sinew_testkit::random::Random;

use crate::scheduler::Record;
use crate::shell::Unstored;

#[derive(Debug, Default)]
pub(super) struct Store {
    /// What is there after a crash.
    pub(super) journal: Vec<Record>,
    /// What is being stored.
    pub(super) writing: Option<Unstored>,
    /// Records at its end that stand for all that is before them.
    pub(super) carried: usize,
    /// It is storing, or about to.
    pub(super) is_busy: bool,
    /// Something waits.
    pub(super) awaits: bool,
}

impl Store {
    /// It is done with what it was storing: tells what may be let out, and how many records are new.
    pub(super) fn done(&mut self, random: &mut Random) -> Option<(Unstored, Vec<Record>)> {
        self.is_busy = false;
        let written = self.writing.take()?;
        let records = written.records.clone();
        let before = self.journal.len();
        self.journal.extend(records.iter().cloned());
        if std::mem::take(&mut self.carried) > 0 {
            // Whatever is before those can go, and it goes from the front.
            self.journal.drain(..random.below(before + 1));
        }
        Some((written, records))
    }

    /// The power is gone: of what was being stored a beginning is there. Tells what that is.
    pub(super) fn crash(&mut self, random: &mut Random) -> Vec<Record> {
        let mut torn = self.writing.take().map(|writing| writing.records).unwrap_or_default();
        torn.truncate(random.below(torn.len() + 1));
        self.journal.extend(torn.iter().cloned());
        (self.awaits, self.carried, self.is_busy) = (false, 0, false);
        torn
    }
}
