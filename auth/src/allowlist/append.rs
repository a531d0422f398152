//! Adding a line to an allowlist file while others read it and append to it.

use std::fs;
use std::path::Path;

use super::ALLOWLIST_BYTES_MAX;
use super::lines::{Line, key_line, parse};
use crate::disk::{self, Audience, DirectoryLock};
use crate::error::FileError;
use crate::key::PeerKey;

/// See [`Allowlist::append`](super::Allowlist::append).
pub(super) fn append(path: &Path, key: &PeerKey, name: &str) -> Result<bool, FileError> {
    let line = key_line(path, key, name)?;
    // A link stays a link: what it leads to is replaced.
    let path = &if path.is_symlink() {
        fs::canonicalize(path).map_err(disk::failed("resolve", path))?
    } else {
        path.to_path_buf()
    };
    disk::make_directory(path)?;
    let _lock = DirectoryLock::take(disk::directory_of(path))?;
    let (mut contents, audience) = match disk::read(path, ALLOWLIST_BYTES_MAX) {
        Ok(contents) => (contents.to_vec(), Audience::Same(fs::metadata(path).map_err(disk::failed("read", path))?)),
        Err(FileError::Missing { .. }) => (Vec::new(), Audience::Owner),
        Err(error) => return Err(error),
    };
    for listed in parse(path, &contents) {
        if matches!(listed?.1, Line::Key(listed, _) if listed == *key) {
            return Ok(false);
        }
    }
    if contents.last().is_some_and(|&byte| byte != b'\n') {
        contents.push(b'\n');
    }
    contents.extend_from_slice(line.as_bytes());
    if contents.len() > ALLOWLIST_BYTES_MAX {
        return Err(FileError::TooLarge { path: path.clone(), bytes_max: ALLOWLIST_BYTES_MAX });
    }
    disk::replace(path, &contents, audience)?;
    Ok(true)
}
