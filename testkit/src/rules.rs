//! A policy that a test changes while the server runs: everything is allowed but what the test takes away.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard};

use sinew_auth::{Admit, AdmitEveryone, Authorize, Candidate, Decision, Operation, PeerKey, Refusal, Resource};

/// The policy; also who is let in, so that a revoked key stays out.
#[derive(Debug, Default)]
pub struct Rules {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    denied: HashSet<(Operation, String)>,
    revoked: HashSet<PeerKey>,
    generation: u64,
}

impl Rules {
    /// Denies an operation on exactly this name or pattern.
    pub fn deny(&self, operation: Operation, resource: &str) {
        self.change(|state| state.denied.insert((operation, resource.to_owned())));
    }

    /// Takes back a denial.
    pub fn allow(&self, operation: Operation, resource: &str) {
        self.change(|state| state.denied.remove(&(operation, resource.to_owned())));
    }

    /// Lets this key in no more.
    pub fn revoke(&self, key: impl Into<PeerKey>) {
        self.change(|state| state.revoked.insert(key.into()));
    }

    fn change(&self, act: impl FnOnce(&mut State) -> bool) {
        let mut state = self.state();
        act(&mut state);
        state.generation += 1;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while it is held")
    }
}

impl Authorize for Rules {
    fn decide(&self, _who: Option<&PeerKey>, operation: Operation, resource: Resource<'_>) -> Decision {
        if self.state().denied.contains(&(operation, resource.to_string())) {
            return Decision::Denied { because: "the test denies it".into(), next: "let the test allow it".into() };
        }
        Decision::Allowed { because: "the test allows the rest".into() }
    }

    /// Each denial is of one name or one pattern as a whole, so something is always left.
    fn permits_some(&self, _who: Option<&PeerKey>, _operation: Operation, _pattern: &str) -> bool {
        true
    }

    fn admits(&self, who: Option<&PeerKey>) -> bool {
        who.is_none_or(|key| !self.state().revoked.contains(key))
    }

    fn generation(&self) -> u64 {
        self.state().generation
    }
}

impl Admit for Rules {
    fn admit(&self, candidate: &Candidate<'_>) -> Result<Option<PeerKey>, Refusal> {
        let key = AdmitEveryone.admit(candidate)?;
        match key.filter(|key| !self.admits(Some(key))) {
            Some(revoked) => Err(Refusal::UnknownKey { fingerprint: revoked.fingerprint() }),
            None => Ok(key),
        }
    }
}
