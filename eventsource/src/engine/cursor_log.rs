//! The cursors of one stream on disk: a journal of updates, one batch a round with an offset of its own, and a snapshot
//! of the whole table now and then. The journal is made with the first cursor.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard};

use sinew_hosting::{Folder, Inbox, Refused, locked};
use sinew_journal::{
    Committer, Error as JournalError, Journal, JournalOptions, JournalReader, Participant, PreparedBatch, Wake,
};
use sinew_session::ResourceName;

use super::folder::CURSORS;
use super::{Host, storage};
use crate::cursors::{Cursors, PendingCursors, decode_updates, encode_updates};
use crate::{CommitDone, Cursor, CursorUpdate, Error, Result};

/// Bytes of updates that one round stores.
const ROUND_BYTES_MAX: usize = 8 << 20;
const READ_BYTES: usize = 1 << 20;

/// A commit that waits.
struct Commit {
    updates: Vec<CursorUpdate>,
    done: CommitDone,
}

/// The cursors of one stream.
#[derive(Debug)]
pub(crate) struct CursorLog {
    stream: ResourceName,
    path: PathBuf,
    host: Arc<Host>,
    inbox: Inbox<Commit, Error>,
    writer: Mutex<Writer>,
    /// As stored.
    table: RwLock<Cursors>,
    wake: OnceLock<Wake>,
}

#[derive(Debug)]
struct Writer {
    journal: Option<Journal>,
    has_ended: bool,
    /// Of the newest snapshot.
    snapshot_at: u64,
    bytes_since: u64,
    /// How many read it as it is: no snapshot takes the place of its log meanwhile.
    kept_for: usize,
}

/// While it is there, the log of cursors stays as it is but for what is added.
#[derive(Debug)]
pub(crate) struct Kept<'a>(&'a CursorLog);

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        locked(&self.0.writer).kept_for -= 1;
    }
}

impl CursorLog {
    pub(crate) fn open(host: &Arc<Host>, folder: &Folder, committer: &Committer) -> Result<Arc<Self>> {
        let path = folder.join(CURSORS);
        let is_there = match host.files().list(&path) {
            Ok(names) => !names.is_empty(),
            Err(cause) if cause.kind() == ErrorKind::NotFound => false,
            Err(cause) => {
                let (what, path, cause) = ("list", path.clone(), Arc::new(cause));
                return Err(storage(folder.name())(JournalError::Io { what, path, cause }));
            }
        };
        let mut writer = Writer { journal: None, has_ended: false, snapshot_at: 0, bytes_since: 0, kept_for: 0 };
        let mut table = Cursors::default();
        if is_there {
            let journal = open_journal(host, &path).map_err(storage(folder.name()))?;
            (table, writer.snapshot_at) = restore(folder.name(), &journal.reader())?;
            writer.bytes_since = journal.segments().iter().map(|segment| segment.bytes).sum();
            writer.journal = Some(journal);
        }
        let log = Arc::new(Self {
            stream: folder.name().clone(),
            path,
            inbox: host.inbox(),
            host: host.clone(),
            writer: Mutex::new(writer),
            table: RwLock::new(table),
            wake: OnceLock::new(),
        });
        let participant: Arc<dyn Participant> = log.clone();
        // Nobody else has it yet.
        let _ = log.wake.set(committer.register(&participant));
        Ok(log)
    }

    fn table(&self) -> RwLockReadGuard<'_, Cursors> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn cursor(&self, name: &str) -> Option<Cursor> {
        self.table().cursor(name)
    }

    pub(crate) fn page(&self, after: Option<&str>, max: usize) -> Vec<(String, Cursor)> {
        self.table().page(after, max)
    }

    pub(crate) fn len(&self) -> usize {
        self.table().len()
    }

    /// Puts a commit into the queue; the next round stores it.
    pub(crate) fn commit(&self, updates: Vec<CursorUpdate>, done: CommitDone) {
        let size = |update: &CursorUpdate| {
            let of = |cursor: &Cursor| cursor.state.len() + cursor.above.len() * 20;
            update.name.len() + 64 + update.cursor.as_ref().map_or(0, of)
        };
        let bytes = updates.iter().map(size).sum();
        match self.inbox.push(Commit { updates, done }, bytes) {
            Ok(()) => {
                if let Some(wake) = self.wake.get() {
                    wake.wake();
                }
            }
            Err((commit, Refused::Closed(error))) => (commit.done)(Err(error)),
            Err((commit, Refused::Full(bytes))) => {
                (commit.done)(Err(Error::Busy { stream: self.stream.to_string(), bytes }));
            }
        }
    }

    fn ended(&self) -> Error {
        Error::Ended { stream: self.stream.to_string() }
    }

    /// Stores what waits, on this thread. `Err` is what the process must end for; everybody has been told.
    pub(crate) fn round_now(&self) -> Result<(), JournalError> {
        let mut writer = locked(&self.writer);
        let commits = self.inbox.take(ROUND_BYTES_MAX);
        if commits.is_empty() {
            return Ok(());
        }
        if writer.has_ended {
            commits.into_iter().for_each(|commit| (commit.done)(Err(self.ended())));
            return Ok(());
        }
        let (mut pending, mut answers) = (PendingCursors::default(), Vec::new());
        for Commit { updates, done } in commits {
            let judged = self.table().judge(self.stream.as_str(), &mut pending, updates);
            answers.push((done, judged));
        }
        let stored = if pending.is_empty() { Ok(()) } else { self.store(&mut writer, &pending) };
        match stored {
            Ok(()) => {
                self.table.write().unwrap_or_else(PoisonError::into_inner).apply(pending.into_updates());
                answers.into_iter().for_each(|(done, answer)| done(answer));
                self.snapshot_if_due(&mut writer)?;
            }
            Err(error) => {
                let told = storage(&self.stream)(error.clone());
                answers.into_iter().for_each(|(done, _)| done(Err(told.clone())));
                if error.is_fatal() {
                    self.give_up(&told);
                    return Err(error);
                }
            }
        }
        drop(writer);
        if let Some(wake) = self.wake.get().filter(|_| !self.inbox.is_empty()) {
            wake.wake();
        }
        Ok(())
    }

    fn store(&self, writer: &mut Writer, pending: &PendingCursors) -> Result<(), JournalError> {
        let updates = pending.updates();
        let batch = PreparedBatch::new(encode_updates(updates), updates.len() as u32, 1)?;
        if writer.journal.is_none() {
            writer.journal = Some(open_journal(&self.host, &self.path)?);
        }
        let journal = writer.journal.as_mut().expect("just opened");
        writer.bytes_since += batch.bytes();
        journal.commit(&mut [batch], self.host.clock.wall()).map(drop)
    }

    /// The snapshot comes late rather than never: where there is no room for it, the next round tries again.
    fn snapshot_if_due(&self, writer: &mut Writer) -> Result<(), JournalError> {
        if writer.bytes_since < self.host.options.cursor_log_bytes_max || writer.kept_for > 0 {
            return Ok(());
        }
        match self.snapshot(writer) {
            Err(error) if error.is_fatal() => {
                self.give_up(&storage(&self.stream)(error.clone()));
                Err(error)
            }
            Err(error) => {
                tracing::warn!(stream = %self.stream, %error, "cursors could not be written as a whole; later");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    fn snapshot(&self, writer: &mut Writer) -> Result<(), JournalError> {
        let Some(journal) = writer.journal.as_mut() else { return Ok(()) };
        let offset = journal.next_offset();
        journal.save_snapshot(offset, &self.table().snapshot())?;
        // Where the new one is damaged one day, the one before stands, and needs what came after it.
        let before = std::mem::replace(&mut writer.snapshot_at, offset);
        writer.bytes_since = 0;
        journal.roll()?;
        journal.remove_before(before).map(drop)
    }

    fn give_up(&self, error: &Error) {
        self.inbox.close(error.clone());
        self.inbox.take(usize::MAX).into_iter().for_each(|commit| (commit.done)(Err(error.clone())));
        self.host.failure.tell(error);
    }

    /// Stores what waits, takes nothing more, and closes the files.
    pub(crate) fn close(&self) -> Result<()> {
        self.inbox.close(self.ended());
        while !self.inbox.is_empty() {
            self.round_now().map_err(storage(&self.stream))?;
        }
        let mut writer = locked(&self.writer);
        writer.has_ended = true;
        writer.journal.take().map_or(Ok(()), Journal::close).map_err(storage(&self.stream))
    }

    /// Stores nothing more, and leaves the files to whoever removes them.
    pub(crate) fn abandon(&self) {
        self.inbox.close(self.ended());
        let mut writer = locked(&self.writer);
        (writer.has_ended, writer.journal) = (true, None);
        self.inbox.take(usize::MAX).into_iter().for_each(|commit| (commit.done)(Err(self.ended())));
    }

    /// For a backup and for verifying, for which it stays as it is: together with its snapshots it must make sense. `None`
    /// while there never was a cursor.
    pub(crate) fn reader(&self) -> Option<(JournalReader, Kept<'_>)> {
        let mut writer = locked(&self.writer);
        let reader = writer.journal.as_ref()?.reader();
        writer.kept_for += 1;
        Some((reader, Kept(self)))
    }
}

impl Participant for CursorLog {
    fn round(&self) -> Result<(), JournalError> {
        self.round_now()
    }
}

fn open_journal(host: &Host, path: &std::path::Path) -> Result<Journal, JournalError> {
    let options = JournalOptions { segment_bytes: host.options.cursor_log_bytes_max, ..JournalOptions::default() };
    Journal::open(host.directory.files().clone(), path, options).map(|(journal, _)| journal)
}

/// The table, and the offset of the snapshot that it was made from.
fn restore(stream: &ResourceName, reader: &JournalReader) -> Result<(Cursors, u64)> {
    let failed = storage(stream);
    let (first, _) = reader.range();
    let (mut table, from) = match reader.latest_snapshot().map_err(&failed)? {
        Some((offset, bytes)) => (Cursors::restore(&bytes).map_err(|why| unreadable(stream, &why))?, offset),
        None => (Cursors::default(), 0),
    };
    if from < first {
        // Not even where there is no snapshot: the log begins with the first cursor, or behind one.
        return Err(unreadable(
            stream,
            "what was committed between the newest snapshot that is whole and the log is missing",
        ));
    }
    let mut cursor = reader.cursor(from);
    loop {
        match reader.read_on(&mut cursor, READ_BYTES) {
            Ok(batches) if batches.is_empty() => return Ok((table, from)),
            Ok(batches) => {
                for batch in &batches {
                    table.apply(decode_updates(&batch.body).map_err(|why| unreadable(stream, &why))?);
                }
            }
            Err(JournalError::Damaged(damage)) => {
                tracing::error!(%stream, from = damage.from, to = damage.to, "updates of cursors are damaged");
                cursor = reader.cursor(damage.to);
            }
            Err(error) => return Err(failed(error)),
        }
    }
}

fn unreadable(stream: &ResourceName, why: &str) -> Error {
    Error::Storage {
        stream: stream.to_string(),
        why: format!("its cursors cannot be read: {why}; restore a backup, or move its `cursors` folder away"),
    }
}
