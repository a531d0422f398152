//! What a journal asks of a file system, as a few small traits: [`Disk`](crate::Disk) is the real one, the simulation's
//! stands in `simulated.rs`. Nothing in this package reaches a file but through them.
//!
//! What an implementation must hold:
//! 1. What was written is durable once [`File::sync_data`] has returned, and not before.
//! 2. A name (created, renamed, removed) is durable once [`Directory::sync`] of its directory has returned.
//! 3. A file that is open stays readable when its name is removed or given to another.

use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// How an existing file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// Reading alone.
    Read,
    /// Reading and writing.
    Write,
}

/// Held as long as the lock is; given up when dropped, or with the process.
pub trait Lock: Send + Sync + Debug {}

/// An open directory.
pub trait Directory: Send + Sync + Debug {
    /// Makes the names in it durable.
    fn sync(&self) -> io::Result<()>;
}

/// A file system.
pub trait Files: Send + Sync + Debug {
    /// Opens a file that exists; `NotFound` when it does not.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>>;

    /// Creates a file for reading and writing, for the owner alone (0600); `AlreadyExists` when there is one.
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// The names in a directory that are UTF-8, in any order; `NotFound` when there is no such directory.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;

    /// Makes a directory and those above it where they are missing, for the owner alone (0700), and syncs the directory
    /// above the last one and above each that it made.
    fn create_dir_all(&self, directory: &Path) -> io::Result<()>;

    /// Renames a file within one file system, in place of another if there is one. Atomic.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory that is empty; `DirectoryNotEmpty` where it is not.
    fn remove_dir(&self, directory: &Path) -> io::Result<()>;

    /// Opens a directory, to sync it later: by then there may be no more files to be had.
    fn open_dir(&self, directory: &Path) -> io::Result<Box<dyn Directory>>;

    /// Makes the names in a directory durable.
    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        self.open_dir(directory)?.sync()
    }

    /// Takes the exclusive lock of a file that it creates where needed, and leaves this process's number in it;
    /// `WouldBlock` when another holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>>;

    /// A random number for names and for the ids of segments.
    fn random(&self) -> u64;
}

/// An open file. Threads may share it: every call names its position.
pub trait File: Send + Sync + Debug {
    /// Reads into `buffer` and says how many bytes; fewer than asked for only at the end of the file or when interrupted.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;

    /// Writes and says how many bytes were taken, which may be fewer.
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<usize>;

    /// Makes everything written, and the length, durable.
    fn sync_data(&self) -> io::Result<()>;

    /// Cuts the file, or lengthens it with zeros.
    fn set_len(&self, bytes: u64) -> io::Result<()>;

    /// Bytes in it.
    fn len(&self) -> io::Result<u64>;

    /// Whether nothing is in it.
    fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|bytes| bytes == 0)
    }
}

/// Reads until `buffer` is full or the file ends; says how many bytes.
pub(crate) fn read_full(file: &dyn File, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], position + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(cause),
        }
    }
    Ok(done)
}

/// Writes all of `bytes`. After an error some of them may have been written.
pub(crate) fn write_all(file: &dyn File, mut bytes: &[u8], mut position: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(bytes, position) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                bytes = &bytes[count..];
                position += count as u64;
            }
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(cause),
        }
    }
    Ok(())
}

/// Writes so many zeros, in pieces.
pub(crate) fn write_zeros(file: &dyn File, mut position: u64, end: u64) -> io::Result<()> {
    const PIECE: usize = 256 * 1024;
    static ZEROS: [u8; PIECE] = [0; PIECE];
    while position < end {
        let bytes = usize::try_from(end - position).map_or(PIECE, |rest| rest.min(PIECE));
        write_all(file, &ZEROS[..bytes], position)?;
        position += bytes as u64;
    }
    Ok(())
}

/// The directory that a path stands in; `.` where it names none.
pub(crate) fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
