//! What Unix gives to keep files from other accounts: owners, modes, links refused, locks on directories.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, OFlags};

use super::{Audience, Links, directory_of, failed};
use crate::error::FileError;

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
                // A lock cannot be waited for with a deadline.
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
        let why = "can be changed by everybody, so that everybody could let themselves in; close it with `chmod o-w`";
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
