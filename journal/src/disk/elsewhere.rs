//! Windows: files that cannot be opened twice for writing stand for locks, and the file system keeps its names itself.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::windows::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// Another process has the file open (`ERROR_SHARING_VIOLATION`).
const SHARING_VIOLATION: i32 = 32;

pub(super) fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).open(path)
}

pub(super) fn create_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().create(path)
}

/// NTFS journals its names and lets nobody sync a directory.
#[derive(Debug)]
pub(super) struct Directory;

pub(super) fn open_dir(_: &Path) -> io::Result<Directory> {
    Ok(Directory)
}

impl crate::files::Directory for Directory {
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) fn lock(path: &Path) -> io::Result<File> {
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).share_mode(1).open(path);
    opened.map_err(|cause| match cause.raw_os_error() {
        Some(SHARING_VIOLATION) => io::ErrorKind::WouldBlock.into(),
        _ => cause,
    })
}

pub(super) fn read_at(file: &File, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    file.seek_read(buffer, position)
}

pub(super) fn write_at(file: &File, bytes: &[u8], position: u64) -> io::Result<usize> {
    file.seek_write(bytes, position)
}
