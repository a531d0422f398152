//! Adding a line to an allowlist file, and taking one out, while others read it and do the same.

use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};

use super::ALLOWLIST_BYTES_MAX;
use super::lines::{Line, key_line, parse};
use crate::disk::{self, Audience, DirectoryLock};
use crate::error::FileError;
use crate::key::PeerKey;

/// See [`Allowlist::append`](super::Allowlist::append).
pub(super) fn append(path: &Path, key: &PeerKey, name: &str) -> Result<bool, FileError> {
    let line = key_line(path, key, name)?;
    let path = &resolved(path)?;
    disk::make_directory(path)?;
    let _lock = DirectoryLock::take(disk::directory_of(path))?;
    let (mut contents, audience) = match read(path) {
        Ok((contents, metadata)) => (contents, Audience::Same(metadata)),
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

/// See [`Allowlist::remove`](super::Allowlist::remove).
pub(super) fn remove(path: &Path, key: &PeerKey) -> Result<bool, FileError> {
    let path = &resolved(path)?;
    let _lock = match DirectoryLock::take(disk::directory_of(path)) {
        Err(FileError::Missing { .. }) => return Ok(false),
        lock => lock?,
    };
    let (contents, metadata) = match read(path) {
        Err(FileError::Missing { .. }) => return Ok(false),
        read => read?,
    };
    let mut kept = Vec::with_capacity(contents.len());
    for (text, line) in contents.split_inclusive(|&byte| byte == b'\n').zip(parse(path, &contents)) {
        if !matches!(line?.1, Line::Key(listed, _) if listed == *key) {
            kept.extend_from_slice(text);
        }
    }
    if kept.len() == contents.len() {
        return Ok(false);
    }
    disk::replace(path, &kept, Audience::Same(metadata))?;
    Ok(true)
}

fn read(path: &Path) -> Result<(Vec<u8>, Metadata), FileError> {
    let contents = disk::read(path, ALLOWLIST_BYTES_MAX)?.to_vec();
    Ok((contents, fs::metadata(path).map_err(disk::failed("read", path))?))
}

/// A link stays a link: what it leads to is replaced.
fn resolved(path: &Path) -> Result<PathBuf, FileError> {
    if path.is_symlink() { fs::canonicalize(path).map_err(disk::failed("resolve", path)) } else { Ok(path.into()) }
}
