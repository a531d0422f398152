//! Small files that must not be read from, or written through, what another account controls.
//!
//! What must hold:
//! 1. A file appears whole or not at all: it is written beside its place, synced, then linked or renamed into it, and
//!    its directory is synced.
//! 2. A secret is never readable by others, not even for a moment: its file is made with mode 0600.
//! 3. Whoever could swap a file or a directory on the way to it (owner, write permission, symbolic link) is us or root.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use zeroize::Zeroizing;

use crate::error::FileError;

#[cfg(unix)]
#[path = "disk/unix.rs"]
mod platform;
#[cfg(not(unix))]
#[path = "disk/elsewhere.rs"]
mod platform;
use platform::{check_directories, check_secret, create, open, sync_directory};
pub(crate) use platform::{check_list, make_directory};

/// Who may read a new file.
#[derive(Clone, Debug)]
pub(crate) enum Audience {
    /// Only we: mode 0600.
    Owner,
    /// Everybody: mode 0644.
    All,
    /// Who could read the one that it replaces: same mode, owner and group.
    Same(Metadata),
}

/// What tells whether a path has changed since it was read. Taken before reading, so that a change during it shows.
#[derive(Clone, Debug)]
pub(crate) struct Stamp {
    state: Option<platform::PathState>,
    /// Whether a later change would give other times: the clock of a file system ticks every few milliseconds.
    settled: bool,
}

/// How old the last change must be for the next to have another time; ten ticks of a slow kernel clock.
const SETTLED_AFTER: Duration = Duration::from_millis(100);

impl Stamp {
    pub(crate) fn of(path: &Path) -> Self {
        let metadata = fs::metadata(path).ok();
        // A time in the future (`Err`) is of a wrong clock, which need not come right soon: such a file counts as
        // settled, or it would be read at each question.
        let age = metadata.as_ref().and_then(|metadata| metadata.modified().ok()?.elapsed().ok());
        Self { state: metadata.as_ref().map(platform::path_state), settled: age.is_none_or(|age| age > SETTLED_AFTER) }
    }

    /// Whether the path is as it was, for sure.
    pub(crate) fn is_current(&self, path: &Path) -> bool {
        self.settled && self.state == fs::metadata(path).ok().as_ref().map(platform::path_state)
    }
}

/// One writer at a time for the files of a directory, among all processes that ask; given up when dropped.
pub(crate) struct DirectoryLock(#[expect(dead_code, reason = "held for its lock")] platform::Lock);

impl DirectoryLock {
    /// # Errors
    /// [`FileError::Io`] where another holds it for 5 s: a write takes milliseconds.
    pub(crate) fn take(directory: &Path) -> Result<Self, FileError> {
        platform::lock(directory, Duration::from_secs(5)).map(Self).map_err(failed("lock", directory))
    }
}

/// The contents of a regular file of at most `bytes_max` bytes, wiped when dropped. Symbolic links are followed, and
/// pipes and devices refused without waiting for them.
pub(crate) fn read(path: &Path, bytes_max: usize) -> Result<Zeroizing<Vec<u8>>, FileError> {
    read_all(path, open_file(path, Links::Follow)?, bytes_max)
}

/// The same for a secret: no symbolic link, ours, mode 0600 or less, in directories only we or root can change.
pub(crate) fn read_secret(path: &Path, bytes_max: usize) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let file = open_file(path, Links::Refuse)?;
    check_directories(path)?;
    check_secret(path, &file)?;
    read_all(path, file, bytes_max)
}

/// Writes a file that is not there yet, making its directory (0700) where needed; an existing one is left alone and is
/// an error. The directories above are checked as in [`read_secret`].
pub(crate) fn write_new(path: &Path, contents: &[u8], audience: Audience) -> Result<(), FileError> {
    make_directory(path)?;
    check_directories(path)?;
    let spare = Spare::write(path, contents, audience)?;
    fs::hard_link(&spare.0, path).map_err(|cause| match cause.kind() {
        io::ErrorKind::AlreadyExists => FileError::Exists { path: path.into() },
        _ => failed("create", path)(cause),
    })?;
    drop(spare);
    sync_directory(path)
}

/// Writes a file, in place of the one that is there if there is one.
pub(crate) fn replace(path: &Path, contents: &[u8], audience: Audience) -> Result<(), FileError> {
    make_directory(path)?;
    let spare = Spare::write(path, contents, audience)?;
    fs::rename(&spare.0, path).map_err(failed("replace", path))?;
    std::mem::forget(spare);
    sync_directory(path)
}

/// The directory that a file stands in.
pub(crate) fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Names what was tried, and on what.
pub(crate) fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    move |cause| match cause.kind() {
        io::ErrorKind::NotFound => FileError::Missing { path: path.into() },
        _ => FileError::Io { what, path: path.into(), cause },
    }
}

/// A file beside the one it is to become; removed when dropped.
struct Spare(PathBuf);

impl Spare {
    fn write(path: &Path, contents: &[u8], audience: Audience) -> Result<Self, FileError> {
        let name = path.file_name().ok_or_else(|| FileError::Unsafe { path: path.into(), why: "names no file" })?;
        let mut random = [0; 8];
        getrandom::fill(&mut random).expect("the operating system gives random numbers");
        let mut spare_name = std::ffi::OsString::from(".");
        spare_name.push(name);
        spare_name.push(format!(".{:016x}.new", u64::from_le_bytes(random)));
        let spare = directory_of(path).join(spare_name);
        let mut file = create(&spare, &audience).map_err(failed("create", &spare))?;
        let spare = Self(spare);
        let written = file.write_all(contents).and_then(|()| platform::hand_over(&file, &audience));
        written.and_then(|()| file.sync_all()).map_err(failed("write", &spare.0))?;
        Ok(spare)
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        // What is left behind is a copy that nobody reads; there is nobody to tell.
        let _ = fs::remove_file(&self.0);
    }
}

fn open_file(path: &Path, links: Links) -> Result<File, FileError> {
    let file = open(path, links)?;
    if !file.metadata().map_err(failed("read", path))?.is_file() {
        return Err(FileError::Unsafe { path: path.into(), why: "is not a regular file; name a file" });
    }
    Ok(file)
}

fn read_all(path: &Path, file: File, bytes_max: usize) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let metadata = file.metadata().map_err(failed("read", path))?;
    // One allocation of the final size: growing would leave copies of a secret behind.
    let length = usize::try_from(metadata.len()).unwrap_or(usize::MAX).min(bytes_max);
    let mut contents = Zeroizing::new(Vec::with_capacity(length + 1));
    file.take(length as u64 + 1).read_to_end(&mut contents).map_err(failed("read", path))?;
    if contents.len() > bytes_max {
        return Err(FileError::TooLarge { path: path.into(), bytes_max });
    }
    if contents.len() > length {
        return Err(failed("read", path)(io::Error::other("it grew while it was read; try again")));
    }
    Ok(contents)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Links {
    Follow,
    Refuse,
}
