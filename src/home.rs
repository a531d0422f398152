//! The home directory: where the keys of this account are, so that its server and its clients find and trust one another
//! without configuration. What a running server leaves there for its clients is in `running.rs`.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use sinew_auth::{Identity, ListedBy, PeerKey, Policy, PolicyFiles, PublicKey};

use crate::error::failed;
use crate::{Error, Result};

mod running;
pub use running::HomeClaim;
mod known_servers;
mod rotation;
pub use rotation::KeyOf;

/// The directory of keys: `SINEW_HOME`, or `sinew` in the user's data directory (`$XDG_DATA_HOME`, by default
/// `~/.local/share`; on macOS `~/Library/Application Support`; on Windows `%LOCALAPPDATA%`). Made with mode 0700 and
/// closed to other accounts; one that is not is an error.
///
/// ```text
/// server.key               the server's identity, made at its first start
/// client.key               the identity of this account's clients, made at their first use
/// allowlist                who may connect from elsewhere: one public key a line
/// policy.toml              what each of them may do; without it, everything
/// known_servers            the keys of servers elsewhere, where the URL does not name them
/// local/server.pub         the server's public key: how local clients know it
/// local/clients/NAME.pub   public keys of this account's clients: how the server knows them
/// *.key.next, *.key.old    while a key is being changed
/// data/                    what the server keeps: streams of the event log
/// run/endpoints            where the running server listens: one URL a line, with its key; gone when it has ended
/// run/lock                 held by the running server
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    directory: PathBuf,
}

/// What stands in a new allowlist.
const ALLOWLIST_HEADER: &str = "\
# Who may connect from elsewhere: one public key a line, and a name if you like.
# At the client, `sinew keys show` prints the line to put here. Changes count at once.
# Clients of this account on this machine need no line.
# `allow ADDRESS` and `deny ADDRESS` (an IP address or a network such as 10.0.0.0/8) limit where peers may come from.
";

impl Home {
    /// The one that `SINEW_HOME` names, or the user's default. Made where it is missing.
    ///
    /// # Errors
    /// `NoHome` where neither is known; those of [`at`](Self::at).
    pub fn open() -> Result<Self> {
        match std::env::var_os("SINEW_HOME").filter(|path| !path.is_empty()) {
            Some(path) => Self::at(path),
            None => Self::at(data_directory().ok_or(Error::NoHome)?.join("sinew")),
        }
    }

    /// The one at `directory`, made where it is missing.
    ///
    /// # Errors
    /// `HomeUnsafe` if other accounts can look into it; `Io`.
    pub fn at(directory: impl Into<PathBuf>) -> Result<Self> {
        let directory = directory.into();
        make(&directory)?;
        check(&directory)?;
        Ok(Self { directory })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// The server's identity, made at first use. Leaves its public key for the clients of this account.
    ///
    /// # Errors
    /// `File`.
    pub fn server_identity(&self) -> Result<Identity> {
        let identity = Identity::read_or_create(self.server_key_path())?;
        leave(&identity, &self.directory.join("local/server.pub"), "server")?;
        Ok(identity)
    }

    /// The identity of this account's clients, made at first use. Leaves its public key for the server.
    ///
    /// # Errors
    /// `File`.
    pub fn client_identity(&self) -> Result<Identity> {
        let identity = Identity::read_or_create(self.client_key_path())?;
        leave(&identity, &self.clients_directory().join("client.pub"), "client")?;
        Ok(identity)
    }

    /// Where [`server_identity`](Self::server_identity) is.
    pub fn server_key_path(&self) -> PathBuf {
        self.directory.join("server.key")
    }

    /// Where [`client_identity`](Self::client_identity) is.
    pub fn client_key_path(&self) -> PathBuf {
        self.directory.join("client.key")
    }

    /// Whom the server lets in, and what they may do: the keys in `allowlist`, which is made at first use, those of this
    /// account's clients, and `policy.toml`, where it is there.
    ///
    /// # Errors
    /// `File` for a file that cannot be read.
    pub fn policy(&self) -> Result<Policy> {
        make(&self.clients_directory())?;
        let allowlist = vec![self.make_allowlist()?];
        Ok(Policy::open(PolicyFiles { policy: self.policy_path(), allowlist, own: vec![self.clients_directory()] })?)
    }

    /// How many keys from elsewhere are let in.
    ///
    /// # Errors
    /// `File` for a file that cannot be read.
    pub fn listed_from_elsewhere(&self) -> Result<usize> {
        Ok(self.policy()?.peers().iter().filter(|peer| peer.listed != ListedBy::Own).count())
    }

    /// Knows a key no more as one of this account's own clients. Gives `false` where it was none.
    ///
    /// # Errors
    /// `OwnKey` for the one that is in use: whoever has this account would be let in again; `File`; `Io`.
    pub fn forget_client(&self, key: &PeerKey) -> Result<bool> {
        let directory = self.clients_directory();
        let in_use = matches!(PublicKey::read(directory.join("client.pub")), Ok(own) if PeerKey::from(own) == *key);
        if in_use && self.client_key_path().exists() {
            return Err(Error::OwnKey { key: key.fingerprint(), path: self.client_key_path() });
        }
        let mut found = false;
        for entry in fs::read_dir(&directory).map_err(failed("list", &directory))? {
            let path = entry.map_err(failed("list", &directory))?.path();
            if matches!(PublicKey::read(&path), Ok(own) if PeerKey::from(own) == *key) {
                fs::remove_file(&path).map_err(failed("remove", &path))?;
                found = true;
            }
        }
        Ok(found)
    }

    /// Where the policy is, if there is one.
    pub fn policy_path(&self) -> PathBuf {
        self.directory.join("policy.toml")
    }

    /// Where the list of keys from elsewhere is.
    pub fn allowlist_path(&self) -> PathBuf {
        self.directory.join("allowlist")
    }

    fn clients_directory(&self) -> PathBuf {
        self.directory.join("local/clients")
    }

    fn make_allowlist(&self) -> Result<PathBuf> {
        let path = self.allowlist_path();
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        match options.open(&path).and_then(|mut file| file.write_all(ALLOWLIST_HEADER.as_bytes())) {
            Err(cause) if cause.kind() != std::io::ErrorKind::AlreadyExists => Err(failed("make", &path)(cause)),
            _ => Ok(path),
        }
    }
}

/// Writes the public key beside, where it is not there yet.
fn leave(identity: &Identity, path: &Path, name: &str) -> Result<()> {
    if !matches!(PublicKey::read(path), Ok(key) if key == identity.public_key()) {
        make(path.parent().expect("a file in the home directory"))?;
        identity.public_key().write(path, name)?;
    }
    Ok(())
}

fn make(directory: &Path) -> Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory).map_err(failed("make the directory", directory))
}

#[cfg(unix)]
fn check(directory: &Path) -> Result<()> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    let metadata = fs::metadata(directory).map_err(failed("look at", directory))?;
    let refused = |why| Err(Error::HomeUnsafe { path: directory.into(), why });
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return refused("belongs to another account; set SINEW_HOME to a directory of your own");
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        return refused("is open to other accounts, and keys are to be kept in it; close it with `chmod 700`");
    }
    Ok(())
}

/// Windows gives a user's data directory to that user alone.
#[cfg(not(unix))]
fn check(_directory: &Path) -> Result<()> {
    Ok(())
}

fn data_directory() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if cfg!(windows) {
        absolute("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        absolute("HOME").map(|home| home.join("Library/Application Support"))
    } else {
        absolute("XDG_DATA_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
    }
}

#[cfg(all(test, unix))]
mod tests;
