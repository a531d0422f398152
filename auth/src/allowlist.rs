//! The allowlist: who may come in, read from files and looked at again when they change. Its text is in `lines.rs`, the
//! lookup in `table.rs`, writing in `write.rs`. The policy (`policy.rs`) reads the same lists, and knows roles beside.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::admit::{Admit, Candidate, Refusal};
use crate::disk::{self, Stamp};
use crate::error::FileError;
use crate::key::PeerKey;

mod lines;
use lines::{Line, parse};
pub(crate) use lines::{key_line, parse_single_key};
mod address;
mod table;
pub use table::AdmitListed;
pub(crate) use table::Table;
mod write;

/// Lines of an allowlist in all its files. Reading so many took 0.24 s in a development build: what an admission waits
/// at most, once after each change.
pub const ALLOWLIST_LINES_MAX: usize = 10_000;
/// Bytes of an allowlist in all its files.
pub const ALLOWLIST_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Files of an allowlist, those in its directories included.
pub const ALLOWLIST_FILES_MAX: usize = 1_000;

/// Admits the keys listed in files, on every transport: an Ed25519 key by TLS and, in its Montgomery form, by CURVE
/// (under the Ed25519 key in both cases), a foreign CURVE key by CURVE alone, an anonymous peer never.
///
/// A file has one peer per line, its key and an optional name; `#` at the beginning or after white space begins a
/// comment. Lines `allow ADDRESS` and `deny ADDRESS` take an IP address or a network (`10.0.0.0/8`): where there is an
/// `allow`, only those addresses come in; `deny` wins. They do not apply to peers without an IP address (Unix sockets).
/// ```text
/// # the lab
/// mfrggzdfmztwq2lknnwg23tpobyxe43uov3ho6dzpiydcmrtgq2q thermometer
/// curve:Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID       an old ZeroMQ client
/// allow 10.0.0.0/8
/// ```
///
/// At each question the files are looked at (one `stat` each: 2 ms for a thousand files) and read again if they changed: a new key is let in and a
/// removed one refused at its next connection, without a restart. A file that has become bad keeps the set as it was
/// and says so in the log.
#[derive(Debug)]
pub struct Allowlist {
    sources: Vec<PathBuf>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    table: Table,
    /// Every path that was looked at, with its stamp from before it was read.
    stamps: Vec<(PathBuf, Stamp)>,
}

impl Allowlist {
    /// Reads the list from `sources`: files, and directories of which every `*.pub` file is read.
    ///
    /// # Errors
    /// [`FileError::Missing`] for a source that is not there; [`FileError::Unsafe`] for one that everybody can write
    /// to; [`FileError::Key`], [`FileError::Line`] and [`FileError::SameCurveKey`] with file and line;
    /// [`FileError::TooMany`] and [`FileError::TooLarge`] beyond the limits.
    pub fn open<P: Into<PathBuf>>(sources: impl IntoIterator<Item = P>) -> Result<Self, FileError> {
        let sources: Vec<PathBuf> = sources.into_iter().map(Into::into).collect();
        let (table, stamps) = load(&sources);
        Ok(Self { sources, state: Mutex::new(State { table: table?, stamps }) })
    }

    /// Reads the files again now, changed or not.
    ///
    /// # Errors
    /// Those of [`open`](Self::open); the set stays as it was then.
    pub fn reload(&self) -> Result<(), FileError> {
        self.state().load(&self.sources)
    }

    /// The name that stands beside a key; `None` where it is not listed or has none.
    pub fn name(&self, key: &PeerKey) -> Option<String> {
        self.state().table.name(key).map(str::to_owned)
    }

    /// How many keys are listed.
    pub fn len(&self) -> usize {
        self.state().table.len()
    }

    /// Whether no key is listed, so that nobody comes in.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a line for `key` to the file `path`, which is made (mode 0600) where it is missing. The file is replaced
    /// whole, so that a reader sees it with the line or without, and several that append at once lose nothing.
    /// Gives `false` and changes nothing where the key is listed there already.
    ///
    /// # Errors
    /// Those of reading `path`, since nothing is added to a bad list; [`FileError::Line`] for a name that cannot stand
    /// there; [`FileError::Io`], also where the directory stays locked by another for 5 s.
    pub fn append(path: impl AsRef<Path>, key: &PeerKey, name: &str) -> Result<bool, FileError> {
        write::append(path.as_ref(), key, name)
    }

    /// Takes every line of `key` out of the file `path`; the others stay as they are. The file is replaced whole. Gives
    /// `false` where the key is not listed there, or there is no such file.
    ///
    /// # Errors
    /// Those of reading `path`, since a bad list is left alone; [`FileError::Io`] as for [`append`](Self::append).
    pub fn remove(path: impl AsRef<Path>, key: &PeerKey) -> Result<bool, FileError> {
        write::remove(path.as_ref(), key)
    }

    /// A set is replaced whole or not at all, so that it holds even where a thread died holding the lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admit for Allowlist {
    fn admit(&self, candidate: &Candidate<'_>) -> Result<Option<PeerKey>, Refusal> {
        let mut state = self.state();
        if !state.stamps.iter().all(|(path, stamp)| stamp.is_current(path)) {
            match state.load(&self.sources) {
                Ok(()) => tracing::info!(keys = state.table.len(), "the allowlist changed and was read again"),
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the allowlist changed and cannot be read; the keys from before stay in force"
                ),
            }
        }
        state.table.admit(candidate)
    }
}

impl State {
    /// Stamps are kept even where the set is not: a bad file is read again when it changes, not at each question.
    fn load(&mut self, sources: &[PathBuf]) -> Result<(), FileError> {
        let (table, stamps) = load(sources);
        self.stamps = stamps;
        self.table = table?;
        Ok(())
    }
}

/// Reads lists; the stamps are of every path that was looked at, whether reading went well or not.
pub(crate) fn load(sources: &[PathBuf]) -> (Result<Table, FileError>, Vec<(PathBuf, Stamp)>) {
    let mut load = Load { bytes_left: ALLOWLIST_BYTES_MAX, ..Load::default() };
    let outcome = sources.iter().try_for_each(|source| load.source(source));
    (outcome.map(|()| load.table), load.stamps)
}

/// A set in the making, with what is left of the limits.
#[derive(Default)]
struct Load {
    table: Table,
    stamps: Vec<(PathBuf, Stamp)>,
    bytes_left: usize,
    lines: usize,
    files: usize,
}

impl Load {
    fn source(&mut self, source: &Path) -> Result<(), FileError> {
        if !source.is_dir() {
            return self.file(source, Lines::All);
        }
        self.stamp(source);
        disk::check_list(source)?;
        for file in self.public_key_files(source)? {
            match self.file(&file, Lines::Keys) {
                // Removed since the directory was listed.
                Err(FileError::Missing { .. }) => {}
                read => read?,
            }
        }
        Ok(())
    }

    /// Sorted, so that of two bad files it is always the same that is named.
    fn public_key_files(&self, directory: &Path) -> Result<Vec<PathBuf>, FileError> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(directory).map_err(disk::failed("list", directory))? {
            let path = entry.map_err(disk::failed("list", directory))?.path();
            if path.extension().is_some_and(|extension| extension == "pub") {
                self.check(directory, "files", self.files + files.len() + 1, ALLOWLIST_FILES_MAX)?;
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }

    fn file(&mut self, path: &Path, lines: Lines) -> Result<(), FileError> {
        self.files += 1;
        self.check(path, "files", self.files, ALLOWLIST_FILES_MAX)?;
        self.stamp(path);
        disk::check_list(path)?;
        let contents = disk::read(path, self.bytes_left)?;
        self.bytes_left -= contents.len();
        for line in parse(path, &contents) {
            let (number, line) = line?;
            self.lines += 1;
            self.check(path, "lines", self.lines, ALLOWLIST_LINES_MAX)?;
            self.line(path, number, line, lines)?;
        }
        Ok(())
    }

    fn line(&mut self, path: &Path, number: usize, line: Line<'_>, lines: Lines) -> Result<(), FileError> {
        match line {
            Line::Nothing => Ok(()),
            Line::Key(key, name) => self.table.insert(key, name, path, number),
            Line::Allow(_) | Line::Deny(_) if lines == Lines::Keys => Err(FileError::Line {
                path: path.into(),
                line: number,
                why: "a public key file has no address lines; put them into the allowlist".to_owned(),
            }),
            Line::Allow(network) => {
                self.table.addresses.allow(network);
                Ok(())
            }
            Line::Deny(network) => {
                self.table.addresses.deny(network);
                Ok(())
            }
        }
    }

    fn stamp(&mut self, path: &Path) {
        self.stamps.push((path.into(), Stamp::of(path)));
    }

    fn check(&self, path: &Path, what: &'static str, count: usize, max: usize) -> Result<(), FileError> {
        if count > max {
            return Err(FileError::TooMany { path: path.into(), what, max });
        }
        Ok(())
    }
}

/// Which lines a file may have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lines {
    All,
    Keys,
}

#[cfg(test)]
mod tests;
