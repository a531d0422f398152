//! The listed keys in memory: one index for all transports.
//!
//! Invariant: the index is by CURVE form, and no two keys share one. An Ed25519 key and its negation would; with both
//! listed, a CURVE peer could be either.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use super::address::Addresses;
use crate::admit::{Admit, Candidate, Claim, Refusal};
use crate::error::FileError;
use crate::key::{KeyError, PeerKey};

/// Keys, with the addresses that they may come from.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Table {
    keys: HashMap<[u8; 32], Listed>,
    pub(super) addresses: Addresses,
}

#[derive(Debug, PartialEq, Eq)]
struct Listed {
    key: PeerKey,
    name: String,
    path: PathBuf,
    line: usize,
}

impl Table {
    /// Lists a key. The same key once more is no error, and its first name stays.
    pub(crate) fn insert(&mut self, key: PeerKey, name: &str, path: &Path, line: usize) -> Result<(), FileError> {
        match self.keys.entry(curve_form(&key)) {
            Entry::Vacant(room) => {
                room.insert(Listed { key, name: name.to_owned(), path: path.into(), line });
                Ok(())
            }
            Entry::Occupied(first) if first.get().key == key => Ok(()),
            Entry::Occupied(first) => Err(FileError::SameCurveKey {
                path: path.into(),
                line,
                first_path: first.get().path.clone(),
                first_line: first.get().line,
            }),
        }
    }

    /// Takes in another list; what is listed here keeps its name.
    pub(crate) fn merge(&mut self, other: Self) -> Result<(), FileError> {
        self.addresses.merge(other.addresses);
        other.keys.into_values().try_for_each(|listed| self.insert(listed.key, &listed.name, &listed.path, listed.line))
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = PeerKey> + '_ {
        self.keys.values().map(|listed| listed.key)
    }

    /// Whether exactly this key is listed.
    pub(crate) fn has(&self, key: &PeerKey) -> bool {
        self.keys.get(&curve_form(key)).is_some_and(|listed| listed.key == *key)
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn name(&self, key: &PeerKey) -> Option<&str> {
        let listed = self.keys.get(&curve_form(key)).filter(|listed| listed.key == *key)?;
        Some(listed.name.as_str()).filter(|name| !name.is_empty())
    }

    pub(crate) fn admit(&self, candidate: &Candidate<'_>) -> Result<Option<PeerKey>, Refusal> {
        if let Some(address) = candidate.address.filter(|address| !self.addresses.admits(*address)) {
            return Err(Refusal::Address { address });
        }
        let (form, proven) = match candidate.claim {
            Claim::Anonymous => return Err(Refusal::Anonymous),
            Claim::Curve(form) => (form, PeerKey::Curve(form)),
            Claim::Ed25519(key) => (key.to_curve(), PeerKey::Ed25519(key)),
        };
        match (self.keys.get(&form), candidate.claim) {
            (Some(listed), Claim::Curve(_)) => Ok(Some(listed.key)),
            // The negation of a listed key has its CURVE form and is not listed.
            (Some(listed), _) if listed.key == proven => Ok(Some(listed.key)),
            _ => Err(Refusal::UnknownKey { fingerprint: proven.fingerprint() }),
        }
    }
}

fn curve_form(key: &PeerKey) -> [u8; 32] {
    match key {
        PeerKey::Ed25519(key) => key.to_curve(),
        PeerKey::Curve(form) => *form,
    }
}

/// A list in memory, for tests and for programs that keep their own; keys come and go at run time. A key that was
/// removed is refused at its next connection; connections that stand are the caller's to end.
#[derive(Debug, Default)]
pub struct AdmitListed(RwLock<Table>);

impl AdmitListed {
    /// Lists a key; once more is no error.
    ///
    /// # Errors
    /// [`KeyError::SameCurveKey`] where another listed key has the same CURVE form.
    pub fn allow(&self, key: impl Into<PeerKey>) -> Result<(), KeyError> {
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        table.insert(key.into(), "", Path::new(""), 0).map_err(|_| KeyError::SameCurveKey)
    }

    /// Takes a key off the list; says whether it was on it.
    pub fn remove(&self, key: impl Into<PeerKey>) -> bool {
        let key = key.into();
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let form = curve_form(&key);
        let listed = table.keys.get(&form).is_some_and(|listed| listed.key == key);
        if listed {
            table.keys.remove(&form);
        }
        listed
    }
}

impl Admit for AdmitListed {
    fn admit(&self, candidate: &Candidate<'_>) -> Result<Option<PeerKey>, Refusal> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).admit(candidate)
    }
}
