//! What can go wrong with the files of keys and lists. Errors of a single key are in `key.rs`.

use std::io;
use std::path::PathBuf;

use crate::key::KeyError;

/// A key file or an allowlist that cannot be used, named for what its owner can do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// It is not there.
    #[error("there is no {}; make it first, or name the one that is there", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// It is there already, and was left alone.
    #[error("{} exists already and was left as it is; choose another name or move it away", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Others could read or swap it, or it is no plain file.
    #[error("{} {why}", path.display())]
    Unsafe {
        /// The file, or the directory above it.
        path: PathBuf,
        /// What is wrong and what to do.
        why: &'static str,
    },
    /// It is larger than any such file has reason to be.
    #[error("{} has more than {bytes_max} bytes; it is not the file it should be, or must be split", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit in bytes.
        bytes_max: usize,
    },
    /// It does not begin as an identity file does, or a newer version wrote it.
    #[error("{} is no identity file of version 1; name the right file, or use the program that wrote it", path.display())]
    NotIdentity {
        /// The file.
        path: PathBuf,
    },
    /// An identity file that was cut or changed.
    #[error("{}, line {line}: {why}; the file was cut or changed: restore it from a copy", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it. Never says what stands there: it may be the secret.
        why: &'static str,
    },
    /// A line of an allowlist or public key file with something that is no key.
    #[error("{}, line {line}: bad key", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with the key.
        #[source]
        cause: KeyError,
    },
    /// A line of an allowlist that cannot be read for another reason.
    #[error("{}, line {line}: {why}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong and what is expected.
        why: String,
    },
    /// Two listed keys that are one and the same to a CURVE peer.
    #[error(
        "{}, line {line} and {}, line {first_line} list two keys with the same CURVE form; remove one of them",
        path.display(), first_path.display()
    )]
    SameCurveKey {
        /// The file of the later line.
        path: PathBuf,
        /// The later line.
        line: usize,
        /// The file of the earlier line.
        first_path: PathBuf,
        /// The earlier line.
        first_line: usize,
    },
    /// There are more lines, or more files, than a list may have.
    #[error("{} takes the allowlist above {max} {what}; split it among listeners, or remove what is old", path.display())]
    TooMany {
        /// The file or directory that goes beyond the limit.
        path: PathBuf,
        /// What there is too much of: `lines`, `files`.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// The operating system said no.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
}
