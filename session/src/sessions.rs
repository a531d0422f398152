//! The server's sessions: who is here, who was cut and may come back, what each has sent. Plain state behind one lock.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sinew_auth::PeerKey;

use crate::hello::SessionId;
use crate::service::{Attachment, Link};

/// Flushes of one session that wait for their other lanes: some 64 KiB at most.
pub(crate) const FLUSHES_MAX: usize = 4_096;

/// How far something is that comes behind everything, on each lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Barrier {
    /// Other lanes are missing.
    Waits,
    /// This was the last lane.
    Complete,
    /// Too many wait already.
    TooMany,
}

/// One session at the server.
#[derive(Debug)]
pub(crate) struct ServerSession {
    pub(crate) id: SessionId,
    pub(crate) key: Option<PeerKey>,
    pub(crate) inner: Mutex<Inner>,
}

/// What a session's connection works on. Locked once for each block.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) link: Arc<Link>,
    pub(crate) attachments: Vec<(u8, Box<dyn Attachment>)>,
    /// One-way records taken in since the session began.
    pub(crate) one_way: u64,
    /// By number: on how many lanes it has arrived.
    barriers: HashMap<u32, u8>,
    suspended: bool,
    over: bool,
}

impl ServerSession {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends sessions that are over, for their services to let go of them. To be called with no lock held.
pub(crate) fn let_go(gone: Vec<Arc<ServerSession>>) {
    for session in gone {
        let mut inner = session.lock();
        // One that was taken up again in this moment lives on.
        let attachments = if inner.suspended { inner.end() } else { Vec::new() };
        drop(inner);
        over(attachments);
    }
}

/// The services' sides of a session that is over.
pub(crate) fn over(mut attachments: Vec<(u8, Box<dyn Attachment>)>) {
    attachments.iter_mut().for_each(|(_, attachment)| attachment.over());
}

impl Inner {
    /// Notes that a flush or a goodbye has arrived on one more of its `lanes`.
    pub(crate) fn barrier(&mut self, call: u32, lanes: u8) -> Barrier {
        let seen = self.barriers.get(&call).map_or(1, |seen| seen + 1);
        if seen >= lanes {
            self.barriers.remove(&call);
            return Barrier::Complete;
        }
        if seen == 1 && self.barriers.len() >= FLUSHES_MAX {
            return Barrier::TooMany;
        }
        self.barriers.insert(call, seen);
        Barrier::Waits
    }

    /// Ends the session before its connection: nothing is taken in any more. Gives out the services' sides of it, to be
    /// dropped once no lock is held.
    pub(crate) fn end(&mut self) -> Vec<(u8, Box<dyn Attachment>)> {
        self.over = true;
        std::mem::take(&mut self.attachments)
    }

    /// Whether it was ended.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// The connection is gone.
    pub(crate) fn suspend(&mut self) {
        if !std::mem::replace(&mut self.suspended, true) {
            self.barriers = HashMap::new();
            self.attachments.iter_mut().for_each(|(_, attachment)| attachment.suspend());
        }
    }

    /// A new connection carries the session; what waits in the old one's outbox is given up.
    pub(crate) fn resume(&mut self, link: Arc<Link>) {
        self.suspend();
        self.link.outbox().abandon();
        self.suspended = false;
        self.attachments.iter_mut().for_each(|(_, attachment)| attachment.resume(&link));
        self.link = link;
    }
}

/// All sessions, live and cut.
#[derive(Debug)]
pub(crate) struct Sessions {
    by_id: BTreeMap<SessionId, Arc<ServerSession>>,
    /// Those that were cut, oldest first, with the time until which they are remembered. May name sessions that have
    /// been resumed since.
    cut: VecDeque<(Instant, SessionId)>,
    cut_max: usize,
    window: Duration,
}

impl Sessions {
    pub(crate) fn new(window: Duration, cut_max: usize) -> Self {
        Self { by_id: BTreeMap::new(), cut: VecDeque::new(), cut_max, window }
    }

    /// Enters a new session.
    pub(crate) fn enter(
        &mut self,
        id: SessionId,
        key: Option<PeerKey>,
        link: Arc<Link>,
        attachments: Vec<(u8, Box<dyn Attachment>)>,
    ) -> Arc<ServerSession> {
        let inner = Inner { link, attachments, one_way: 0, barriers: HashMap::new(), suspended: false, over: false };
        let session = Arc::new(ServerSession { id, key, inner: Mutex::new(inner) });
        self.by_id.insert(session.id, session.clone());
        session
    }

    /// The session of this id, if the same key asks for it.
    pub(crate) fn find(&self, id: SessionId, key: Option<PeerKey>) -> Option<Arc<ServerSession>> {
        self.by_id.get(&id).filter(|session| session.key == key).cloned()
    }

    /// A session has lost its connection: it is remembered for the resume window.
    pub(crate) fn cut(&mut self, id: SessionId, now: Instant) -> Vec<Arc<ServerSession>> {
        self.cut.push_back((now + self.window, id));
        self.expire(now)
    }

    /// A session said goodbye.
    pub(crate) fn remove(&mut self, id: SessionId) -> Option<Arc<ServerSession>> {
        self.by_id.remove(&id)
    }

    /// Takes out those whose time is over or that are too many, and not resumed since.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<Arc<ServerSession>> {
        let mut gone = Vec::new();
        while self.cut.len() > self.cut_max || self.cut.front().is_some_and(|(until, _)| *until <= now) {
            let (_, id) = self.cut.pop_front().expect("just seen");
            let again = self.cut.iter().any(|(_, later)| *later == id);
            let suspended = self.by_id.get(&id).is_some_and(|session| session.lock().suspended);
            if suspended && !again {
                gone.extend(self.by_id.remove(&id));
            }
        }
        gone
    }

    /// When the next one's time is over.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.cut.front().map(|(until, _)| *until)
    }

    /// All of them, live and cut.
    pub(crate) fn all(&self) -> Vec<Arc<ServerSession>> {
        self.by_id.values().cloned().collect()
    }

    /// How many sessions there are, live and cut.
    pub(crate) fn count(&self) -> usize {
        self.by_id.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Access;
    use crate::entropy::Entropy;
    use crate::outbox::Outbox;
    use sinew_auth::AuthorizeEverything;
    use sinew_transport_api::Peer;

    fn link(id: u64) -> Arc<Link> {
        let peer = Peer { key: None, scheme: "mem".into(), address: "test".into() };
        let access = Arc::new(Access::new(Arc::new(AuthorizeEverything)));
        Arc::new(Link::new(id, peer, String::new(), false, 1, Outbox::new(1, 1_000, 1_000), access))
    }

    fn key(seed: u8) -> Option<PeerKey> {
        Some(PeerKey::Curve([seed; 32]))
    }

    #[test]
    fn only_the_same_key_finds_a_session() {
        let mut sessions = Sessions::new(Duration::from_secs(60), 10);
        let id = sessions.enter(SessionId::random(&Entropy::default()), key(1), link(1), Vec::new()).id;
        assert!(sessions.find(id, key(1)).is_some());
        assert!(sessions.find(id, key(2)).is_none() && sessions.find(id, None).is_none());
    }

    #[test]
    fn a_cut_session_is_remembered_for_the_window_unless_resumed() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut sessions = Sessions::new(Duration::from_secs(60), 10);
        let (gone, back) = (
            sessions.enter(SessionId::random(&Entropy::default()), key(1), link(1), Vec::new()),
            sessions.enter(SessionId::random(&Entropy::default()), key(1), link(2), Vec::new()),
        );
        gone.lock().suspend();
        back.lock().suspend();
        sessions.cut(gone.id, at(0));
        sessions.cut(back.id, at(0));
        back.lock().resume(link(3));
        assert_eq!(sessions.expire(at(59)).len(), 0);
        assert_eq!(sessions.expire(at(60)).iter().map(|s| s.id).collect::<Vec<_>>(), [gone.id]);
        assert!(sessions.find(back.id, key(1)).is_some());
    }

    #[test]
    fn too_many_cut_sessions_push_the_oldest_out() {
        let now = Instant::now();
        let mut sessions = Sessions::new(Duration::from_secs(60), 2);
        let ids: Vec<_> = (0..3)
            .map(|i| sessions.enter(SessionId::random(&Entropy::default()), key(1), link(i), Vec::new()))
            .collect();
        let mut gone = Vec::new();
        for session in &ids {
            session.lock().suspend();
            gone.extend(sessions.cut(session.id, now));
        }
        assert_eq!(gone.iter().map(|s| s.id).collect::<Vec<_>>(), [ids[0].id]);
        assert_eq!(sessions.count(), 2);
    }

    #[test]
    fn a_flush_is_over_once_it_came_on_every_lane() {
        let mut sessions = Sessions::new(Duration::from_secs(60), 2);
        let session = sessions.enter(SessionId::random(&Entropy::default()), key(1), link(1), Vec::new());
        let mut inner = session.lock();
        let steps = [(5, 3), (6, 2), (5, 3), (5, 3), (6, 2), (7, 1)].map(|(call, lanes)| inner.barrier(call, lanes));
        use Barrier::{Complete, Waits};
        assert_eq!(steps, [Waits, Waits, Waits, Complete, Complete, Complete]);
    }
}
