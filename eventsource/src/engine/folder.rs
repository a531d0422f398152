//! Where a stream stands on disk, and when it is there.
//!
//! ```text
//! log/<name>/stream        its configuration: the stream is there when this is
//! log/<name>/unfinished    it is being made or removed: what is beside it goes at the next start
//! log/<name>/compacted     up to where it was compacted
//! log/<name>/events/       the journal of its events and producers
//! log/<name>/cursors/      the journal of its cursors, once there is one
//! ```
//!
//! 1. A stream appears with the rename that puts `stream` into its place, and is gone with the one that makes it
//!    `unfinished`.
//! 2. A folder that has neither is left alone: nothing is deleted that was not to be.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use sinew_journal::{Error as JournalError, Files};
use sinew_session::{ResourceName, from_value, to_value};

use super::{Host, storage};
use crate::{Error, Result, StreamConfig};

/// The journal of events.
pub(crate) const EVENTS: &str = "events";
/// The journal of cursors.
pub(crate) const CURSORS: &str = "cursors";
/// The configuration.
pub(crate) const CONFIG: &str = "stream";
const UNFINISHED: &str = "unfinished";
const COMPACTED: &str = "compacted";

/// What a folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Stream,
    Unfinished,
    Nothing,
}

/// The folder of one stream.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    pub(crate) name: ResourceName,
    pub(crate) path: PathBuf,
}

impl Folder {
    pub(crate) fn new(host: &Host, name: &ResourceName) -> Self {
        Self { name: name.clone(), path: host.log().join(name.folder_name()) }
    }

    pub(crate) fn events(&self) -> PathBuf {
        self.path.join(EVENTS)
    }

    pub(crate) fn cursors(&self) -> PathBuf {
        self.path.join(CURSORS)
    }

    fn storage(&self) -> impl Fn(JournalError) -> Error {
        storage(&self.name)
    }

    fn failed(&self, what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        let (storage, path) = (self.storage(), path.to_owned());
        move |cause| storage(JournalError::Io { what, path, cause: cause.into() })
    }

    /// What is there; the names in it are empty where there is no folder.
    pub(crate) fn look(&self, host: &Host) -> Result<(Found, Vec<String>)> {
        let names = match host.files().list(&self.path) {
            Err(cause) if matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Vec::new(),
            listed => listed.map_err(self.failed("list", &self.path))?,
        };
        let has = |name: &str| names.iter().any(|found| found == name);
        let found = match (has(CONFIG), has(UNFINISHED)) {
            (true, _) => Found::Stream,
            (false, true) => Found::Unfinished,
            (false, false) => Found::Nothing,
        };
        Ok((found, names))
    }

    /// The configuration of a stream that is there.
    pub(crate) fn config(&self, host: &Host) -> Result<Option<StreamConfig>> {
        let path = self.path.join(CONFIG);
        let Some(bytes) = host.directory.read_whole(&path).map_err(self.storage())? else { return Ok(None) };
        let damaged = |error: sinew_session::CborError| Error::Storage {
            stream: self.name.to_string(),
            why: format!("{} is no configuration: {}", path.display(), error.why),
        };
        from_value(&bytes).map(Some).map_err(damaged)
    }

    /// Writes the configuration: from then on the stream is there, and is so.
    pub(crate) fn write_config(&self, host: &Host, config: &StreamConfig) -> Result<()> {
        let bytes = to_value(config).expect("numbers and names can be written");
        host.directory.write_whole(self.path.join(CONFIG), &bytes).map_err(self.storage())?;
        self.remove_file(host.files(), &self.path.join(UNFINISHED))
    }

    /// Makes the folder, empty and marked, so that whatever a crash leaves of it goes.
    pub(crate) fn begin(&self, host: &Host) -> Result<()> {
        let (found, names) = self.look(host)?;
        match found {
            Found::Stream => return Err(Error::StreamExists { stream: self.name.to_string() }),
            Found::Unfinished => self.finish_removal(host)?,
            Found::Nothing if self.is_bare(host.files(), &names)? => {}
            Found::Nothing => {
                return Err(Error::Storage {
                    stream: self.name.to_string(),
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
            if name != EVENTS && name != CURSORS {
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

    /// Removes the stream: it is gone when this returns, and its files with it.
    pub(crate) fn remove(&self, host: &Host) -> Result<()> {
        let (from, to) = (self.path.join(CONFIG), self.path.join(UNFINISHED));
        host.files().rename(&from, &to).map_err(self.failed("rename", &from))?;
        host.files().sync_dir(&self.path).map_err(self.failed("sync", &self.path))?;
        self.finish_removal(host)
    }

    /// Removes the files of what was being made or removed, the mark last.
    pub(crate) fn finish_removal(&self, host: &Host) -> Result<()> {
        let files = host.files();
        for folder in [self.events(), self.cursors()] {
            self.empty(files, &folder, None)?;
        }
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
        let goes = |name: &String| Some(name.as_str()) != but && name != EVENTS && name != CURSORS;
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

    /// Up to which offset it was compacted; not at all where that is not known.
    pub(crate) fn compacted(&self, host: &Host) -> u64 {
        let bytes = host.directory.read_whole(self.path.join(COMPACTED)).ok().flatten();
        bytes.and_then(|bytes| <[u8; 8]>::try_from(bytes.as_slice()).ok()).map_or(0, u64::from_le_bytes)
    }

    pub(crate) fn write_compacted(&self, host: &Host, offset: u64) -> Result<()> {
        host.directory.write_whole(self.path.join(COMPACTED), &offset.to_le_bytes()).map_err(self.storage())
    }
}
