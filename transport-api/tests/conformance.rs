//! `mem` keeps every promise of the contract, plaintext and secured.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sinew_transport_api::conformance::{Mode, Subject};
use sinew_transport_api::{Endpoint, Mem, Transport};

struct InMemory(Mode);

impl Subject for InMemory {
    fn transport(&self) -> Arc<dyn Transport> {
        Arc::new(Mem::shared())
    }

    fn endpoint(&self) -> Endpoint {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        format!("mem://conformance-{}", NEXT.fetch_add(1, Ordering::Relaxed)).parse().expect("a good endpoint")
    }

    fn mode(&self) -> Mode {
        self.0
    }

    fn slack_bytes(&self) -> usize {
        0
    }
}

sinew_transport_api::conformance!(mod plaintext, InMemory(Mode::Plaintext));
sinew_transport_api::conformance!(mod secured, InMemory(Mode::Identity));
