//! Where there are no Unix modes, the access lists that a directory hands down are what protects a file.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use super::{Audience, Links, directory_of, failed};
use crate::error::FileError;

pub(super) fn open(path: &Path, links: Links) -> Result<File, FileError> {
    if links == Links::Refuse && path.is_symlink() {
        return Err(FileError::Unsafe { path: path.into(), why: "is a symbolic link; name the file itself" });
    }
    File::open(path).map_err(failed("open", path))
}

pub(super) fn create(path: &Path, _audience: &Audience) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

pub(super) fn hand_over(file: &File, audience: &Audience) -> io::Result<()> {
    match audience {
        Audience::Same(old) => file.set_permissions(old.permissions()),
        Audience::Owner | Audience::All => Ok(()),
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PathState(u64, Option<SystemTime>);

pub(super) fn path_state(metadata: &Metadata) -> PathState {
    PathState(metadata.len(), metadata.modified().ok())
}

pub(super) type Lock = File;

/// There is no lock on a directory here; a file in it, opened for ourselves alone, does as well.
pub(super) fn lock(directory: &Path, patience: Duration) -> io::Result<Lock> {
    let deadline = Instant::now() + patience;
    loop {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        #[cfg(windows)]
        std::os::windows::fs::OpenOptionsExt::share_mode(&mut options, 0);
        match options.open(directory.join(".lock")) {
            // A lock cannot be waited for with a deadline.
            Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(10)),
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
