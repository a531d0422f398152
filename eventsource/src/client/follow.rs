//! Following a stream: from any place, through what is stored, and on with what is appended, without a seam.

use std::sync::Arc;

use bytes::Bytes;
use sinew_session::{Header, Request, ResourceName, Restore, to_cbor};

use super::{CALL, Log};
use crate::inbox::{Inbox, Standing};
use crate::protocol::{Follow, Followed, Grant, Leave, Position, SERVICE, error_of, verb};
use crate::{Filter, Follower, Result};

/// How a stream is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowOptions {
    /// Which events. Default: all.
    pub filter: Filter,
    /// The first offset that is not wanted any more: it ends there. Default: none.
    pub to: Option<u64>,
    /// Whether it goes on with what is appended later; else it ends where the stream ended when it began. Default: yes.
    pub live: bool,
    /// Bytes that the server sends ahead of what was consumed. They wait in this process. Default 4 MiB.
    pub window_bytes: usize,
}

impl Default for FollowOptions {
    fn default() -> Self {
        Self { filter: Filter::default(), to: None, live: true, window_bytes: 4 << 20 }
    }
}

impl Log {
    /// Follows a stream. Resolves when it stands. One round trip. After a cut it goes on by itself with the next event: no
    /// gap, no event twice.
    ///
    /// # Errors
    /// `UnknownStream`, `OutOfRange`, `Denied`, `Limit`; `Session` if the server cannot be asked.
    pub async fn follow(&self, stream: &ResourceName, from: Position, options: FollowOptions) -> Result<Follower> {
        let opened = self.session.open_stream(|number| {
            let inbox = Arc::new(Inbox::new(number, stream.clone(), options.clone()));
            self.shared.follows.enter(number, &inbox);
            let request = request(number, stream, &wish(&inbox, from, options.to, 0, 0));
            let follower = Follower::new(self.clone(), inbox.clone());
            (follower, request, move |followed: &Followed| inbox.confirm(followed))
        });
        opened.await.map_err(error_of)
    }

    /// Ends a follow without waiting. What a cut swallows of it the server ends by itself.
    pub(crate) fn unfollow(&self, inbox: &Inbox) {
        if self.shared.follows.leave(inbox.number) {
            let body = to_cbor(&Leave { number: inbox.number });
            let request = Request::new(SERVICE, verb::UNFOLLOW, inbox.stream.as_str().as_bytes(), body, CALL);
            self.session.cast(request, |_| ());
        }
    }

    /// Gives credit back.
    pub(crate) fn grant(&self, inbox: &Inbox, bytes: u64) {
        let header = Header { service: SERVICE, verb: verb::GRANT, flags: 0, call: inbox.number };
        let head = Grant { bytes, standing: inbox.now_standing() }.encode();
        let mut packer = self.session.outbox().pack();
        let lane = packer.lane(inbox.stream.as_str().as_bytes());
        packer.push(lane, header, &[&head], &Bytes::new());
    }
}

fn wish(inbox: &Inbox, from: Position, to: Option<u64>, used_bytes: u64, standing: u32) -> Follow {
    let FollowOptions { filter, live, window_bytes, .. } = inbox.options.clone();
    let (stream, window_bytes) = (inbox.stream.to_string(), window_bytes as u64);
    Follow { stream, from, window_bytes, used_bytes, filter, to, live, standing }
}

fn request<'a>(number: u32, stream: &'a ResourceName, ask: &Follow) -> Request<'a> {
    let key = stream.as_str().as_bytes();
    Request { number: Some(number), ..Request::new(SERVICE, verb::FOLLOW, key, to_cbor(ask), CALL) }
}

/// After a cut: goes on where it was.
pub(super) fn restore(inbox: &Arc<Inbox>, restore: &mut Restore<'_>) {
    let Some(Standing { next, to, used_bytes, standing }) = inbox.standing() else { return };
    let again = inbox.clone();
    let ask = wish(inbox, Position::Offset(next), to, used_bytes, standing);
    restore.call(request(inbox.number, &inbox.stream, &ask), move |reply| {
        match reply.and_then(|reply| reply.read::<Followed>()) {
            Ok(followed) => again.confirm(&followed),
            // Cut again: the next restore asks again. Any other word of the server is its last.
            Err(error) if error.is_retryable() => {}
            Err(error) => again.end(Some(error_of(error))),
        }
    });
}
