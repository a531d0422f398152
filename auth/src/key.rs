//! Public keys, their textual forms and their fingerprints. Secrets are in `identity.rs`.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE32_NOPAD, BASE64_NOPAD};
use sha2::{Digest, Sha256};

use crate::z85::{z85_decode, z85_encode};

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

/// Characters of an Ed25519 public key in base32.
const PUBLIC_KEY_CHARS: usize = 52;

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
        if text.len() != PUBLIC_KEY_CHARS {
            return Err(KeyError::text(text));
        }
        let bytes = BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes()).map_err(|_| KeyError::text(text))?;
        Self::from_bytes(bytes.try_into().map_err(|_| KeyError::text(text))?)
    }
}

/// The key a peer was admitted under.
///
/// Its text is `ed25519:` and 52 characters of base32, or `curve:` and 40 characters of Z85. Reading takes an Ed25519
/// key without its prefix as well, so that every text a person may list is read by one parser.
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

impl From<PublicKey> for PeerKey {
    fn from(key: PublicKey) -> Self {
        Self::Ed25519(key)
    }
}

impl fmt::Display for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ed25519(key) => write!(f, "ed25519:{key}"),
            Self::Curve(key) => write!(f, "curve:{}", z85_encode(key)),
        }
    }
}

impl FromStr for PeerKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        if let Some(key) = text.strip_prefix("curve:") {
            return Ok(Self::Curve(z85_decode(key)?));
        }
        Ok(Self::Ed25519(text.strip_prefix("ed25519:").unwrap_or(text).parse()?))
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
    /// Not the textual form of a CURVE key.
    #[error("`{text}` is not a CURVE key: expected the 40 characters of Z85 that ZeroMQ tools print")]
    CurveText {
        /// What was read, cut to 80 characters.
        text: String,
    },
    /// 32 bytes that are no usable Ed25519 key.
    #[error("the 32 bytes are no Ed25519 public key; copy it again as `sinew keys show` prints it")]
    NotOnCurve,
    /// It cannot be listed beside a key that it could be mistaken for.
    #[error("another listed key has the same CURVE form; remove that one first")]
    SameCurveKey,
}

impl KeyError {
    fn text(text: &str) -> Self {
        Self::Text { text: shown(text) }
    }

    pub(crate) fn curve_text(text: &str) -> Self {
        Self::CurveText { text: shown(text) }
    }
}

/// What an error shows of a text that could not be read: 80 characters, control characters escaped, since it may come
/// from a stranger and go to a terminal.
fn shown(text: &str) -> String {
    text.chars().take(80).flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::identity::Identity;

    #[test]
    fn text_forms() {
        let key = Identity::from_seed(&[1; 32]).public_key();
        let text = key.to_string();
        assert_eq!(text.len(), PUBLIC_KEY_CHARS);
        assert_eq!(text.parse::<PublicKey>().unwrap(), key);
        assert_eq!(text.to_uppercase().parse::<PublicKey>().unwrap(), key);
        assert_eq!(text.parse::<PeerKey>().unwrap(), key.into());
        assert_eq!(format!("ed25519:{text}"), PeerKey::from(key).to_string());
    }

    #[test]
    fn refuses_what_is_no_key() {
        let weak = BASE32_NOPAD.encode(&[0; 32]);
        assert_eq!(weak.parse::<PublicKey>(), Err(KeyError::NotOnCurve));
        let identity_point = {
            let mut bytes = [0; 32];
            bytes[0] = 1;
            bytes
        };
        assert_eq!(PublicKey::from_bytes(identity_point), Err(KeyError::NotOnCurve));
        for text in ["", "curve:", "ed25519:", "ed25519:abc", "curve:ab", &"a".repeat(10_000), "tls:abc"] {
            assert!(text.parse::<PeerKey>().is_err(), "{text}");
        }
        // The last character carries one bit of the key and four that must be zero.
        let text = Identity::from_seed(&[1; 32]).public_key().to_string();
        let last = if text.ends_with('a') { 'b' } else { 'r' };
        assert!(format!("{}{last}", &text[..51]).parse::<PublicKey>().is_err());
    }

    #[test]
    fn errors_are_short_and_printable() {
        let error = "\x1b[2J".repeat(1_000).parse::<PublicKey>().unwrap_err().to_string();
        assert!(error.len() < 700 && !error.contains('\x1b'), "{error}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn any_text_is_a_key_or_an_error(text in "\\PC{0,70}|[a-z2-7]{52}|curve:[0-9a-zA-Z.<>#$-]{40}") {
            if let Ok(key) = text.parse::<PeerKey>() {
                prop_assert_eq!(key.to_string().parse::<PeerKey>().unwrap(), key);
            }
        }

        #[test]
        fn any_bytes_are_a_key_or_an_error(bytes: [u8; 32]) {
            if let Ok(key) = PublicKey::from_bytes(bytes) {
                prop_assert_eq!(key.to_string().parse::<PublicKey>().unwrap(), key);
                key.to_curve();
            }
            prop_assert_eq!(PeerKey::Curve(bytes).to_string().parse::<PeerKey>().unwrap(), PeerKey::Curve(bytes));
        }
    }
}
