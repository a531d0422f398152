//! Who may do what at this server: asks the policy, tells the peer, and writes the audit log.

use std::sync::Arc;

use sinew_auth::{Authorize, Decision, Operation, PeerKey, Resource};
use sinew_transport_api::Peer;

use crate::audit::Gate;
use crate::carry::now;
use crate::hello::{Failure, Refusal};

/// What all connections of a server share of this.
#[derive(Debug)]
pub(crate) struct Access {
    authorize: Arc<dyn Authorize>,
    gate: Gate,
}

/// Characters of a resource that a failure repeats; the peer knows what it asked for.
const RESOURCE_CHARS_MAX: usize = 128;

impl Access {
    pub(crate) fn new(authorize: Arc<dyn Authorize>) -> Self {
        Self { authorize, gate: Gate::of_server() }
    }

    pub(crate) fn admits(&self, who: Option<&PeerKey>) -> bool {
        self.authorize.admits(who)
    }

    pub(crate) fn generation(&self) -> u64 {
        self.authorize.generation()
    }

    /// Looks whether the policy has changed, and says what the audit log still owes.
    pub(crate) fn refresh(&self) {
        self.authorize.refresh();
        if let Some(unsaid) = self.gate.quiet(now()) {
            tracing::warn!(target: "sinew::audit", unsaid, "more denials and refusals than are written here");
        }
    }

    /// Decides, and audits a denial. `gate` is the connection's.
    pub(crate) fn decide(
        &self,
        peer: &Peer,
        gate: &Gate,
        operation: Operation,
        resource: Resource<'_>,
    ) -> Result<(), Failure> {
        match self.authorize.decide(peer.key.as_ref(), operation, resource) {
            Decision::Allowed { .. } => Ok(()),
            Decision::Denied { because, next } => {
                match gate.pass(now()) {
                    Some(unsaid) if self.gate.pass(now()).is_some() => {
                        tracing::warn!(target: "sinew::audit", peer = %peer.address, who = self.who(peer), %operation,
                            resource = ?resource.to_string(), %because, unsaid, "denied");
                    }
                    Some(unsaid) => gate.owe(unsaid),
                    None => {}
                }
                Err(denied(peer, operation, resource, &because, &next))
            }
        }
    }

    /// Decides, and tells nobody.
    pub(crate) fn permits(&self, peer: &Peer, operation: Operation, resource: Resource<'_>) -> bool {
        self.authorize.decide(peer.key.as_ref(), operation, resource).is_allowed()
    }

    /// Decides about some name within a pattern, and tells nobody.
    pub(crate) fn permits_some(&self, peer: &Peer, operation: Operation, pattern: &str) -> bool {
        self.authorize.permits_some(peer.key.as_ref(), operation, pattern)
    }

    /// A connection has ended: how many of its denials were not written.
    pub(crate) fn ended(&self, peer: &Peer, gate: &Gate) {
        let unsaid = gate.rest();
        if unsaid > 0 && self.gate.pass(now()).is_some() {
            tracing::warn!(target: "sinew::audit", peer = %peer.address, who = self.who(peer), unsaid, "denied more often than written here");
        }
    }

    /// A transport did not let a peer in, or it was not let go on.
    pub(crate) fn refused(&self, at: &dyn std::fmt::Display, why: &dyn std::fmt::Display) {
        if self.gate.pass(now()).is_some() {
            tracing::warn!(target: "sinew::audit", at = %at, %why, "peer not admitted");
        }
    }

    /// Fingerprint and name of a peer.
    pub(crate) fn who(&self, peer: &Peer) -> String {
        let Some(key) = &peer.key else { return "anonymous".to_owned() };
        match self.authorize.name(key) {
            Some(name) => format!("{} ({})", key.fingerprint(), name.escape_debug()),
            None => key.fingerprint().to_string(),
        }
    }
}

fn denied(peer: &Peer, operation: Operation, resource: Resource<'_>, because: &str, next: &str) -> Failure {
    let who = peer.key.map_or_else(|| "an anonymous peer".to_owned(), |key| format!("key {}", key.fingerprint()));
    let whole = resource.to_string();
    let shown: String = whole.chars().take(RESOURCE_CHARS_MAX).collect();
    let more = if shown.len() < whole.len() { "…" } else { "" };
    let kind = operation.kind();
    Failure::new("denied", format!("{who} may not {operation} on the {kind} `{shown}{more}`: {because}; {next}"))
}

/// What a peer is told whose key is no longer admitted.
pub(crate) fn revoked(peer: &Peer) -> Refusal {
    let (reason, next) = match &peer.key {
        Some(key) => (
            format!("key {} was revoked, or is not listed any more", key.fingerprint()),
            "ask who runs the server to list it again: `sinew auth allow KEY`".to_owned(),
        ),
        None => ("anonymous peers are not admitted any more".to_owned(), "connect with an identity".to_owned()),
    };
    Refusal { reason, next, retry: false }
}
