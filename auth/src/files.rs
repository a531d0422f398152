//! An identity in its file, and its public key in another that may be handed out.
//!
//! The identity file is text, so that it can be looked at and backed up on paper:
//! ```text
//! sinew identity 1
//! # Secret: whoever has the seed is this peer. Hand out the public key only.
//! seed <52 characters of base32>
//! public <52 characters of base32>
//! ```
//! The public key is there for people and as a check: it must be the one that follows from the seed.

use std::path::Path;

use data_encoding::{BASE32_NOPAD, Encoding};
use zeroize::{Zeroize, Zeroizing};

use crate::allowlist::{key_line, parse_single_key};
use crate::disk::{self, Audience};
use crate::error::FileError;
use crate::identity::Identity;
use crate::key::{PeerKey, PublicKey};

/// The largest identity or public key file in bytes: ten times what is written, for comments.
pub const KEY_FILE_BYTES_MAX: usize = 4096;

const FIRST_LINE: &str = "sinew identity 1";
const WARNING: &str = "# Secret: whoever has the seed is this peer. Hand out the public key only.";
/// Characters of 32 bytes in base32.
const SEED_CHARS: usize = 52;

impl Identity {
    /// Makes a new identity and writes it to `path`: mode 0600, in a directory that is made with mode 0700 where it is
    /// missing, never over a file that is there. Synced before it returns.
    ///
    /// # Errors
    /// [`FileError::Exists`]; [`FileError::Unsafe`] where another account could change a directory on the way;
    /// [`FileError::Io`].
    pub fn create(path: impl AsRef<Path>) -> Result<Self, FileError> {
        let identity = Self::generate();
        disk::write_new(path.as_ref(), identity.to_text().as_bytes(), Audience::Owner)?;
        Ok(identity)
    }

    /// Reads the identity in `path`.
    ///
    /// # Errors
    /// [`FileError::Missing`]; [`FileError::Unsafe`] for a symbolic link, a file that is not ours or open to others, or
    /// a directory above it that another account could change; [`FileError::NotIdentity`] and [`FileError::Damaged`]
    /// for what cannot be read.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, FileError> {
        let path = path.as_ref();
        Self::from_text(path, &disk::read_secret(path, KEY_FILE_BYTES_MAX)?)
    }

    /// Reads the identity in `path`, or makes one where there is none. Of several processes that do so at once, all get
    /// the same.
    ///
    /// # Errors
    /// Those of [`read`](Self::read) and [`create`](Self::create).
    pub fn read_or_create(path: impl AsRef<Path>) -> Result<Self, FileError> {
        let path = path.as_ref();
        match Self::read(path) {
            Err(FileError::Missing { .. }) => match Self::create(path) {
                Err(FileError::Exists { .. }) => Self::read(path),
                created => created,
            },
            read => read,
        }
    }

    fn to_text(&self) -> Zeroizing<String> {
        let seed = self.seed();
        let public = self.public_key();
        // Room for all of it, so that growing leaves no copy behind.
        let mut text = Zeroizing::new(String::with_capacity(KEY_FILE_BYTES_MAX));
        text.push_str(FIRST_LINE);
        text.push('\n');
        text.push_str(WARNING);
        text.push_str("\nseed ");
        let mut seed_text = Zeroizing::new([0; SEED_CHARS]);
        BASE32_NOPAD.encode_mut(&*seed, &mut *seed_text);
        seed_text.make_ascii_lowercase();
        text.push_str(std::str::from_utf8(&*seed_text).expect("base32 is ASCII"));
        text.push_str("\npublic ");
        text.push_str(&public.to_string());
        text.push('\n');
        text
    }

    /// Total: any bytes give an identity or an error, without a copy of what they hold being left in memory.
    fn from_text(path: &Path, contents: &[u8]) -> Result<Self, FileError> {
        let mut lines = contents.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii).enumerate();
        if lines.next().is_none_or(|(_, first)| first != FIRST_LINE.as_bytes()) {
            return Err(FileError::NotIdentity { path: path.into() });
        }
        let damaged = |line: usize, why| FileError::Damaged { path: path.into(), line, why };
        let (mut seed, mut public) = (None, None);
        let mut last = 1;
        for (index, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with(b"#")) {
            last = index + 1;
            let bad = |why| damaged(last, why);
            if let Some(text) = line.strip_prefix(b"seed ") {
                let bytes = decode(text).ok_or_else(|| bad("the seed is not 52 characters of base32"))?;
                if seed.replace(bytes).is_some() {
                    return Err(bad("there is a second seed"));
                }
            } else if let Some(text) = line.strip_prefix(b"public ") {
                let bytes = decode(text).ok_or_else(|| bad("the public key is not 52 characters of base32"))?;
                if public.replace(bytes).is_some() {
                    return Err(bad("there is a second public key"));
                }
            } else {
                return Err(bad("neither `seed` nor `public` stands there"));
            }
        }
        let seed = seed.ok_or_else(|| damaged(last, "the seed is missing"))?;
        let public = public.ok_or_else(|| damaged(last, "the public key is missing"))?;
        let identity = Self::from_seed(&seed);
        if identity.public_key().as_bytes() != &*public {
            return Err(damaged(last, "the public key is not that of the seed"));
        }
        Ok(identity)
    }
}

impl PublicKey {
    /// Writes the key to `path` (by custom `NAME.pub`) as one line that can stand in an allowlist, in place of what is
    /// there. `name` says whose it is.
    ///
    /// # Errors
    /// [`FileError::Line`] for a name that an allowlist does not take; [`FileError::Io`].
    pub fn write(&self, path: impl AsRef<Path>, name: &str) -> Result<(), FileError> {
        let path = path.as_ref();
        disk::replace(path, key_line(path, &(*self).into(), name)?.as_bytes(), Audience::All)
    }

    /// Reads the one Ed25519 key in `path`, as [`write`](Self::write) left it.
    ///
    /// # Errors
    /// [`FileError::Missing`]; [`FileError::Key`] and [`FileError::Line`] for what is not a single key.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, FileError> {
        let path = path.as_ref();
        match parse_single_key(path, &disk::read(path, KEY_FILE_BYTES_MAX)?)? {
            (_, PeerKey::Ed25519(key)) => Ok(key),
            (line, PeerKey::Curve(_)) => Err(FileError::Line {
                path: path.into(),
                line,
                why: "this is a CURVE key; name the file of an Ed25519 key".to_owned(),
            }),
        }
    }
}

/// The 32 bytes in 52 characters of base32 of either case.
fn decode(text: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    const ENCODING: Encoding = BASE32_NOPAD;
    let mut upper = Zeroizing::new(<[u8; SEED_CHARS]>::try_from(text).ok()?);
    upper.make_ascii_uppercase();
    let mut bytes = Zeroizing::new([0; 32]);
    if ENCODING.decode_mut(&*upper, &mut *bytes).is_err() {
        bytes.zeroize();
        return None;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests;
