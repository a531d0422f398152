//! Who is who, and who gets in.
//!
//! Every peer has one Ed25519 [`Identity`], in a file that only it can read. Others list its public key, one line of
//! text, in an [`Allowlist`]. A transport proves the identity in its own way (CURVE, TLS) and asks one question,
//! [`Admit::admit`], before it hands a connection on. So one key file and one allowlist line serve every transport.
//!
//! ```
//! use sinew_auth::{Admit, Allowlist, Candidate, Claim, Identity, PeerKey, Refusal};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let home = tempfile::tempdir()?;
//! # let home = home.path();
//! // At the client, once: a key of its own.
//! let client = Identity::read_or_create(home.join("client/identity"))?;
//! println!("my key is {}", client.public_key());
//!
//! // At the server: the key goes on the list.
//! let list = home.join("server/allowlist");
//! Allowlist::append(&list, &client.public_key().into(), "the thermometer on the roof")?;
//! let allowlist = Allowlist::open([&list])?;
//!
//! // What a transport asks after a TLS handshake, and after a CURVE handshake of the same client.
//! let ask = |claim| allowlist.admit(&Candidate { claim, address: None, scheme: "test" });
//! let listed = Some(PeerKey::Ed25519(client.public_key()));
//! assert_eq!(ask(Claim::Ed25519(client.public_key())), Ok(listed));
//! assert_eq!(ask(Claim::Curve(client.public_key().to_curve())), Ok(listed));
//!
//! // A stranger is told which key was refused, and what to do.
//! let stranger = Identity::generate();
//! let refusal = ask(Claim::Ed25519(stranger.public_key())).unwrap_err();
//! assert_eq!(refusal, Refusal::UnknownKey { fingerprint: stranger.public_key().fingerprint() });
//! # Ok(())
//! # }
//! ```
//!
//! What a peer may do once it is in, a server asks of [`Authorize`]: [`Policy`] answers from a TOML file with roles,
//! where deny wins and what nothing allows is denied. [`Operation`] lists what can be asked, [`Decision`] says what an
//! answer rests on.
//!
//! ```
//! # use sinew_auth::{Authorize, Identity, Operation, Policy, PolicyFiles, Resource};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let home = tempfile::tempdir()?;
//! # let thermometer = Identity::generate().public_key();
//! let file = home.path().join("policy.toml");
//! std::fs::write(&file, "version = 1\n[roles.sensor]\nallow = [\"bus.publish sensors.>\"]\n")?;
//! Policy::give_roles(&file, &thermometer.into(), "thermometer", &["sensor".into()])?;
//! let policy = Policy::open(PolicyFiles { policy: file, ..PolicyFiles::default() })?;
//! let decide = |subject| policy.decide(Some(&thermometer.into()), Operation::BusPublish, Resource::Name(subject));
//! assert!(decide("sensors.roof").is_allowed());
//! assert!(decide("lamps.roof").to_string().starts_with("denied: no rule of role `sensor` allows it"));
//! # Ok(())
//! # }
//! ```
//!
//! Features, so that a transport brings only its own: `curve` (the CURVE pair of an identity and ZAP, ZeroMQ RFC 26 and
//! 27) and `tls` (rustls configuration with raw public keys, TLS 1.3 only). Neither is on by default.

mod key;
pub use key::{Fingerprint, KeyError, PeerKey, PublicKey};
mod z85;
pub use z85::{z85_decode, z85_encode};
mod identity;
pub use identity::Identity;
mod admit;
pub use admit::{Admit, AdmitEveryone, Candidate, Claim, Refusal};
mod allowlist;
pub use allowlist::{ALLOWLIST_BYTES_MAX, ALLOWLIST_FILES_MAX, ALLOWLIST_LINES_MAX, AdmitListed, Allowlist};
mod operation;
pub use operation::{Operation, ResourceKind, UnknownOperation};
mod authorize;
pub use authorize::{Authorize, AuthorizeEverything, Decision, Resource};
mod policy;
pub use policy::{
    ListedBy, ListedPeer, POLICY_BYTES_MAX, POLICY_PEER_ROLES_MAX, POLICY_PEERS_MAX, POLICY_ROLES_MAX,
    POLICY_RULES_MAX, Policy, PolicyFiles,
};
mod files;
pub use files::KEY_FILE_BYTES_MAX;
mod disk;
mod error;
pub use error::FileError;

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
