//! Where a bucket stands on disk, and when it is there.
//!
//! ```text
//! kv/<name>/bucket        its configuration: the bucket is there when this is
//! kv/<name>/unfinished    it is being made or removed: what is beside it goes at the next start
//! kv/<name>/first         from which revision on all changes are kept, once some were removed
//! kv/<name>/journal/      the journal of its changes
//! ```
//!
//! 1. A bucket appears with the rename that puts `bucket` into its place, and is gone with the one that makes it
//!    `unfinished`.
//! 2. A folder that has neither is left alone: nothing is deleted that was not to be.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sinew_journal::{Error as JournalError, Files};
use sinew_session::{ResourceName, from_value, to_value};

use super::{Host, storage};
use crate::{BucketConfig, Error, Result};

/// The journal of changes.
pub(super) const JOURNAL: &str = "journal";
/// The configuration.
pub(super) const CONFIG: &str = "bucket";
const UNFINISHED: &str = "unfinished";
/// From which revision on all changes are kept.
pub(super) const FIRST: &str = "first";

/// What stands in `bucket`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    /// Which life of the name it is, random: what a table of another one has is not this one's.
    pub(super) incarnation: u64,
    pub(super) config: BucketConfig,
}

/// What a folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Bucket,
    Unfinished,
    Nothing,
}

/// The folder of one bucket.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    pub(super) name: ResourceName,
    pub(super) path: PathBuf,
}

impl Folder {
    pub(super) fn new(host: &Host, name: &ResourceName) -> Self {
        Self { name: name.clone(), path: host.buckets().join(name.folder_name()) }
    }

    pub(super) fn journal(&self) -> PathBuf {
        self.path.join(JOURNAL)
    }

    fn storage(&self) -> impl Fn(JournalError) -> Error {
        storage(&self.name)
    }

    fn failed(&self, what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        let (storage, path) = (self.storage(), path.to_owned());
        move |cause| storage(JournalError::Io { what, path, cause: cause.into() })
    }

    /// What is there; the names in it are empty where there is no folder.
    pub(super) fn look(&self, host: &Host) -> Result<(Found, Vec<String>)> {
        let names = match host.files().list(&self.path) {
            Err(cause) if matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Vec::new(),
            listed => listed.map_err(self.failed("list", &self.path))?,
        };
        let has = |name: &str| names.iter().any(|found| found == name);
        let found = match (has(CONFIG), has(UNFINISHED)) {
            (true, _) => Found::Bucket,
            (false, true) => Found::Unfinished,
            (false, false) => Found::Nothing,
        };
        Ok((found, names))
    }

    /// The configuration of a bucket that is there.
    pub(super) fn identity(&self, host: &Host) -> Result<Option<Identity>> {
        let path = self.path.join(CONFIG);
        let Some(bytes) = host.directory.read_whole(&path).map_err(self.storage())? else { return Ok(None) };
        let damaged = |error: sinew_session::CborError| Error::Storage {
            bucket: self.name.to_string(),
            why: format!("{} is no configuration: {}", path.display(), error.why),
        };
        from_value(&bytes).map(Some).map_err(damaged)
    }

    /// Writes the configuration: from then on the bucket is there, and is so.
    pub(super) fn write_identity(&self, host: &Host, identity: &Identity) -> Result<()> {
        let bytes = to_value(identity).expect("numbers and names can be written");
        host.directory.write_whole(self.path.join(CONFIG), &bytes).map_err(self.storage())?;
        self.remove_file(host.files(), &self.path.join(UNFINISHED))
    }

    /// Makes the folder, empty and marked, so that whatever a crash leaves of it goes.
    pub(super) fn begin(&self, host: &Host) -> Result<()> {
        let (found, names) = self.look(host)?;
        match found {
            Found::Bucket => return Err(Error::BucketExists { bucket: self.name.to_string() }),
            Found::Unfinished => self.finish_removal(host)?,
            Found::Nothing if self.is_bare(host.files(), &names)? => {}
            Found::Nothing => {
                return Err(Error::Storage {
                    bucket: self.name.to_string(),
                    why: format!("{} has files in it but no `{CONFIG}`; move it away", self.path.display()),
                });
            }
        }
        host.files().create_dir_all(&self.path).map_err(self.failed("create", &self.path))?;
        host.directory.write_whole(self.path.join(UNFINISHED), b"").map_err(self.storage())
    }

    /// Whether a folder without a mark holds nothing but empty folders, and files that were being written when their
    /// writer ended.
    fn is_bare(&self, files: &dyn Files, names: &[String]) -> Result<bool> {
        for name in names.iter().filter(|name| !name.starts_with('.')) {
            if name != JOURNAL {
                return Ok(false);
            }
            let folder = self.path.join(name);
            let inside = files.list(&folder).map_err(self.failed("list", &folder))?;
            if inside.iter().any(|name| !name.starts_with('.')) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Removes the bucket: it is gone when this returns, and its files with it.
    pub(super) fn remove(&self, host: &Host) -> Result<()> {
        let (from, to) = (self.path.join(CONFIG), self.path.join(UNFINISHED));
        host.files().rename(&from, &to).map_err(self.failed("rename", &from))?;
        host.files().sync_dir(&self.path).map_err(self.failed("sync", &self.path))?;
        self.finish_removal(host)
    }

    /// Removes the files of what was being made or removed, the mark last.
    pub(super) fn finish_removal(&self, host: &Host) -> Result<()> {
        let files = host.files();
        self.empty(files, &self.journal(), None)?;
        self.empty(files, &self.path, Some(UNFINISHED))?;
        self.remove_file(files, &self.path.join(UNFINISHED))?;
        files.sync_dir(&self.path).map_err(self.failed("sync", &self.path))
    }

    /// Removes the files of a folder but one, durably.
    fn empty(&self, files: &dyn Files, folder: &Path, but: Option<&str>) -> Result<()> {
        let names = match files.list(folder) {
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(()),
            listed => listed.map_err(self.failed("list", folder))?,
        };
        let goes = |name: &String| Some(name.as_str()) != but && name != JOURNAL;
        for name in names.iter().filter(|name| goes(name)) {
            self.remove_file(files, &folder.join(name))?;
        }
        files.sync_dir(folder).map_err(self.failed("sync", folder))
    }

    fn remove_file(&self, files: &dyn Files, path: &Path) -> Result<()> {
        match files.remove(path) {
            Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(self.failed("remove", path)),
        }
    }

    /// The first revision from which on all changes are kept.
    pub(super) fn first(&self, host: &Host) -> Result<u64> {
        let bytes = host.directory.read_whole(self.path.join(FIRST)).map_err(self.storage())?;
        let Some(bytes) = bytes else { return Ok(1) };
        let number = <[u8; 8]>::try_from(bytes.as_slice()).map(u64::from_le_bytes);
        number.map_err(|_| {
            super::storage_of(self.name.as_str(), format!("{} holds no number", self.path.join(FIRST).display()))
        })
    }

    pub(super) fn write_first(&self, host: &Host, revision: u64) -> Result<()> {
        host.directory.write_whole(self.path.join(FIRST), &revision.to_le_bytes()).map_err(self.storage())
    }
}
