//! Connects the key-value store with the bus of the same server: every change is published as `$KV.<bucket>.<key>`, the
//! value as payload. Neither knows the other.

use std::sync::{Arc, OnceLock, Weak};

use sinew_bus::{Headers, ReservedPublisher};
use sinew_kvstore::{Change, Copies, Engine, KvLimits, Removal, Revision};
use sinew_session::{KV_SUBJECTS, Pattern, ResourceName, Subject};

/// Copies of changes on their way to the bus.
#[derive(Debug)]
struct ToBus(ReservedPublisher);

/// The key-value store, with its changes told on this bus.
pub(super) fn store(bus: &sinew_bus::Broker, engine: Arc<dyn Engine>, limits: KvLimits) -> Arc<sinew_kvstore::Broker> {
    let store: Arc<OnceLock<Weak<sinew_kvstore::Broker>>> = Arc::default();
    let told = store.clone();
    let publisher = bus.reserved_publisher(Arc::new(move |pattern: &Pattern| {
        if let Some(store) = told.get().and_then(Weak::upgrade) {
            store.listened(pattern);
        }
    }));
    let broker = Arc::new(sinew_kvstore::Broker::with_copies(engine, limits, Arc::new(ToBus(publisher))));
    store.set(Arc::downgrade(&broker)).expect("set here alone");
    broker
}

fn subject(name: String) -> Subject {
    // A bucket is one token, a key a subject, and both together are shorter than a subject may be.
    Subject::try_from(name).expect("tokens joined by dots")
}

impl Copies for ToBus {
    fn is_wanted(&self, bucket: &ResourceName) -> bool {
        self.0.is_heard_below(&subject(format!("{KV_SUBJECTS}{bucket}")))
    }

    fn tell(&self, bucket: &ResourceName, change: &Revision) {
        let subject = subject(format!("{KV_SUBJECTS}{bucket}.{}", change.key));
        let (value, headers) = match &change.change {
            Change::Put { value, .. } => (&value[..], headers(change.revision, "put", None)),
            Change::Gone(removal) => {
                let reason = match removal {
                    Removal::Deleted => "deleted",
                    Removal::Purged => "purged",
                    Removal::Expired => "expired",
                };
                (&[][..], headers(change.revision, "gone", Some(reason)))
            }
        };
        self.0.publish(&subject, &headers, value);
    }
}

fn headers(revision: u64, change: &str, reason: Option<&str>) -> Headers {
    let all = [("revision", revision.to_string()), ("change", change.to_owned())];
    let reason = reason.map(|reason| ("reason", reason.to_owned()));
    all.into_iter()
        .chain(reason)
        .fold(Headers::default(), |headers, (name, value)| headers.with(name, value).expect("three short ones"))
}
