//! Watching a bucket: what there is, then what changes, or what changes alone, without a seam and through cuts.

use std::sync::Arc;

use bytes::Bytes;
use sinew_session::{Header, Pattern, Request, Restore, Session, to_cbor};

use super::{CALL, KvBucket};
use crate::protocol::{Grant, SERVICE, Unwatch, Watched, error_of, verb};
use crate::watch::Inbox;
use crate::{Error, Result, Watch};

/// Where a watch begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WatchFrom {
    /// With every key that there is, then what changes.
    #[default]
    Snapshot,
    /// With what is acknowledged from now on.
    Now,
    /// With the change of this revision: what follows the last one that was seen is one more.
    Revision(u64),
}

/// How a bucket is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchOptions {
    /// Where it begins. Default: with what there is.
    pub from: WatchFrom,
    /// Bytes that the server sends ahead of what was consumed. They wait in this process. Default 4 MiB.
    pub window_bytes: usize,
    /// Without values: empty ones instead. Default: no.
    pub keys_only: bool,
    /// Where changes that it needs are not kept any more, it begins anew with what there is, and says so by
    /// [`Restarted`](crate::WatchEvent::Restarted), instead of ending with `Compacted`. Default: no.
    pub restarts: bool,
}

impl Default for WatchOptions {
    fn default() -> Self {
        Self { from: WatchFrom::default(), window_bytes: 4 << 20, keys_only: false, restarts: false }
    }
}

impl KvBucket {
    /// Watches the keys that a pattern stands for. Resolves when it stands: what is acknowledged from then on is told. One
    /// round trip. After a cut, or a restart of the server, it goes on by itself: nothing is missed, doubled or out of order.
    ///
    /// # Errors
    /// `UnknownBucket`; `Denied` unless all keys of the pattern may be read; `Compacted` where changes from that revision on
    /// are not all kept; `Limit`; `Session` if the server cannot be asked.
    pub async fn watch(&self, keys: &Pattern, from: WatchFrom) -> Result<Watch> {
        self.watch_with(keys, WatchOptions { from, ..WatchOptions::default() }).await
    }

    /// The same with options.
    ///
    /// # Errors
    /// As [`watch`](Self::watch).
    pub async fn watch_with(&self, keys: &Pattern, options: WatchOptions) -> Result<Watch> {
        let session = &self.kv.session;
        let opened = session.open_stream(|number| {
            let inbox = Inbox::new(number, session.downgrade(), self.name.clone(), keys.clone(), options.clone());
            let inbox = Arc::new(inbox);
            self.kv.shared.watches.enter(number, &inbox);
            let request = Request::new(SERVICE, verb::WATCH, self.lane(), to_cbor(&inbox.first_ask()), CALL);
            let watch = Watch::new(self.clone(), inbox.clone());
            (watch, request, move |watched: &Watched| inbox.confirm(watched))
        });
        opened.await.map_err(error_of)
    }

    /// Ends a watch without waiting. What a cut swallows of it the server ends by itself.
    pub(crate) fn unwatch(&self, inbox: &Inbox) {
        if self.kv.shared.watches.leave(inbox.number) {
            let body = to_cbor(&Unwatch { number: inbox.number });
            self.kv.session.cast(Request::new(SERVICE, verb::UNWATCH, self.lane(), body, CALL), |_| ());
        }
    }

    /// Gives credit back.
    pub(crate) fn grant(&self, inbox: &Inbox, bytes: u64) {
        let header = Header { service: SERVICE, verb: verb::GRANT, flags: 0, call: inbox.number };
        let head = Grant { bytes, standing: inbox.now_standing() }.encode();
        let mut packer = self.kv.session.outbox().pack();
        let lane = packer.lane(self.lane());
        packer.push(lane, header, &[&head], &Bytes::new());
    }
}

/// Asks for a watch anew on the same connection: it has ended there, because changes that it needs are not kept any more.
pub(crate) fn ask_again(inbox: &Arc<Inbox>, session: &Session) {
    let body = to_cbor(&inbox.ask());
    let request = Request::new(SERVICE, verb::WATCH, inbox.bucket.as_str().as_bytes(), body, CALL);
    let again = inbox.clone();
    session.cast(Request { number: Some(inbox.number), ..request }, move |reply| {
        again.asked_again();
        settle(&again, reply.and_then(|reply| reply.read::<Watched>()));
    });
}

/// After a cut: goes on where it was.
pub(super) fn restore(inbox: &Arc<Inbox>, restore: &mut Restore<'_>) {
    let Some(ask) = inbox.standing() else { return };
    let request = Request::new(SERVICE, verb::WATCH, inbox.bucket.as_str().as_bytes(), to_cbor(&ask), CALL);
    let again = inbox.clone();
    restore.call(Request { number: Some(inbox.number), ..request }, move |reply| {
        settle(&again, reply.and_then(|reply| reply.read::<Watched>()));
    });
}

fn settle(inbox: &Arc<Inbox>, reply: sinew_session::Result<Watched>) {
    match reply {
        Ok(watched) => inbox.confirm(&watched),
        // Cut again: the next restore asks again. Any other word of the server is its last.
        Err(error) if error.is_retryable() => {}
        Err(error) => match error_of(error) {
            error @ Error::Compacted { .. } => inbox.compacted(error),
            error => inbox.end(error),
        },
    }
}
