//! The real file system.
//!
//! On macOS the standard library's `sync_data` and `sync_all` are `F_FULLFSYNC`, which empties the drive's cache too;
//! on Linux they are `fdatasync` and `fsync`.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::files::{self, Files, Lock, OpenMode, directory_of};

#[cfg(unix)]
#[path = "disk/unix.rs"]
mod platform;
#[cfg(not(unix))]
#[path = "disk/elsewhere.rs"]
mod platform;

/// The real file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Files for Disk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn files::File>> {
        let file = fs::OpenOptions::new().read(true).write(mode == OpenMode::Write).open(path)?;
        Ok(Arc::new(Opened(file)))
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn files::File>> {
        Ok(Arc::new(Opened(platform::create_new(path)?)))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let names = fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
        names.filter_map(Result::transpose).collect()
    }

    fn create_dir_all(&self, directory: &Path) -> io::Result<()> {
        let missing: Vec<&Path> =
            directory.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.is_dir()).collect();
        for path in missing.into_iter().rev() {
            match platform::create_dir(path) {
                Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
                made => made?,
            }
            self.sync_dir(directory_of(path))?;
        }
        // It may have been made by a process that was killed before it could sync; where we may not read the directory
        // above, it was not one of ours.
        match self.sync_dir(directory_of(directory)) {
            Err(cause) if cause.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            synced => synced,
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, directory: &Path) -> io::Result<()> {
        fs::remove_dir(directory)
    }

    fn open_dir(&self, directory: &Path) -> io::Result<Box<dyn files::Directory>> {
        Ok(Box::new(platform::open_dir(directory)?))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let file = platform::lock(path)?;
        // For whoever is refused. On a full disk this may fail, and the lock is held all the same.
        let opened = Opened(file);
        let _ = files::write_all(&opened, format!("{:<10}\n", std::process::id()).as_bytes(), 0);
        Ok(Box::new(Held(opened)))
    }

    fn random(&self) -> u64 {
        getrandom::u64().expect("the operating system gives random numbers")
    }
}

/// A lock, for as long as its file is open.
#[derive(Debug)]
struct Held(#[expect(dead_code, reason = "held for its lock")] Opened);

impl Lock for Held {}

/// A file of the operating system.
#[derive(Debug)]
struct Opened(fs::File);

impl files::File for Opened {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        platform::read_at(&self.0, buffer, position)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<usize> {
        platform::write_at(&self.0, bytes, position)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn len(&self) -> io::Result<u64> {
        self.0.metadata().map(|metadata| metadata.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_once_and_names_its_holder() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("LOCK");
        let held = Disk.lock(&path).expect("a free lock");
        assert_eq!(Disk.lock(&path).expect_err("it is held").kind(), io::ErrorKind::WouldBlock);
        let text = fs::read_to_string(&path).expect("its file");
        assert_eq!(text.trim(), std::process::id().to_string());
        drop(held);
        Disk.lock(&path).expect("free again");
    }

    #[test]
    fn directories_are_made_for_the_owner_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a/b");
        Disk.create_dir_all(&path).expect("made");
        Disk.create_dir_all(&path).expect("there already");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
            assert_eq!(mode(&path), 0o700);
            Disk.create_new(&path.join("c")).expect("created");
            assert_eq!(mode(&path.join("c")), 0o600);
        }
        assert!(Disk.create_new(&path).is_err());
    }
}
