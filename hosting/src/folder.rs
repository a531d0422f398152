//! Where a resource stands on disk, and when it is there.
//!
//! ```text
//! <root>/<name>/<config>      its configuration: the resource is there when this is
//! <root>/<name>/unfinished    it is being made or removed: what is beside it goes at the next start
//! <root>/<name>/<journal>/    each of its journals
//! ```
//!
//! 1. A resource appears with the rename that puts its configuration into its place, and is gone with the one that makes
//!    that `unfinished`.
//! 2. A folder that has neither is left alone, unless nothing at all is in it: nothing is deleted that was not to be.
//! 3. Folders go last, empty: of a removal that a crash ends behind that of the mark, empty folders are left at most, and
//!    these go at the next start.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sinew_journal::{DataDirectory, Error as JournalError, Files};
use sinew_session::{ResourceName, from_value, to_value};

use crate::{Error, Result};

const UNFINISHED: &str = "unfinished";

/// What the folders of one kind of resource are called, and what is in each.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// The folder of all of them, in the data directory.
    pub root: &'static str,
    /// The file that says how one is configured, named for what it is: `stream`, `bucket`.
    pub config: &'static str,
    /// The folders of its journals. The first is always there, others may come later.
    pub journals: &'static [&'static str],
}

/// What a folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Resource,
    Unfinished,
    Nothing,
}

/// The folder of one resource, there or not. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Folder {
    directory: Arc<DataDirectory>,
    layout: &'static Layout,
    name: ResourceName,
    path: PathBuf,
}

impl Folder {
    /// The one of this name.
    pub fn new(directory: &Arc<DataDirectory>, layout: &'static Layout, name: &ResourceName) -> Self {
        let path = directory.path().join(layout.root).join(name.folder_name());
        Self { directory: directory.clone(), layout, name: name.clone(), path }
    }

    /// The resources that are there; removes what is unfinished, and empty folders. Makes the folder of all where it is missing.
    ///
    /// # Errors
    /// `Storage`, `NoSpace`, `NotNow`.
    pub fn find_all(directory: &Arc<DataDirectory>, layout: &'static Layout) -> Result<BTreeSet<ResourceName>> {
        let (files, root) = (directory.files(), directory.path().join(layout.root));
        let failed = |what, cause| Error::storage("*", format!("cannot {what} {}: {cause}", root.display()));
        let list = || {
            let folders = files.list(&root)?;
            Ok(folders.iter().filter_map(|folder| ResourceName::from_folder_name(folder)).collect())
        };
        // Where something is in it, it was made durably before, and that syncs nothing again: on a busy disk each sync is waited
        // for.
        let mut folders: Vec<ResourceName> = list().or_else(|cause: std::io::Error| match cause.kind() {
            ErrorKind::NotFound => Ok(Vec::new()),
            _ => Err(failed("list", cause)),
        })?;
        if folders.is_empty() {
            files.create_dir_all(&root).map_err(|cause| failed("create", cause))?;
            folders = list().map_err(|cause| failed("list", cause))?;
        }
        let mut names = BTreeSet::new();
        for name in folders {
            let folder = Self::new(directory, layout, &name);
            match folder.look()?.0 {
                Found::Resource => {
                    names.insert(name);
                }
                Found::Unfinished => folder.finish_removal()?,
                Found::Nothing => {
                    // It holds nothing and is in nobody's way: no reason not to start.
                    if let Err(error) = folder.remove_bare() {
                        tracing::warn!(folder = %folder.path.display(), %error, "an empty folder was not removed; later");
                    }
                }
            }
        }
        Ok(names)
    }

    /// Whose it is.
    pub fn name(&self) -> &ResourceName {
        &self.name
    }

    /// Where a part of it is.
    pub fn join(&self, part: &str) -> PathBuf {
        self.path.join(part)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn layout(&self) -> &'static Layout {
        self.layout
    }

    pub(crate) fn directory(&self) -> &DataDirectory {
        &self.directory
    }

    fn files(&self) -> &dyn Files {
        &**self.directory.files()
    }

    pub(crate) fn storage(&self) -> impl Fn(JournalError) -> Error + use<> {
        Error::of(&self.name)
    }

    pub(crate) fn failed(&self, what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
        let (storage, path) = (self.storage(), path.to_owned());
        move |cause| storage(JournalError::Io { what, path, cause: cause.into() })
    }

    /// What is there; the names in it are empty where there is no folder.
    fn look(&self) -> Result<(Found, Vec<String>)> {
        let names = match self.files().list(&self.path) {
            Err(cause) if matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Vec::new(),
            listed => listed.map_err(self.failed("list", &self.path))?,
        };
        let has = |name: &str| names.iter().any(|found| found == name);
        let found = match (has(self.layout.config), has(UNFINISHED)) {
            (true, _) => Found::Resource,
            (false, true) => Found::Unfinished,
            (false, false) => Found::Nothing,
        };
        Ok((found, names))
    }

    /// The configuration of a resource that is there.
    ///
    /// # Errors
    /// `Storage`: it cannot be read, or is none.
    pub fn config<C: DeserializeOwned>(&self) -> Result<Option<C>> {
        let path = self.path.join(self.layout.config);
        let Some(bytes) = self.directory.read_whole(&path).map_err(self.storage())? else { return Ok(None) };
        from_value(&bytes).map(Some).map_err(|error| {
            Error::storage(self.name.as_str(), format!("{} is no configuration: {}", path.display(), error.why))
        })
    }

    /// Writes the configuration: from then on the resource is there, and is so. Costs two syncs.
    ///
    /// # Errors
    /// `Storage`, `NoSpace`, `NotNow`.
    pub fn write_config<C: Serialize>(&self, config: &C) -> Result<()> {
        let bytes = to_value(config).expect("numbers and names can be written");
        self.directory.write_whole(self.path.join(self.layout.config), &bytes).map_err(self.storage())?;
        self.remove_file(&self.path.join(UNFINISHED))
    }

    /// A number that stands in a file of its own; `None` where there is no such file.
    ///
    /// # Errors
    /// `Storage`: it cannot be read, or holds no number.
    pub fn number(&self, file: &str) -> Result<Option<u64>> {
        let path = self.path.join(file);
        let Some(bytes) = self.directory.read_whole(&path).map_err(self.storage())? else { return Ok(None) };
        let number = <[u8; 8]>::try_from(bytes.as_slice()).map(u64::from_le_bytes);
        let no_number = |_| Error::storage(self.name.as_str(), format!("{} holds no number", path.display()));
        number.map(Some).map_err(no_number)
    }

    /// Writes such a number, durably, in place of the one that is there. Costs two syncs.
    ///
    /// # Errors
    /// `Storage`, `NoSpace`, `NotNow`.
    pub fn write_number(&self, file: &str, number: u64) -> Result<()> {
        self.directory.write_whole(self.path.join(file), &number.to_le_bytes()).map_err(self.storage())
    }

    /// Makes the folder, empty and marked, so that whatever a crash leaves of it goes.
    ///
    /// # Errors
    /// `Exists`; `Storage` where a folder has files that are nobody's, or cannot be made; `NoSpace`, `NotNow`.
    pub fn begin(&self) -> Result<()> {
        let (found, names) = self.look()?;
        match found {
            Found::Resource => return Err(Error::Exists { name: self.name.to_string() }),
            Found::Unfinished => self.finish_removal()?,
            Found::Nothing if self.is_bare(&names)? => {}
            Found::Nothing => {
                let (path, config) = (self.path.display(), self.layout.config);
                let why = format!("{path} has files in it but no `{config}`; move it away");
                return Err(Error::storage(self.name.as_str(), why));
            }
        }
        self.files().create_dir_all(&self.path).map_err(self.failed("create", &self.path))?;
        self.directory.write_whole(self.path.join(UNFINISHED), b"").map_err(self.storage())
    }

    /// Whether a folder without a mark holds nothing but empty folders, and files that were being written when their
    /// writer ended.
    fn is_bare(&self, names: &[String]) -> Result<bool> {
        for name in names.iter().filter(|name| !name.starts_with('.')) {
            if !self.layout.journals.contains(&name.as_str()) {
                return Ok(false);
            }
            let folder = self.path.join(name);
            let inside = match self.files().list(&folder) {
                Err(cause) if cause.kind() == ErrorKind::NotADirectory => return Ok(false),
                listed => listed.map_err(self.failed("list", &folder))?,
            };
            if inside.iter().any(|name| !name.starts_with('.')) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Removes the resource: it is gone when this returns, and its files with it.
    ///
    /// # Errors
    /// `Storage`; what is left of it goes at the next start.
    pub fn remove(&self) -> Result<()> {
        let (from, to) = (self.path.join(self.layout.config), self.path.join(UNFINISHED));
        self.files().rename(&from, &to).map_err(self.failed("rename", &from))?;
        self.files().sync_dir(&self.path).map_err(self.failed("sync", &self.path))?;
        self.finish_removal()
    }

    /// Removes the files of what was being made or removed, the mark behind them, and its folders last.
    ///
    /// # Errors
    /// `Storage`; what is left of it goes at the next start.
    pub fn finish_removal(&self) -> Result<()> {
        for journal in self.layout.journals {
            self.empty(&self.path.join(journal), None)?;
            self.remove_folder(&self.path.join(journal))?;
        }
        self.empty(&self.path, Some(UNFINISHED))?;
        self.remove_file(&self.path.join(UNFINISHED))?;
        self.files().sync_dir(&self.path).map_err(self.failed("sync", &self.path))?;
        self.remove_own()
    }

    /// Removes a folder without a mark, where nothing is in it.
    fn remove_bare(&self) -> Result<()> {
        let (_, names) = self.look()?;
        if !self.is_bare(&names)? {
            return Ok(());
        }
        for journal in self.layout.journals {
            self.remove_folder(&self.path.join(journal))?;
        }
        self.remove_own()
    }

    /// Removes its folder, durably, where nothing is in it.
    fn remove_own(&self) -> Result<()> {
        let root = self.directory.path().join(self.layout.root);
        if self.remove_folder(&self.path)? {
            self.files().sync_dir(&root).map_err(self.failed("sync", &root))?;
        }
        Ok(())
    }

    /// Removes a folder that is there and empty; says whether it did. Somebody may have put something there: that stays.
    fn remove_folder(&self, folder: &Path) -> Result<bool> {
        use ErrorKind::{DirectoryNotEmpty, NotADirectory, NotFound};
        match self.files().remove_dir(folder) {
            Err(cause) if matches!(cause.kind(), NotFound | DirectoryNotEmpty | NotADirectory) => Ok(false),
            removed => removed.map(|()| true).map_err(self.failed("remove", folder)),
        }
    }

    /// Removes the files of a folder but one, durably.
    fn empty(&self, folder: &Path, but: Option<&str>) -> Result<()> {
        let names = match self.files().list(folder) {
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(()),
            listed => listed.map_err(self.failed("list", folder))?,
        };
        let stays = |name: &str| Some(name) == but || self.layout.journals.contains(&name);
        for name in names.iter().filter(|name| !stays(name)) {
            self.remove_file(&folder.join(name))?;
        }
        self.files().sync_dir(folder).map_err(self.failed("sync", folder))
    }

    fn remove_file(&self, path: &Path) -> Result<()> {
        match self.files().remove(path) {
            Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(self.failed("remove", path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use sinew_journal::Disk;

    use super::*;

    static LAYOUT: Layout = Layout { root: "things", config: "thing", journals: &["truth", "later"] };

    fn opened(path: &Path) -> Arc<DataDirectory> {
        Arc::new(DataDirectory::open(Arc::new(Disk), path).expect("opened"))
    }

    fn name(text: &str) -> ResourceName {
        text.parse().expect("a name")
    }

    #[test]
    fn it_is_there_from_its_configuration_to_its_removal() {
        let place = tempfile::tempdir().expect("a folder");
        let directory = opened(place.path());
        let names = || Folder::find_all(&directory, &LAYOUT).expect("found");
        assert!(names().is_empty());
        let folder = Folder::new(&directory, &LAYOUT, &name("Ä"));
        assert_eq!(folder.config::<u64>(), Ok(None));
        folder.begin().expect("begun");
        std::fs::create_dir(folder.join("truth")).expect("created");
        std::fs::write(folder.join("truth").join("0.segment"), "half").expect("written");
        assert!(names().is_empty(), "what was not made to its end is removed");
        assert!(!folder.path().exists(), "and its folder with it");
        folder.begin().expect("begun again");
        folder.write_config(&7_u64).expect("made");
        folder.write_number("first", 9).expect("written");
        assert_eq!(folder.config(), Ok(Some(7_u64)));
        assert_eq!((folder.number("first"), folder.number("last")), (Ok(Some(9)), Ok(None)));
        assert_eq!(names().into_iter().collect::<Vec<_>>(), [name("Ä")]);
        assert_eq!(folder.begin(), Err(Error::Exists { name: "Ä".into() }));
        std::fs::create_dir(folder.join("truth")).expect("created");
        folder.remove().expect("removed");
        assert!(!folder.path().exists());
        // As a crash may leave it.
        std::fs::create_dir_all(folder.join("truth")).expect("created");
        assert!(names().is_empty());
        assert!(!folder.path().exists(), "an empty folder goes at the next start");
        assert_eq!(folder.number("first"), Ok(None));
    }

    #[test]
    fn what_nobody_made_is_left_alone() {
        let place = tempfile::tempdir().expect("a folder");
        let directory = opened(place.path());
        let folder = Folder::new(&directory, &LAYOUT, &name("a"));
        std::fs::create_dir_all(folder.join("later")).expect("created");
        folder.begin().expect("an empty folder is nobody's");
        folder.finish_removal().expect("removed");
        for file in ["mine", "truth/mine"] {
            std::fs::create_dir_all(folder.join("truth")).expect("created");
            std::fs::write(folder.join(file), "work of years").expect("written");
            let refused = folder.begin().expect_err("it would be removed with the rest");
            assert!(matches!(&refused, Error::Storage { why, .. } if why.contains("no `thing`")), "{refused}");
            assert!(Folder::find_all(&directory, &LAYOUT).expect("found").is_empty());
            assert!(folder.join("truth").is_dir());
            assert_eq!(std::fs::read(folder.join(file)).expect("read"), b"work of years");
            std::fs::remove_file(folder.join(file)).expect("removed");
        }
    }

    #[test]
    fn what_does_not_hold_is_told() {
        let place = tempfile::tempdir().expect("a folder");
        let directory = opened(place.path());
        let folder = Folder::new(&directory, &LAYOUT, &name("a"));
        folder.begin().expect("begun");
        folder.write_config(&"seven").expect("made");
        let refused = folder.config::<u64>().expect_err("it is no number");
        assert!(matches!(&refused, Error::Storage { why, .. } if why.contains("is no configuration")), "{refused}");
        directory.write_whole(folder.join("first"), b"seven").expect("written");
        let refused = folder.number("first").expect_err("it is none");
        assert!(matches!(&refused, Error::Storage { why, .. } if why.contains("holds no number")), "{refused}");
    }
}
