//! Who is who, and who gets in.
//!
//! Every peer has one Ed25519 [`Identity`].
//! A transport proves it in its own way (CURVE, TLS) and asks one question, [`Admit::admit`], before it hands a
//! connection on.

mod key;
pub use key::{Fingerprint, KeyError, PeerKey, PublicKey};
mod z85;
pub use z85::{z85_decode, z85_encode};
mod identity;
pub use identity::Identity;
mod admit;
pub use admit::{Admit, AdmitEveryone, Candidate, Claim, Refusal};

#[cfg(feature = "curve")]
mod curve;
#[cfg(feature = "curve")]
pub use curve::CurveKeys;
#[cfg(feature = "curve")]
mod zap;
#[cfg(feature = "curve")]
pub use zap::{ZapDecision, ZapError, zap_decide};

#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tls")]
pub use tls::{ServerKeyFound, WrongServerKey, tls_open_client_config, tls_open_server_config, tls_peer_key};
