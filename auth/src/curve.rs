//! The CURVE key pair (ZeroMQ RFC 26) that belongs to an identity, so that one key serves CURVE and TLS.

use std::fmt;

use ed25519_dalek::SigningKey;
use zeroize::Zeroizing;

use crate::identity::Identity;
use crate::z85::z85_encode;

/// An X25519 key pair for CURVE. Its secret is never printed, and wiped when dropped.
pub struct CurveKeys {
    /// What the other side sees; equal to [`PublicKey::to_curve`](crate::PublicKey::to_curve) of the identity.
    pub public: [u8; 32],
    /// The clamped scalar.
    pub secret: Zeroizing<[u8; 32]>,
}

impl Identity {
    /// The CURVE pair of this identity by the birational map (RFC 7748, section 4.1): the same as libsodium's
    /// `crypto_sign_ed25519_sk_to_curve25519` gives. Costs about as much as one signature.
    pub fn curve_keys(&self) -> CurveKeys {
        let mut secret = Zeroizing::new(SigningKey::from_bytes(&self.seed()).to_scalar_bytes());
        // RFC 7748, section 5, "decodeScalar25519". X25519 does it at each use; done once, the bytes compare equal to
        // those of other programs.
        secret[0] &= 248;
        secret[31] &= 127;
        secret[31] |= 64;
        CurveKeys { public: self.public_key().to_curve(), secret }
    }
}

impl CurveKeys {
    /// The public key as ZeroMQ tools write it: 40 characters of Z85.
    pub fn public_text(&self) -> String {
        z85_encode(&self.public)
    }
}

impl fmt::Debug for CurveKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CurveKeys({})", self.public_text())
    }
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::MontgomeryPoint;
    use proptest::prelude::*;

    use super::*;

    fn hex(text: &str) -> [u8; 32] {
        data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap().try_into().unwrap()
    }

    /// libsodium, test/default/ed25519_convert.
    #[test]
    fn same_as_libsodium() {
        let seed = hex("421151a459faeade3d247115f94aedae42318124095afabe4d1451a559faedee");
        let keys = Identity::from_seed(&seed).curve_keys();
        assert_eq!(keys.public, hex("f1814f0e8ff1043d8a44d25babff3cedcae6c22c3edaa48f857ae70de2baae50"));
        assert_eq!(*keys.secret, hex("8052030376d47112be7f73ed7a019293dd12ad910b654455798b4667d73de166"));
    }

    #[test]
    fn debug_shows_no_secret() {
        let keys = Identity::from_seed(&[7; 32]).curve_keys();
        assert!(!format!("{keys:?}").contains(&z85_encode(&keys.secret)));
    }

    proptest! {
        /// X25519 of the secret with the base point is the public key, so the two halves belong together.
        #[test]
        fn secret_and_public_belong_together(seed: [u8; 32]) {
            let keys = Identity::from_seed(&seed).curve_keys();
            prop_assert_eq!(MontgomeryPoint::mul_base_clamped(*keys.secret).to_bytes(), keys.public);
        }
    }
}
