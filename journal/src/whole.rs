//! Small files that appear whole or not at all: written beside their place, synced, renamed into it, and their directory
//! synced. Their bytes are in `docs/STORAGE.md`, "Whole files".

use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::files::{File, Files, OpenMode, directory_of, read_full, write_all};
use crate::planted::is_planted;

const MAGIC: [u8; 8] = *b"SINEWHOL";
const VERSION: u32 = 1;
/// Before the contents: magic 8, version 4, zero 4, length 8, CRC of the contents 4, CRC of these 28 bytes 4.
const HEADER_BYTES: usize = 32;

/// A name beside `path` that nothing else has, and that [`is_left_over`] knows.
pub(crate) fn name_beside(files: &dyn Files, path: &Path) -> PathBuf {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    directory_of(path).join(format!(".{name}.{:016x}.new", files.random()))
}

/// Whether a name is of a file that was being written when its writer ended.
pub(crate) fn is_left_over(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(".new")
}

/// Writes a file in place of the one that is there, if there is one. Costs two syncs.
///
/// # Errors
/// [`Error::NoSpace`], [`Error::NotOpened`], [`Error::Io`]: what stood there before still stands, unless the directory's sync failed, after
/// which either may.
pub(crate) fn write(files: &dyn Files, path: &Path, bytes: &[u8]) -> Result<()> {
    let (spare, parent) = (name_beside(files, path), directory_of(path));
    let directory = files.open_dir(parent).map_err(Error::not_opened("open", parent))?;
    let file = files.create_new(&spare).map_err(Error::not_opened("create", &spare))?;
    let written = fill(&*file, bytes).map_err(Error::io("write", path));
    let placed = written.and_then(|()| files.rename(&spare, path).map_err(Error::io("rename", path)));
    if let Err(error) = placed {
        // What is left behind is removed at the next start.
        let _ = files.remove(&spare);
        return Err(error);
    }
    if is_planted("no directory sync") {
        return Ok(());
    }
    directory.sync().map_err(Error::io("sync", parent))
}

fn fill(file: &dyn File, bytes: &[u8]) -> io::Result<()> {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[16..24].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
    header[24..28].copy_from_slice(&crc32c::crc32c(bytes).to_le_bytes());
    let crc = crc32c::crc32c(&header[..28]);
    header[28..].copy_from_slice(&crc.to_le_bytes());
    write_all(file, &[&header, bytes].concat(), 0)?;
    file.sync_data()
}

/// The contents of a file of at most `bytes_max`; `None` when there is none.
///
/// # Errors
/// [`Error::FileDamaged`], [`Error::Format`], [`Error::TooLarge`], [`Error::Io`].
pub(crate) fn read(files: &dyn Files, path: &Path, bytes_max: u64) -> Result<Option<Vec<u8>>> {
    let file = match files.open(path, OpenMode::Read) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(Error::io("open", path))?,
    };
    let length = file.len().map_err(Error::io("read", path))?;
    let max = bytes_max.saturating_add(HEADER_BYTES as u64);
    if length > max {
        return Err(Error::TooLarge { what: "a file", bytes: length, max });
    }
    let mut bytes = vec![0; length as usize];
    let count = read_full(&*file, &mut bytes, 0).map_err(Error::io("read", path))?;
    let damaged = |why| Error::FileDamaged { path: path.into(), why };
    let Some((header, contents)) = bytes[..count].split_at_checked(HEADER_BYTES) else {
        return Err(damaged("is cut short"));
    };
    let field = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
    if header[..8] != MAGIC || field(28) != crc32c::crc32c(&header[..28]) {
        return Err(damaged("has a damaged header"));
    }
    if field(8) != VERSION {
        return Err(Error::Format { path: path.into(), found: field(8), known: VERSION });
    }
    let stated = u64::from_le_bytes(header[16..24].try_into().expect("eight bytes"));
    if stated != contents.len() as u64 || field(24) != crc32c::crc32c(contents) {
        return Err(damaged("has damaged contents"));
    }
    Ok(Some(contents.to_vec()))
}
