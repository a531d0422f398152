//! A peer's secret: one Ed25519 seed. Never printed; wiped from memory when dropped.

use std::fmt;

use ed25519_dalek::SigningKey;
use zeroize::Zeroizing;

use crate::key::PublicKey;

/// An Ed25519 key pair: who we are, on every transport.
pub struct Identity {
    signing: SigningKey,
    public: PublicKey,
}

impl Identity {
    /// A new identity from the operating system's random numbers.
    ///
    /// # Panics
    /// If the operating system has no random numbers to give; nothing safe can be done then.
    pub fn generate() -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed).expect("the operating system gives random numbers");
        Self::from_seed(&seed)
    }

    /// The identity of this seed (RFC 8032, section 5.1.5).
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let signing = SigningKey::from_bytes(seed);
        let public =
            PublicKey::from_bytes(signing.verifying_key().to_bytes()).expect("a generated key is on the curve");
        Self { signing, public }
    }

    /// The public key: what others list and pin.
    pub fn public_key(&self) -> PublicKey {
        self.public
    }

    /// The seed, for writing it to its file.
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.signing.to_bytes())
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.public.fingerprint())
    }
}
