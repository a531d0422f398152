//! One queue on disk: its rules, its journal, and what waits to be stored.
//!
//! Locks are taken in this order: upkeep, writer, that of the rules. The writer's is held while a round is stored, the last one
//! for what one call changes.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use sinew_hosting::{Bell, Folder, locked};
use sinew_journal::{
    Committer, Durability, Error as JournalError, Journal, JournalOptions, JournalReader, Participant, Wake,
};
use sinew_session::ResourceName;

use super::folder::JOURNAL;
use super::rounds::Pending;
use super::{Host, recovery, storage};
use crate::clock::Clock;
use crate::scheduler::Scheduler;
use crate::shell::{Shell, Storing};
use crate::{Error, Level, Moment, QueueConfig, Result};

/// One queue on disk.
#[derive(Debug)]
pub(super) struct StoredQueue {
    pub(super) name: ResourceName,
    pub(super) folder: Folder,
    pub(super) host: Arc<Host>,
    pub(super) shell: Arc<Shell>,
    pub(super) writer: Mutex<Writer>,
    pub(super) bell: Bell,
    /// One at a time maintains it.
    pub(super) upkeep: Mutex<()>,
    wake: Arc<OnceLock<Wake>>,
}

/// How a queue begins to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// It was just made: nobody is on the way back to it.
    New,
    /// It was there before: workers that it had, and clients that waited, may be on their way back.
    Again,
}

/// What only a round changes.
#[derive(Debug)]
pub(super) struct Writer {
    /// `None` once the queue has ended.
    pub(super) journal: Option<Journal>,
    pub(super) pending: Option<Pending>,
    /// Bytes since a new segment was begun, about.
    pub(super) grown: u64,
}

impl StoredQueue {
    /// Opens a queue that is there. Costs what opening its journal costs, and one read of it. Within a tokio runtime.
    pub(super) fn open(
        host: &Arc<Host>,
        folder: Folder,
        (config, start): (QueueConfig, Start),
        committer: &Committer,
        bell: Bell,
    ) -> Result<Arc<Self>> {
        let (name, level) = (folder.name().clone(), config.level);
        let (files, options) = (host.directory.files().clone(), journal_options(host, level));
        let (journal, recovery) = Journal::open(files, folder.join(JOURNAL), options).map_err(storage(&name))?;
        recovery::report(&name, &recovery);
        journal.attach(committer);
        let mut scheduler = Scheduler::new(name.as_str(), config);
        recovery::replay(&name, &journal.reader(), &mut scheduler)?;
        let clock = Clock::start_at((host.wall)(), Moment(journal.timestamp()));
        if start == Start::Again {
            scheduler.recovered(clock.now());
        }
        let wake = Arc::new(OnceLock::<Wake>::new());
        let rung = wake.clone();
        let ring = Box::new(move || {
            if let Some(wake) = rung.get() {
                wake.wake();
            }
        });
        let storing = Storing { ring, waiting_bytes_max: host.options.waiting_bytes_max, total: host.total.clone() };
        let shell = Shell::start(name.clone(), level, clock, scheduler, Some(storing));
        shell.set_disk_bytes(journal.segments().iter().map(|segment| segment.bytes).sum());
        let queue = Arc::new(Self {
            name,
            folder,
            host: host.clone(),
            shell,
            writer: Mutex::new(Writer { journal: Some(journal), pending: None, grown: 0 }),
            bell,
            upkeep: Mutex::default(),
            wake,
        });
        let participant: Arc<dyn Participant> = queue.clone();
        let wake = committer.register(&participant);
        // What was due when it was opened may have come before.
        wake.wake();
        // Nobody else has it yet.
        let _ = queue.wake.set(wake);
        queue.bell.ring();
        Ok(queue)
    }

    pub(super) fn storage(&self) -> impl Fn(JournalError) -> Error + use<> {
        storage(&self.name)
    }

    pub(super) fn ended(&self) -> Error {
        Error::Ended { queue: self.name.to_string() }
    }

    /// Reads what is stored, while the queue is there.
    pub(super) fn reader(&self) -> Result<JournalReader> {
        locked(&self.writer).journal.as_ref().map(Journal::reader).ok_or_else(|| self.ended())
    }

    /// Has a round run soon.
    pub(super) fn wake(&self) {
        if let Some(wake) = self.wake.get() {
            wake.wake();
        }
    }

    pub(super) fn wake_after(&self, delay: Duration) {
        if let Some(wake) = self.wake.get() {
            wake.wake_after(delay);
        }
    }

    /// Changes the configuration, durably; its level stays.
    pub(super) fn alter(&self, config: &QueueConfig) -> Result<()> {
        let writer = locked(&self.writer);
        if writer.journal.is_none() {
            return Err(self.ended());
        }
        self.folder.write_config(config)?;
        self.shell.alter(config.clone());
        Ok(())
    }

    /// Stores what waits and lets it out, takes nothing more and closes the files, so that the next start is quick.
    pub(super) fn close(&self) -> Result<()> {
        let ended = self.ended();
        let is_first = self.shell.stop(&ended);
        let mut stored = Ok(());
        while stored.is_ok() && (self.shell.has_unstored() || self.is_stuck()) && self.is_open() {
            stored = self.round_now().map_err(self.storage());
            if self.is_stuck() {
                stored = Err(Error::NoSpace { queue: self.name.to_string() });
            }
        }
        // Whoever maintains it stops at the next look.
        let _one = locked(&self.upkeep);
        let journal = locked(&self.writer).journal.take();
        let closed = journal.map_or(Ok(()), Journal::close).map_err(self.storage());
        if is_first {
            self.shell.tell_ended(&ended);
        }
        stored.and(closed)
    }

    fn is_open(&self) -> bool {
        locked(&self.writer).journal.is_some()
    }

    /// The queue is gone: stores nothing more, and leaves the files to whoever removes them.
    pub(super) fn abandon(&self) {
        let ended = self.ended();
        let is_first = self.shell.stop(&ended);
        let mut writer = locked(&self.writer);
        (writer.journal, writer.pending) = (None, None);
        self.shell.forget_unstored();
        drop(writer);
        if is_first {
            self.shell.tell_ended(&ended);
        }
    }

    /// As if the process was killed: what waits is not stored.
    #[cfg(test)]
    pub(super) fn kill(&self) {
        let mut writer = locked(&self.writer);
        (writer.journal, writer.pending) = (None, None);
    }

    /// Nothing can be stored any more, so nothing more is let out, and the process is to end.
    pub(super) fn give_up(&self, error: &Error) {
        self.shell.end(error);
        self.host.failure.tell(error);
    }
}

fn journal_options(host: &Host, level: Level) -> JournalOptions {
    let durability = if level == Level::Written { Durability::Written } else { Durability::Fsynced };
    JournalOptions { segment_bytes: host.options.segment_bytes_max, durability, ..JournalOptions::default() }
}
