//! The directory that one process has for its data: locked, marked with the format's version, closed to others.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::files::{Files, Lock, OpenMode, read_full};
use crate::whole;

/// The version of everything in a data directory.
const FORMAT: u32 = 1;
const FORMAT_FILE: &str = "FORMAT";
const LOCK_FILE: &str = "LOCK";

/// Bytes of a small file that is written and read whole.
pub const WHOLE_FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// A data directory, used by this process alone for as long as this value lives. Journals stand in directories below it.
#[derive(Debug)]
pub struct DataDirectory {
    files: Arc<dyn Files>,
    path: PathBuf,
    _lock: Box<dyn Lock>,
}

impl DataDirectory {
    /// Makes it where it is missing (0700), locks it, and checks its format; files that were being written when their
    /// writer ended are removed.
    ///
    /// # Errors
    /// [`Error::Locked`] while another process has it; [`Error::Format`] when a newer version wrote it;
    /// [`Error::FileDamaged`], [`Error::NoSpace`], [`Error::Io`].
    pub fn open(files: Arc<dyn Files>, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        // Its format is written once it was made durably: a start makes and syncs nothing where that is there.
        let is_made = files.list(path).is_ok_and(|names| names.iter().any(|name| name == FORMAT_FILE));
        if !is_made {
            files.create_dir_all(path).map_err(Error::io("create", path))?;
        }
        let lock = lock(&*files, path)?;
        for name in files.list(path).map_err(Error::io("list", path))?.iter().filter(|name| whole::is_left_over(name)) {
            let left = path.join(name);
            files.remove(&left).map_err(Error::io("remove", &left))?;
        }
        check_format(&*files, &path.join(FORMAT_FILE))?;
        Ok(Self { files, path: path.into(), _lock: lock })
    }

    /// The file system that it is on.
    pub fn files(&self) -> &Arc<dyn Files> {
        &self.files
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a small file of this directory, or of one below it that exists, in place of the one that is there; a crash
    /// leaves the one or the other. Costs two syncs.
    ///
    /// # Errors
    /// [`Error::TooLarge`] above [`WHOLE_FILE_BYTES_MAX`]; [`Error::NoSpace`]; [`Error::Io`].
    pub fn write_whole(&self, path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
        if bytes.len() as u64 > WHOLE_FILE_BYTES_MAX {
            return Err(Error::TooLarge { what: "a file", bytes: bytes.len() as u64, max: WHOLE_FILE_BYTES_MAX });
        }
        whole::write(&*self.files, &self.path.join(path), bytes)
    }

    /// What [`write_whole`](Self::write_whole) wrote; `None` when there is no such file.
    ///
    /// # Errors
    /// [`Error::FileDamaged`] when it was cut or changed; [`Error::Format`]; [`Error::Io`].
    pub fn read_whole(&self, path: impl AsRef<Path>) -> Result<Option<Vec<u8>>> {
        whole::read(&*self.files, &self.path.join(path), WHOLE_FILE_BYTES_MAX)
    }
}

fn lock(files: &dyn Files, path: &Path) -> Result<Box<dyn Lock>> {
    let at = path.join(LOCK_FILE);
    files.lock(&at).map_err(|cause| match cause.kind() {
        io::ErrorKind::WouldBlock => Error::Locked { path: path.into(), pid: holder(files, &at) },
        _ => Error::io("lock", &at)(cause),
    })
}

/// The process number in a lock's file, if one can be read.
fn holder(files: &dyn Files, path: &Path) -> Option<u32> {
    let mut text = [0; 16];
    let count = read_full(&*files.open(path, OpenMode::Read).ok()?, &mut text, 0).ok()?;
    std::str::from_utf8(&text[..count]).ok()?.trim().parse().ok()
}

fn check_format(files: &dyn Files, path: &Path) -> Result<()> {
    let Some(bytes) = whole::read(files, path, 64)? else {
        return whole::write(files, path, &FORMAT.to_le_bytes());
    };
    let found = <[u8; 4]>::try_from(bytes.as_slice()).map(u32::from_le_bytes);
    match found {
        Ok(FORMAT) => Ok(()),
        Ok(found) => Err(Error::Format { path: path.into(), found, known: FORMAT }),
        Err(_) => Err(Error::FileDamaged { path: path.into(), why: "has no format version in it" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Disk;

    #[test]
    fn it_is_one_process_s_alone_and_keeps_whole_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("data");
        let directory = DataDirectory::open(Arc::new(Disk), &path).expect("opened");
        let refused = DataDirectory::open(Arc::new(Disk), &path).expect_err("it is in use");
        assert!(matches!(refused, Error::Locked { pid: Some(pid), .. } if pid == std::process::id()), "{refused}");
        assert_eq!(directory.read_whole("a").expect("read"), None);
        directory.write_whole("a", b"one").expect("written");
        directory.write_whole("a", b"two").expect("written");
        std::fs::write(path.join(".b.0123456789abcdef.new"), "half").expect("written");
        drop(directory);
        let directory = DataDirectory::open(Arc::new(Disk), &path).expect("opened again");
        assert_eq!(directory.read_whole("a").expect("read").as_deref(), Some(b"two".as_slice()));
        let mut names = Disk.list(&path).expect("listed");
        names.sort();
        assert_eq!(names, ["FORMAT", "LOCK", "a"]);
    }

    #[test]
    fn a_changed_file_and_a_newer_format_are_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let directory = DataDirectory::open(Arc::new(Disk), folder.path()).expect("opened");
        directory.write_whole("a", b"contents").expect("written");
        let good = std::fs::read(folder.path().join("a")).expect("read");
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(folder.path().join("a"), bad).expect("written");
            directory.read_whole("a").expect_err("one bit is wrong");
        }
        for length in 0..good.len() {
            std::fs::write(folder.path().join("a"), &good[..length]).expect("written");
            directory.read_whole("a").expect_err("it is cut");
        }
        directory.write_whole("FORMAT", &7_u32.to_le_bytes()).expect("written");
        drop(directory);
        let refused = DataDirectory::open(Arc::new(Disk), folder.path()).expect_err("it is newer");
        assert!(matches!(refused, Error::Format { found: 7, known: 1, .. }), "{refused}");
    }
}
