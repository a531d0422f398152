//! One bucket on disk: its journal, its rules, what waits, and what readers see. Synchronous; `journal_bucket.rs` is its
//! async face.
//!
//! Locks are taken in this order: upkeep, writer, applied, still, shown. The writer's is held while a round is stored, the
//! last one for a few instructions.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use sinew_hosting::{Folder, Inbox, Refused, locked};
use sinew_journal::{
    Committer, Error as JournalError, Journal, JournalOptions, JournalReader, Participant, Recovery, Wake,
};
use sinew_session::ResourceName;
use tokio::sync::watch;

use super::folder::{FIRST, Identity, JOURNAL};
use super::row::Meta;
use super::shown::Shown;
use super::store::{Store, StoreError, Stores};
use super::workers::Bell;
use super::{Host, storage, storage_of};
use crate::table::{Operations, Position, Table, check_write};
use crate::{BucketConfig, BucketInfo, BucketRange, Durability, Error, Level, Operation, Result, Write, WriteDone};

/// Bytes for one entry of the journal's index: what is read to find a value is little more.
const INDEX_INTERVAL_BYTES: u32 = 4 << 10;
/// What a part of a write takes beside its key and value.
const PART_BYTES: usize = 64;

/// A write that waits for its round.
pub(super) struct Request {
    pub(super) write: Write,
    pub(super) done: WriteDone,
}

/// One bucket on disk.
#[derive(Debug)]
pub(super) struct StoredBucket {
    pub(super) name: ResourceName,
    pub(super) folder: Folder,
    pub(super) host: Arc<Host>,
    pub(super) identity: RwLock<Arc<Identity>>,
    pub(super) inbox: Inbox<Request, Error>,
    pub(super) writer: Mutex<Writer>,
    pub(super) reader: RwLock<JournalReader>,
    pub(super) range: watch::Sender<BucketRange>,
    pub(super) shown: Mutex<Shown>,
    /// `None` once the bucket has ended.
    pub(super) store: RwLock<Option<Arc<dyn Store>>>,
    /// What the table says of itself; who has it may change the table.
    pub(super) applied: Mutex<Meta>,
    /// Whoever reads the table and what waits for it as one holds it for reading, whoever changes it for writing.
    pub(super) still: RwLock<()>,
    pub(super) stores: Arc<dyn Stores>,
    pub(super) bell: Bell,
    /// One at a time maintains it; up to which offset the last one looked.
    pub(super) upkeep: Mutex<u64>,
    wake: OnceLock<Wake>,
}

/// What only a round changes.
#[derive(Debug)]
pub(super) struct Writer {
    /// `None` once the bucket has ended.
    pub(super) journal: Option<Journal>,
    pub(super) rules: Table,
    /// Revision of the newest snapshot of operations.
    pub(super) snapshot_at: u64,
    /// Bytes since a new segment was begun, about.
    pub(super) grown: u64,
}

impl StoredBucket {
    /// Opens a bucket that is there. Costs what opening its journal costs, and what the table lacks of it.
    pub(super) fn open(
        host: &Arc<Host>,
        folder: Folder,
        identity: Identity,
        committer: &Committer,
        stores: Arc<dyn Stores>,
        bell: Bell,
    ) -> Result<Arc<Self>> {
        let name = folder.name().clone();
        let (files, options) = (host.directory.files().clone(), journal_options(host, &identity.config));
        let (journal, recovery) = Journal::open(files, folder.join(JOURNAL), options).map_err(storage(&name))?;
        report(&name, &recovery);
        journal.attach(committer);
        let store = stores.table(&name.folder_name()).map_err(|error| broken(&name, &error))?;
        let rules = Table::new(name.to_string(), identity.config.clone(), Position::default(), Operations::default());
        let first = folder.number(FIRST)?.unwrap_or(1);
        let shown = Shown::new(host.options.cache_bytes_max, host.options.tail_bytes_max);
        let bucket = Arc::new(Self {
            name,
            folder,
            inbox: host.inbox(),
            reader: RwLock::new(journal.reader()),
            writer: Mutex::new(Writer { journal: Some(journal), rules, snapshot_at: 0, grown: 0 }),
            range: watch::channel(BucketRange { first, ..BucketRange::default() }).0,
            shown: Mutex::new(shown),
            store: RwLock::new(Some(store)),
            applied: Mutex::new(Meta { incarnation: identity.incarnation, ..Meta::default() }),
            identity: RwLock::new(Arc::new(identity)),
            still: RwLock::default(),
            stores,
            bell,
            upkeep: Mutex::default(),
            wake: OnceLock::new(),
            host: host.clone(),
        });
        bucket.recover(first)?;
        let participant: Arc<dyn Participant> = bucket.clone();
        // Nobody else has it yet.
        let _ = bucket.wake.set(committer.register(&participant));
        bucket.bell.apply();
        bucket.announce();
        Ok(bucket)
    }

    pub(super) fn config(&self) -> BucketConfig {
        self.identity.read().unwrap_or_else(PoisonError::into_inner).config.clone()
    }

    pub(super) fn reader(&self) -> JournalReader {
        self.reader.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The table; none once the bucket has ended.
    pub(super) fn table(&self) -> Result<Arc<dyn Store>> {
        self.store.read().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(|| self.ended())
    }

    pub(super) fn level(&self) -> Level {
        self.identity.read().unwrap_or_else(PoisonError::into_inner).config.durability.into()
    }

    pub(super) fn storage(&self) -> impl Fn(JournalError) -> Error + use<> {
        storage(&self.name)
    }

    pub(super) fn ended(&self) -> Error {
        Error::Ended { bucket: self.name.to_string() }
    }

    /// The table has failed. It is made again at the next start.
    pub(super) fn table_failed(&self, error: &StoreError) -> Error {
        let error = broken(&self.name, error);
        super::tables::distrust(&self.host);
        self.give_up(&error);
        error
    }

    /// Puts a write into the queue, and has a round run soon, which stores it. Fails at once for what cannot be.
    pub(super) fn write(&self, write: Write, done: WriteDone) {
        let checked = {
            let identity = self.identity.read().unwrap_or_else(PoisonError::into_inner);
            check_write(self.name.as_str(), &identity.config, &write)
        };
        if let Err(error) = checked {
            return done(Err(error));
        }
        let bytes = bytes_of(&write);
        match self.inbox.push(Request { write, done }, bytes) {
            Ok(()) => self.wake(),
            Err((request, Refused::Closed(error))) => (request.done)(Err(error)),
            Err((request, Refused::Full(bytes))) => {
                (request.done)(Err(Error::Busy { bucket: self.name.to_string(), bytes }));
            }
        }
    }

    /// Has a round run soon.
    pub(super) fn wake(&self) {
        if let Some(wake) = self.wake.get() {
            wake.wake();
        }
    }

    /// Says when the next key is gone.
    pub(super) fn announce(&self) {
        if let Some(next) = locked(&self.shown).expiry.next() {
            self.bell.at(next);
        }
    }

    /// What it has and how it is configured.
    pub(super) fn info(&self) -> Result<BucketInfo> {
        let (config, level) = (self.config(), self.level());
        let disk_bytes = self.reader().segments().iter().map(|segment| segment.bytes).sum();
        let shown = locked(&self.shown);
        if shown.ended {
            return Err(self.ended());
        }
        Ok(BucketInfo {
            name: self.name.to_string(),
            config,
            revision: shown.revision,
            first: shown.first,
            keys: shown.counts.keys,
            bytes: shown.counts.bytes,
            disk_bytes,
            level,
        })
    }

    /// Changes the configuration, durably. What the journal is opened with takes a moment, in which writes wait.
    pub(super) fn alter(&self, config: &BucketConfig, committer: &Committer) -> Result<()> {
        let mut writer = locked(&self.writer);
        if writer.journal.is_none() {
            return Err(self.ended());
        }
        let before = self.config();
        let incarnation = self.identity.read().unwrap_or_else(PoisonError::into_inner).incarnation;
        let identity = Identity { incarnation, config: config.clone() };
        self.folder.write_config(&identity)?;
        writer.rules.configure(config.clone());
        *self.identity.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(identity);
        if before.durability != config.durability
            && let Err(error) = self.reopen(&mut writer, config, committer)
        {
            let error = self.storage()(error);
            self.give_up(&error);
            return Err(error);
        }
        drop(writer);
        self.bell.maintain();
        Ok(())
    }

    fn reopen(&self, writer: &mut Writer, config: &BucketConfig, committer: &Committer) -> Result<(), JournalError> {
        writer.journal.take().map_or(Ok(()), Journal::close)?;
        let files = self.host.directory.files().clone();
        let (journal, _) = Journal::open(files, self.folder.join(JOURNAL), journal_options(&self.host, config))?;
        journal.attach(committer);
        *self.reader.write().unwrap_or_else(PoisonError::into_inner) = journal.reader();
        writer.journal = Some(journal);
        Ok(())
    }

    /// Stores what waits, takes nothing more, brings the table up to it and closes the files, so that the next start is
    /// quick.
    pub(super) fn close(&self) -> Result<()> {
        self.inbox.close(self.ended());
        let mut stored = Ok(());
        while stored.is_ok() && !self.inbox.is_empty() {
            stored = self.apply_now().and_then(|()| self.round_now().map_err(self.storage()));
        }
        let stored = stored.and_then(|()| self.apply_now());
        self.end();
        let mut writer = locked(&self.writer);
        let Some(mut journal) = writer.journal.take() else { return stored };
        let saved = self.save_snapshot(&mut journal, &mut writer);
        let closed = journal.close().map_err(self.storage());
        self.drop_table();
        stored.and(saved).and(closed)
    }

    /// The bucket is gone: stores nothing more, and leaves the files to whoever removes them.
    pub(super) fn abandon(&self) {
        self.inbox.close(self.ended());
        self.end();
        let mut writer = locked(&self.writer);
        self.inbox.take(usize::MAX).into_iter().for_each(|request| (request.done)(Err(self.ended())));
        writer.journal = None;
        drop(writer);
        // Whoever applies is done once this is had.
        drop(locked(&self.applied));
        self.drop_table();
    }

    fn end(&self) {
        locked(&self.shown).end();
        self.range.send_modify(|range| range.ended = true);
    }

    fn drop_table(&self) {
        *self.store.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Nothing can be acknowledged any more: everything is answered with this error, and the process is to end.
    pub(super) fn give_up(&self, error: &Error) {
        self.inbox.close(error.clone());
        self.inbox.take(usize::MAX).into_iter().for_each(|request| (request.done)(Err(error.clone())));
        self.host.failure.tell(error);
    }

    /// Saves which writes are remembered, with everything that is stored in it.
    pub(super) fn save_snapshot(&self, journal: &mut Journal, writer: &mut Writer) -> Result<()> {
        let revision = writer.rules.position().revision;
        journal.save_snapshot(revision, &writer.rules.operations().snapshot()).map_err(self.storage())?;
        writer.snapshot_at = revision;
        Ok(())
    }
}

fn bytes_of(write: &Write) -> usize {
    let values: usize = write
        .actions
        .iter()
        .map(|action| {
            let value = match &action.operation {
                Operation::Put { value, .. } => value.len(),
                _ => 0,
            };
            PART_BYTES + action.key.as_bytes().len() + value
        })
        .sum();
    values + write.conditions.len() * PART_BYTES
}

pub(super) fn broken(name: &ResourceName, error: &StoreError) -> Error {
    let why = format!("its table failed ({}); restart the server: it is made again from the journal", error.0);
    storage_of(name.as_str(), why)
}

fn journal_options(host: &Host, config: &BucketConfig) -> JournalOptions {
    JournalOptions {
        segment_bytes: host.options.segment_bytes_max,
        index_interval_bytes: INDEX_INTERVAL_BYTES,
        durability: match config.durability {
            Durability::Fsynced => sinew_journal::Durability::Fsynced,
            Durability::Written => sinew_journal::Durability::Written,
        },
        ..JournalOptions::default()
    }
}

/// What a start has to say.
fn report(name: &ResourceName, recovery: &Recovery) {
    if let Some(cut) = &recovery.cut {
        let (bytes, saved) = (cut.bytes, cut.saved.as_ref().map(|path| path.display().to_string()));
        tracing::warn!(bucket = %name, bytes, saved, "what was never acknowledged was cut off the end");
    }
    for damage in &recovery.damaged {
        let (from, to) = (damage.from + 1, damage.to);
        tracing::error!(bucket = %name, from, to, "changes are damaged: keys may have older values than they should");
    }
    for (path, why) in &recovery.suspect {
        tracing::warn!(bucket = %name, path = %path.display(), "{why}");
    }
}
