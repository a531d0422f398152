//! Changing a policy file while others read it: comments and order stay, and nothing bad is ever written.

use std::fs;
use std::path::{Path, PathBuf};

use toml_edit::{Array, DocumentMut, Item, Table, Value};

use super::document::{Book, POLICY_BYTES_MAX, name_fault, parse};
use super::{Policy, PolicyFiles};
use crate::disk::{self, Audience, DirectoryLock};
use crate::error::FileError;
use crate::key::PeerKey;

impl Policy {
    /// Names a peer in the policy file `path` with these roles, or gives it these roles where it is named; its name stays
    /// then. The file is replaced whole; comments stay. Gives `false` where that is what it says already.
    ///
    /// # Errors
    /// Those of reading `path`, which must be there; [`FileError::Line`] for a role that is not in it, or a name that
    /// cannot stand there or is another peer's; [`FileError::Io`].
    pub fn give_roles(path: impl AsRef<Path>, key: &PeerKey, name: &str, roles: &[String]) -> Result<bool, FileError> {
        let path = path.as_ref();
        edit(path, |book, document| {
            let named = book.peers.iter().find(|peer| peer.key == *key);
            if named.is_some_and(|peer| peer.roles.iter().map(|role| &role.name).eq(roles)) {
                return Ok(false);
            }
            let refused = |why| FileError::Line { path: path.into(), line: 1, why };
            if let Some(unknown) = roles.iter().find(|role| !book.roles.contains_key(*role)) {
                let known: Vec<&str> = book.roles.keys().map(String::as_str).collect();
                return Err(refused(format!(
                    "there is no role `{}`; there are {}",
                    unknown.escape_debug(),
                    known.join(", ")
                )));
            }
            if let Some(why) = name_fault(named.map_or(name, |peer| &peer.name)) {
                return Err(refused(why));
            }
            if named.is_none() && book.peers.iter().any(|peer| peer.name == name) {
                return Err(refused(format!("another peer is named `{name}`; give this one another name")));
            }
            let peers = document.entry("peers").or_insert_with(|| Item::Table(implicit()));
            let peers = peers.as_table_like_mut().expect("the book was read from it");
            let list = Item::Value(Value::Array(roles.iter().collect::<Array>()));
            match named {
                Some(peer) => {
                    let peer = peers.get_mut(&peer.name).and_then(Item::as_table_like_mut);
                    peer.expect("the book was read from it").insert("roles", list);
                }
                None => {
                    let mut peer = Table::new();
                    peer.insert("key", key_text(key).into());
                    peer.insert("roles", list);
                    peers.insert(name, Item::Table(peer));
                }
            }
            Ok(true)
        })
    }

    /// Takes a peer out of the policy file `path`. Gives `false` where it is not in it, or there is no file.
    ///
    /// # Errors
    /// Those of reading `path`, since a bad file is left alone; [`FileError::Io`].
    pub fn forget(path: impl AsRef<Path>, key: &PeerKey) -> Result<bool, FileError> {
        let forgotten = edit(path.as_ref(), |book, document| {
            let Some(peer) = book.peers.iter().find(|peer| peer.key == *key) else { return Ok(false) };
            let peers = document.get_mut("peers").and_then(Item::as_table_like_mut);
            peers.expect("the book was read from it").remove(&peer.name);
            Ok(true)
        });
        match forgotten {
            Err(FileError::Missing { .. }) => Ok(false),
            forgotten => forgotten,
        }
    }

    /// The files it is read from.
    pub fn files(&self) -> &PolicyFiles {
        &self.files
    }
}

/// As people copy it.
fn key_text(key: &PeerKey) -> String {
    match key {
        PeerKey::Ed25519(bare) => bare.to_string(),
        PeerKey::Curve(_) => key.to_string(),
    }
}

/// A table that is written only through its entries: `[peers.name]`.
fn implicit() -> Table {
    let mut table = Table::new();
    table.set_implicit(true);
    table
}

fn edit(
    path: &Path,
    change: impl FnOnce(&Book, &mut DocumentMut) -> Result<bool, FileError>,
) -> Result<bool, FileError> {
    let path = &resolved(path)?;
    let _lock = DirectoryLock::take(disk::directory_of(path))?;
    let contents = disk::read(path, POLICY_BYTES_MAX)?;
    let book = parse(path, &contents)?;
    let text = std::str::from_utf8(&contents).expect("it was parsed");
    let mut document: DocumentMut = text.parse().expect("it was parsed");
    if !change(&book, &mut document)? {
        return Ok(false);
    }
    let text = document.to_string();
    if text.len() > POLICY_BYTES_MAX {
        return Err(FileError::TooLarge { path: path.clone(), bytes_max: POLICY_BYTES_MAX });
    }
    parse(path, text.as_bytes())?;
    let audience = Audience::Same(fs::metadata(path).map_err(disk::failed("read", path))?);
    disk::replace(path, text.as_bytes(), audience)?;
    Ok(true)
}

/// A link stays a link: what it leads to is replaced.
fn resolved(path: &Path) -> Result<PathBuf, FileError> {
    if path.is_symlink() { fs::canonicalize(path).map_err(disk::failed("resolve", path)) } else { Ok(path.into()) }
}
