//! Small files that must not be read from, or written through, what another account controls.
//!
//! What must hold:
//! 1. A file appears whole or not at all: it is written beside its place, synced, then linked or renamed into it, and
//!    its directory is synced.
//! 2. A secret is never readable by others, not even for a moment: its file is made with mode 0600.
//! 3. Whoever could swap a file or a directory on the way to it (owner, write permission, symbolic link) is us or root.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use zeroize::Zeroizing;

use crate::error::FileError;

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

#[cfg(unix)]
mod platform {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
    use std::time::Instant;

    use rustix::fs::{FlockOperation, OFlags};

    use super::*;

    pub(super) fn open(path: &Path, links: Links) -> Result<File, FileError> {
        // NONBLOCK: a pipe in place of the file must not hold us up.
        let mut flags = OFlags::NONBLOCK | OFlags::CLOEXEC;
        if links == Links::Refuse {
            flags |= OFlags::NOFOLLOW;
        }
        OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path).map_err(|cause| {
            match cause.raw_os_error() {
                Some(code) if links == Links::Refuse && code == rustix::io::Errno::LOOP.raw_os_error() => {
                    FileError::Unsafe { path: path.into(), why: "is a symbolic link; name the file itself" }
                }
                _ => failed("open", path)(cause),
            }
        })
    }

    pub(super) fn create(path: &Path, audience: &Audience) -> io::Result<File> {
        let mode = match audience {
            Audience::Owner | Audience::Same(_) => 0o600,
            Audience::All => 0o644,
        };
        // create_new is O_EXCL, which does not follow a symbolic link either.
        OpenOptions::new().write(true).create_new(true).mode(mode).open(path)
    }

    pub(crate) fn make_directory(path: &Path) -> Result<(), FileError> {
        let directory = directory_of(path);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed("create", directory))
    }

    /// Gives a file the owner and mode of the one that it is to replace, once it is written.
    pub(super) fn hand_over(file: &File, audience: &Audience) -> io::Result<()> {
        let Audience::Same(old) = audience else { return Ok(()) };
        let new = file.metadata()?;
        if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
            std::os::unix::fs::fchown(file, Some(old.uid()), Some(old.gid()))?;
        }
        file.set_permissions(old.permissions())
    }

    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(super) struct PathState {
        bytes: u64,
        inode: (u64, u64),
        modified: (i64, i64),
        changed: (i64, i64),
    }

    pub(super) fn path_state(metadata: &Metadata) -> PathState {
        PathState {
            bytes: metadata.len(),
            inode: (metadata.dev(), metadata.ino()),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    pub(super) type Lock = File;

    /// Asks again every 10 ms until `patience` runs out: a lock cannot be waited for with a deadline.
    pub(super) fn lock(directory: &Path, patience: Duration) -> io::Result<Lock> {
        let file = File::open(directory)?;
        let deadline = Instant::now() + patience;
        loop {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(rustix::io::Errno::INTR) => {}
                outcome => return outcome.map(|()| file).map_err(Into::into),
            }
        }
    }

    pub(crate) fn check_list(path: &Path) -> Result<(), FileError> {
        let metadata = fs::metadata(path).map_err(failed("read", path))?;
        if metadata.permissions().mode() & 0o002 != 0 {
            let why =
                "can be changed by everybody, so that everybody could let themselves in; close it with `chmod o-w`";
            return Err(FileError::Unsafe { path: path.into(), why });
        }
        Ok(())
    }

    pub(super) fn check_secret(path: &Path, file: &File) -> Result<(), FileError> {
        let metadata = file.metadata().map_err(failed("read", path))?;
        let refused = |why| Err(FileError::Unsafe { path: path.into(), why });
        if metadata.uid() != rustix::process::geteuid().as_raw() {
            return refused("belongs to another account; make an identity of your own");
        }
        if metadata.permissions().mode() & 0o077 != 0 {
            return refused("is open to other accounts; close it with `chmod 600`, and make a new one if it was read");
        }
        Ok(())
    }

    /// Every directory above `path`: as it was written, since somebody could swap a link on the way, and as it is
    /// once links are resolved.
    pub(super) fn check_directories(path: &Path) -> Result<(), FileError> {
        let directory = directory_of(path);
        let written = std::path::absolute(directory).map_err(failed("resolve", directory))?;
        let resolved = directory.canonicalize().map_err(failed("resolve", directory))?;
        written.ancestors().chain(resolved.ancestors()).try_for_each(check_directory)
    }

    fn check_directory(directory: &Path) -> Result<(), FileError> {
        let metadata = fs::symlink_metadata(directory).map_err(failed("read", directory))?;
        let refused = |why| Err(FileError::Unsafe { path: directory.into(), why });
        if ![0, rustix::process::geteuid().as_raw()].contains(&metadata.uid()) {
            return refused("belongs to another account, which could swap the keys in it; choose another directory");
        }
        let mode = metadata.permissions().mode();
        if metadata.is_dir() && mode & 0o022 != 0 && mode & 0o1000 == 0 {
            return refused("can be changed by other accounts; close it with `chmod go-w`");
        }
        Ok(())
    }

    pub(super) fn sync_directory(path: &Path) -> Result<(), FileError> {
        let directory = directory_of(path);
        File::open(directory).and_then(|file| file.sync_all()).map_err(failed("sync", directory))
    }
}

/// Elsewhere the access lists that a directory hands down are what protects a file.
#[cfg(not(unix))]
mod platform {
    use super::*;

    pub(super) fn open(path: &Path, links: Links) -> Result<File, FileError> {
        if links == Links::Refuse && path.is_symlink() {
            return Err(FileError::Unsafe { path: path.into(), why: "is a symbolic link; name the file itself" });
        }
        File::open(path).map_err(failed("open", path))
    }

    pub(super) fn create(path: &Path, _audience: &Audience) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).open(path)
    }

    pub(super) fn hand_over(_file: &File, _audience: &Audience) -> io::Result<()> {
        Ok(())
    }

    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(super) struct PathState(u64, Option<std::time::SystemTime>);

    pub(super) fn path_state(metadata: &Metadata) -> PathState {
        PathState(metadata.len(), metadata.modified().ok())
    }

    pub(super) type Lock = File;

    /// There is no lock on a directory here; a file in it, opened for ourselves alone, does as well.
    pub(super) fn lock(directory: &Path, patience: Duration) -> io::Result<Lock> {
        let deadline = std::time::Instant::now() + patience;
        loop {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(false);
            #[cfg(windows)]
            std::os::windows::fs::OpenOptionsExt::share_mode(&mut options, 0);
            match options.open(directory.join(".lock")) {
                Err(_) if std::time::Instant::now() < deadline => std::thread::sleep(Duration::from_millis(10)),
                outcome => return outcome,
            }
        }
    }

    pub(crate) fn check_list(_path: &Path) -> Result<(), FileError> {
        Ok(())
    }

    pub(crate) fn make_directory(path: &Path) -> Result<(), FileError> {
        let directory = directory_of(path);
        fs::create_dir_all(directory).map_err(failed("create", directory))
    }

    pub(super) fn check_secret(_path: &Path, _file: &File) -> Result<(), FileError> {
        Ok(())
    }

    pub(super) fn check_directories(_path: &Path) -> Result<(), FileError> {
        Ok(())
    }

    pub(super) fn sync_directory(_path: &Path) -> Result<(), FileError> {
        Ok(())
    }
}

use platform::{check_directories, check_secret, create, open, sync_directory};
pub(crate) use platform::{check_list, make_directory};
