//! Public keys, their textual forms and their fingerprints. Secrets are in `identity.rs`.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE32_NOPAD, BASE64_NOPAD};
use sha2::{Digest, Sha256};

/// A peer's Ed25519 public key: what an allowlist names and what a URL pins.
///
/// Its text is 52 letters and digits (RFC 4648 base32, lower case, no padding), so that it can stand in a URL, a file
/// name or a DNS record. Reading ignores case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// The key with these bytes.
    ///
    /// # Errors
    /// [`KeyError::NotOnCurve`] if they are no point of Ed25519, or one of small order that proves nothing.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, KeyError> {
        match ed25519_dalek::VerifyingKey::from_bytes(&bytes) {
            Ok(key) if !key.is_weak() => Ok(Self(bytes)),
            _ => Err(KeyError::NotOnCurve),
        }
    }

    /// The 32 bytes of the compressed point (RFC 8032, section 5.1.2).
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A short name for logs and people.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.0)
    }

    /// The X25519 public key that belongs to it by the birational map (RFC 7748, section 4.1): its CURVE key.
    /// A key and its negation share it, so an index by it refuses the second of the two.
    pub fn to_curve(&self) -> [u8; 32] {
        ed25519_dalek::VerifyingKey::from_bytes(&self.0).expect("checked when made").to_montgomery().to_bytes()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE32_NOPAD.encode(&self.0).to_ascii_lowercase())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let bytes = BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes()).map_err(|_| KeyError::text(text))?;
        Self::from_bytes(bytes.try_into().map_err(|_| KeyError::text(text))?)
    }
}

/// The key a peer was admitted under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerKey {
    /// A Sinew identity, whatever the transport.
    Ed25519(PublicKey),
    /// A foreign ZeroMQ peer known only by its CURVE key.
    Curve([u8; 32]),
}

impl PeerKey {
    /// A short name for logs and people.
    pub fn fingerprint(&self) -> Fingerprint {
        match self {
            Self::Ed25519(key) => key.fingerprint(),
            Self::Curve(key) => Fingerprint::of(key),
        }
    }
}

/// SHA-256 of a public key, written as SSH does: `SHA256:` and 43 characters of base64. What people compare.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of a key's 32 bytes.
    pub fn of(key: &[u8; 32]) -> Self {
        Self(Sha256::digest(key).into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SHA256:{}", BASE64_NOPAD.encode(&self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A public key that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Not the textual form of a key.
    #[error("`{text}` is not a public key: expected 52 letters and digits of base32, as `sinew keys show` prints them")]
    Text {
        /// What was read, cut to 80 characters.
        text: String,
    },
    /// 32 bytes that are no usable Ed25519 key.
    #[error("the 32 bytes are no Ed25519 public key; copy it again as `sinew keys show` prints it")]
    NotOnCurve,
}

impl KeyError {
    fn text(text: &str) -> Self {
        Self::Text { text: text.chars().take(80).collect() }
    }
}
