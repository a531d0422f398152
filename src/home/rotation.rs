//! Changing a key with an overlap: the next key is made and made known while the old one is in use, then they change
//! places. The old one is kept as `….key.old`, so that the change can be taken back by hand.
//!
//! Invariant: at every moment `client.key` (or `server.key`) is there and whole; a crash leaves one of the two keys in it.

use std::fs;
use std::path::PathBuf;

use sinew_auth::{FileError, Identity, PublicKey};

use super::{Home, leave};
use crate::error::failed;
use crate::{Error, Result};

/// Whose key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyOf {
    /// This account's clients'.
    Client,
    /// This account's server's.
    Server,
}

impl Home {
    /// Makes the next key, or finds the one that was made: to be listed where the old one is, which stays in use.
    ///
    /// # Errors
    /// `File`.
    pub fn prepare_rotation(&self, of: KeyOf) -> Result<Identity> {
        let next = Identity::read_or_create(self.key_path(of).with_extension("key.next"))?;
        leave(&next, &self.public_path(of, "-next"), of.name())?;
        Ok(next)
    }

    /// Puts the next key in the place of the old one, and gives (old, new). Programs that run go on with the old one
    /// until they connect, or serve, anew; this account's own server and clients know both.
    ///
    /// # Errors
    /// `NoNextKey` where none was prepared; `File`; `Io`.
    pub fn finish_rotation(&self, of: KeyOf) -> Result<(PublicKey, PublicKey)> {
        let path = self.key_path(of);
        let (next_path, old_path) = (path.with_extension("key.next"), path.with_extension("key.old"));
        let next = match Identity::read(&next_path) {
            Err(FileError::Missing { .. }) => return Err(Error::NoNextKey { path: next_path }),
            next => next?,
        };
        let old = Identity::read(&path)?;
        leave(&old, &self.public_path(of, "-old"), of.name())?;
        let gone = |outcome: std::io::Result<()>| match outcome {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => Err(cause),
            _ => Ok(()),
        };
        gone(fs::remove_file(&old_path)).map_err(failed("replace", &old_path))?;
        fs::hard_link(&path, &old_path).map_err(failed("write", &old_path))?;
        fs::rename(&next_path, &path).map_err(failed("replace", &path))?;
        leave(&next, &self.public_path(of, ""), of.name())?;
        let waiting = self.public_path(of, "-next");
        gone(fs::remove_file(&waiting)).map_err(failed("remove", &waiting))?;
        Ok((old.public_key(), next.public_key()))
    }

    /// The keys that this account's server may prove: the present one, and while it changes the next and the old one.
    ///
    /// # Errors
    /// `File` for a key that cannot be read.
    pub fn local_server_keys(&self) -> Result<Vec<PublicKey>> {
        let mut keys = Vec::new();
        for state in ["", "-next", "-old"] {
            match PublicKey::read(self.public_path(KeyOf::Server, state)) {
                Ok(key) => keys.push(key),
                Err(FileError::Missing { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(keys)
    }

    /// Where the key itself is.
    pub fn key_path(&self, of: KeyOf) -> PathBuf {
        match of {
            KeyOf::Client => self.client_key_path(),
            KeyOf::Server => self.server_key_path(),
        }
    }

    fn public_path(&self, of: KeyOf, state: &str) -> PathBuf {
        match of {
            KeyOf::Client => self.clients_directory().join(format!("client{state}.pub")),
            KeyOf::Server => self.path().join(format!("local/server{state}.pub")),
        }
    }
}

impl KeyOf {
    fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}
