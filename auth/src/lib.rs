//! Who is who, and who gets in.
//!
//! Every peer has one Ed25519 [`Identity`].
//! A transport proves it in its own way (CURVE, TLS) and asks one question, [`Admit::admit`], before it hands a
//! connection on.

mod key;
pub use key::{Fingerprint, KeyError, PeerKey, PublicKey};
mod identity;
pub use identity::Identity;
mod admit;
pub use admit::{Admit, AdmitEveryone, Candidate, Claim, Refusal};
