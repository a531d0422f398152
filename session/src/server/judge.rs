//! The one task that watches the policy: when it has changed, every session is judged anew, and those whose key is no
//! longer admitted end.
//!
//! Invariant: a session is entered before its key is asked for, and a policy is in force before sessions are listed, so
//! that each session meets each policy in one of the two places.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{MissedTickBehavior, interval};

use super::Core;
use crate::access::revoked;
use crate::cbor::to_cbor;
use crate::hello::verb;
use crate::record::{Header, SESSION};
use crate::sessions::{ServerSession, over};

/// How often it looks. With the grace below, and as long again for the transport, a revoked key is out within a second.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long a peer whose key was revoked has to hear so, and its transport to close: once each.
pub(super) const GRACE: Duration = Duration::from_millis(250);
/// Sessions judged before others on the same thread get a turn.
const SESSIONS_PER_TURN: usize = 64;

/// Watches for ever.
pub(super) async fn watch(core: &Core, mut judged: u64) {
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        core.access.refresh();
        let generation = core.access.generation();
        if generation != judged {
            judged = generation;
            judge(core).await;
        }
    }
}

async fn judge(core: &Core) {
    let sessions = core.sessions().all();
    for (index, session) in sessions.iter().enumerate() {
        if core.access.admits(session.key.as_ref()) {
            session.lock().attachments.iter_mut().for_each(|(_, attachment)| attachment.judge());
        } else {
            revoke(core, session);
        }
        if (index + 1).is_multiple_of(SESSIONS_PER_TURN) {
            tokio::task::yield_now().await;
        }
    }
}

/// Ends a session at once: nothing of it is taken in any more, and nobody can resume it. Its peer, if it is there, hears
/// why, and has [`GRACE`] to read that.
pub(super) fn revoke(core: &Core, session: &Arc<ServerSession>) {
    let mut inner = session.lock();
    let attachments = inner.end();
    let link = inner.link.clone();
    drop(inner);
    drop(core.sessions().remove(session.id));
    over(attachments); // Outside the locks: they clean up.
    let header = Header { service: SESSION, verb: verb::GOODBYE, ..Header::default() };
    link.pack().push_on_all(header, &Bytes::from(to_cbor(&revoked(link.peer()))));
    link.outbox().close();
    link.revoke();
    let who = core.access.who(link.peer());
    tracing::warn!(target: "sinew::audit", peer = %link.peer().address, who, session = ?session.id, "revoked");
}
