//! Copies of a resource, made beside its use, and made a resource again. The configuration comes last, so that a copy that
//! was cut off is none.

use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sinew_journal::{Copied, JournalReader, OpenMode, copy_file};
use sinew_session::{Progress, from_value, to_value};

use crate::{Error, Folder, GoOn, Result};

/// A copy that is being made.
pub struct Copying<'a> {
    folder: &'a Folder,
    target: &'a Path,
    progress: Progress,
    go_on: GoOn<'a>,
}

fn refused(path: &Path, why: impl Into<String>) -> Error {
    Error::Backup { path: path.display().to_string(), why: why.into() }
}

/// A directory of the server's machine that means the same to whoever names it: a server has its own working directory.
///
/// # Errors
/// `Backup`: it is relative.
pub fn from_the_root(path: &str) -> Result<&Path> {
    let found = Path::new(path);
    if found.is_absolute() {
        return Ok(found);
    }
    let why = "is relative, and the server has another working directory; name it from the root".into();
    Err(Error::Backup { path: format!("`{path}`"), why })
}

impl Folder {
    /// Begins a copy in a directory that is empty or not there; then it is made.
    ///
    /// # Errors
    /// `Backup`: it is not empty, or cannot be listed or made.
    pub fn copy_to<'a>(&'a self, target: &'a Path, go_on: GoOn<'a>) -> Result<Copying<'a>> {
        let files = self.directory().files();
        match files.list(target) {
            Ok(names) if !names.is_empty() => return Err(refused(target, "is not empty; name a new directory")),
            Err(cause) if cause.kind() != ErrorKind::NotFound => {
                return Err(refused(target, format!("cannot be listed: {cause}")));
            }
            _ => {}
        }
        files.create_dir_all(target).map_err(|cause| refused(target, format!("cannot be made: {cause}")))?;
        Ok(Copying { folder: self, target, progress: Progress::default(), go_on })
    }

    /// The configuration of the copy in `source`.
    ///
    /// # Errors
    /// `Backup`: there is no whole copy.
    pub fn config_of_copy<C: DeserializeOwned>(&self, source: &Path) -> Result<C> {
        let config = self.layout().config;
        let bytes = self.directory().read_whole(source.join(config));
        let bytes = bytes.map_err(|error| refused(source, error.to_string()))?;
        let bytes =
            bytes.ok_or_else(|| refused(source, format!("holds no backup of a {config}, or one that was cut off")))?;
        from_value(&bytes).map_err(|error| refused(source, error.why))
    }

    /// Takes over a small file of the copy in `source`, if it has it.
    ///
    /// # Errors
    /// `Backup`: it cannot be read; `Storage`, `NoSpace`, `NotNow`: it cannot be written.
    pub fn take_file(&self, source: &Path, file: &str) -> Result<()> {
        let bytes = self.directory().read_whole(source.join(file));
        match bytes.map_err(|error| refused(source, error.to_string()))? {
            Some(bytes) => self.directory().write_whole(self.join(file), &bytes).map_err(self.storage()),
            None => Ok(()),
        }
    }

    /// Takes over the journals of the copy in `source`, byte for byte. Costs one read and one write of everything, and a
    /// sync for each file.
    ///
    /// # Errors
    /// `Backup`: it cannot be read; `Storage`, `NoSpace`: it cannot be written, or `go_on` said no.
    pub fn take_journals(&self, source: &Path, go_on: GoOn<'_>) -> Result<()> {
        let (files, journals) = (&**self.directory().files(), self.layout().journals);
        let (mut all, mut progress) = (Vec::new(), Progress::default());
        for journal in journals {
            let names = match files.list(&source.join(journal)) {
                Err(cause) if cause.kind() == ErrorKind::NotFound && *journal != journals[0] => continue,
                listed => listed.map_err(|cause| refused(source, format!("cannot be read: {cause}")))?,
            };
            // Files that were being written when their writer ended are nobody's.
            for name in names.iter().filter(|name| !name.starts_with('.')) {
                let part = Path::new(journal).join(name);
                let length = files.open(&source.join(&part), OpenMode::Read).and_then(|file| file.len());
                progress.total +=
                    length.map_err(|cause| refused(source, format!("`{}` cannot be read: {cause}", part.display())))?;
                all.push(part);
            }
            let folder = self.join(journal);
            files.create_dir_all(&folder).map_err(self.failed("create", &folder))?;
        }
        for part in &all {
            let copied = copy_file(files, &source.join(part), &self.path().join(part), &mut |bytes| {
                progress.done += bytes;
                turn(go_on(progress))
            });
            copied.map_err(self.storage())?;
        }
        let has_files = |journal: &&&str| all.iter().any(|part| part.starts_with(journal));
        for folder in journals.iter().filter(has_files).map(|journal| self.join(journal)) {
            files.sync_dir(&folder).map_err(self.failed("sync", &folder))?;
        }
        Ok(())
    }
}

impl Copying<'_> {
    /// There are so many bytes to be copied, as far as is known; without it, those of the journal that is copied.
    pub fn expect(&mut self, bytes: u64) {
        self.progress.total = bytes;
    }

    /// Copies a journal, as of now, beside its commits.
    ///
    /// # Errors
    /// As [`JournalReader::copy_to`].
    pub fn journal(&mut self, name: &str, reader: &JournalReader) -> Result<Copied> {
        let before = self.progress.done;
        let progress = &mut self.progress;
        let copied = reader.copy_to(self.target.join(name), u64::MAX, &mut |of| {
            progress.done = before + of.bytes_done;
            progress.total = progress.total.max(before + of.bytes_total).max(progress.done);
            turn((self.go_on)(*progress))
        });
        copied.map_err(self.folder.storage())
    }

    /// Writes a number that stands in a file of its own.
    ///
    /// # Errors
    /// `Storage`, `NoSpace`, `NotNow`.
    pub fn number(&self, file: &str, number: u64) -> Result<()> {
        let written = self.folder.directory().write_whole(self.target.join(file), &number.to_le_bytes());
        written.map_err(self.folder.storage())
    }

    /// Writes the configuration: with it the copy is whole.
    ///
    /// # Errors
    /// `Storage`, `NoSpace`, `NotNow`.
    pub fn finish<C: Serialize>(self, config: &C) -> Result<()> {
        let bytes = to_value(config).expect("numbers and names can be written");
        let written = self.folder.directory().write_whole(self.target.join(self.folder.layout().config), &bytes);
        written.map_err(self.folder.storage())
    }
}

fn turn(goes_on: bool) -> ControlFlow<()> {
    if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}
