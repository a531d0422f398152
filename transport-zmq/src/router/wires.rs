//! The sockets behind a listener's peers, from libzmq's `accept` to its `close`, as the monitor tells of them: how many
//! wait for admission, and which are to be ended. Rules without IO; the router carries them out.
//!
//! libzmq can disconnect nobody, so it is done underneath: by `shutdown` on the descriptor. Descriptors are used again,
//! so the whole question is which connection a number stands for. What is known:
//! 1. For each connection libzmq tells of one `accept` and one `close`, the latter before it closes the descriptor. A
//!    number is not given out again before. So for each number those two come in pairs, in either order within a pair,
//!    because different threads of libzmq tell of them.
//! 2. A message carries its connection's number, and may be read when that has been closed and the number stands for
//!    another. For as long as that is possible (`DOUBT`) after a connection that nobody had claimed, a claim waits.
//!
//! **Invariant:** a [`WireId`] names one connection, for ever. Whoever ends one holds a copy of its descriptor first, and
//! then asks, with everything read that the monitor had to tell, whether it is still [there](Wires::is_there).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::RawFd;
use std::time::Duration;

use sinew_transport_api::{Crowd, CrowdPlace, Limits};
use tokio::time::Instant;

/// How long after the end of a connection a message of it may still be read. libzmq hands messages over microseconds
/// after it told of the end, and the router reads all there is before it waits.
const DOUBT: Duration = Duration::from_secs(1);
/// Beyond the time for libzmq's handshake and for the hello after it.
const GRACE: Duration = Duration::from_secs(2);

/// Names one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct WireId {
    pub(super) descriptor: RawFd,
    serial: u64,
}

/// What a message's number says about where it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// From this one.
    Sure(WireId),
    /// From this one, if its peer is still there at that time.
    Later(WireId, Instant),
    /// From one that is gone.
    Nobody,
}

pub(super) struct Wires {
    by_descriptor: HashMap<RawFd, Wire>,
    serial: u64,
    /// Numbers whose `close` was told before the `accept`.
    early: HashSet<RawFd>,
    /// Until when a message with this number may be of one that ended unclaimed. As many as there are descriptors.
    doubtful: HashMap<RawFd, Instant>,
    /// Who waits for admission.
    crowd: Crowd,
    by_place: HashMap<CrowdPlace, WireId>,
    /// Which is to be ended when.
    due: BTreeMap<(Instant, u64), RawFd>,
    patience: Duration,
}

struct Wire {
    serial: u64,
    address: Option<SocketAddr>,
    place: Option<CrowdPlace>,
    claimed: bool,
    due: Option<Instant>,
}

impl Wires {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            by_descriptor: HashMap::new(),
            serial: 0,
            early: HashSet::new(),
            doubtful: HashMap::new(),
            crowd: Crowd::new(limits),
            by_place: HashMap::new(),
            due: BTreeMap::new(),
            patience: limits.handshake_timeout.min(Duration::from_secs(86_400)) * 2 + GRACE,
        }
    }

    /// libzmq took a connection. Gives who has to go for it.
    pub(super) fn accepted(
        &mut self,
        descriptor: RawFd,
        address: Option<SocketAddr>,
        now: Instant,
    ) -> Option<(WireId, Option<IpAddr>)> {
        if self.early.remove(&descriptor) {
            return None;
        }
        self.serial += 1;
        let id = WireId { descriptor, serial: self.serial };
        let (place, evicted) = self.crowd.enter(address.map(|address| address.ip()));
        self.by_place.insert(place, id);
        let wire = Wire { serial: id.serial, address, place: Some(place), claimed: false, due: None };
        self.by_descriptor.insert(descriptor, wire);
        self.end_at(id, now + self.patience);
        let evicted = evicted.and_then(|place| self.by_place.remove(&place))?;
        let wire = self.get(evicted)?;
        wire.place = None;
        let address = wire.address.map(|address| address.ip().to_canonical());
        Some((evicted, address))
    }

    /// libzmq is about to close a connection.
    pub(super) fn closed(&mut self, descriptor: RawFd, now: Instant) {
        let Some(wire) = self.by_descriptor.remove(&descriptor) else {
            self.early.insert(descriptor);
            return;
        };
        if let Some(due) = wire.due {
            self.due.remove(&(due, wire.serial));
        }
        if !wire.claimed {
            self.doubtful.insert(descriptor, now + DOUBT);
        }
        self.wait_no_more(wire.place);
    }

    /// Which connection a peer's first message came by. That one waits for admission no more.
    pub(super) fn claim(&mut self, descriptor: RawFd, now: Instant) -> Claim {
        let Some(wire) = self.by_descriptor.get_mut(&descriptor) else { return Claim::Nobody };
        let id = WireId { descriptor, serial: wire.serial };
        let place = wire.place.take();
        if wire.claimed {
            return Claim::Nobody;
        }
        let doubt = self.doubtful.get(&descriptor).copied().filter(|until| *until > now);
        self.wait_no_more(place);
        match doubt {
            Some(until) => Claim::Later(id, until),
            None => {
                self.claim_surely(id);
                Claim::Sure(id)
            }
        }
    }

    /// The doubt is over and the peer is still there: it is this connection's.
    pub(super) fn claim_surely(&mut self, id: WireId) -> bool {
        let Some(wire) = self.get(id).filter(|wire| !wire.claimed) else { return false };
        wire.claimed = true;
        if let Some(due) = wire.due.take() {
            self.due.remove(&(due, id.serial));
        }
        true
    }

    /// It is to be ended at `due`, unless that was to be sooner.
    pub(super) fn end_at(&mut self, id: WireId, due: Instant) {
        let Some(wire) = self.get(id) else { return };
        let before = wire.due;
        if before.is_some_and(|before| before <= due) {
            return;
        }
        wire.due = Some(due);
        if let Some(before) = before {
            self.due.remove(&(before, id.serial));
        }
        self.due.insert((due, id.serial), id.descriptor);
    }

    /// When the next one is to be ended.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first_key_value().map(|((due, _), _)| *due)
    }

    /// One that is to be ended by now.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<WireId> {
        let entry = self.due.first_entry().filter(|entry| entry.key().0 <= now)?;
        let ((_, serial), descriptor) = entry.remove_entry();
        let id = WireId { descriptor, serial };
        self.get(id).into_iter().for_each(|wire| wire.due = None);
        Some(id)
    }

    /// Whether libzmq has told of its beginning and not of its end.
    pub(super) fn is_there(&self, id: WireId) -> bool {
        self.by_descriptor.get(&id.descriptor).is_some_and(|wire| wire.serial == id.serial)
    }

    /// Where it comes from, with the port.
    pub(super) fn address(&self, id: WireId) -> Option<SocketAddr> {
        self.by_descriptor.get(&id.descriptor).filter(|wire| wire.serial == id.serial)?.address
    }

    fn get(&mut self, id: WireId) -> Option<&mut Wire> {
        self.by_descriptor.get_mut(&id.descriptor).filter(|wire| wire.serial == id.serial)
    }

    fn wait_no_more(&mut self, place: Option<CrowdPlace>) {
        if let Some(place) = place {
            self.crowd.leave(place);
            self.by_place.remove(&place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scene {
        wires: Wires,
        now: Instant,
    }

    impl Scene {
        fn new(pending_max: usize) -> Self {
            let limits = Limits { pending_max, handshake_timeout: Duration::from_secs(3), ..Limits::default() };
            Self { wires: Wires::new(&limits), now: Instant::now() }
        }

        fn accepted(&mut self, descriptor: RawFd, port: u16) -> Option<WireId> {
            let address = SocketAddr::from(([10, 0, 0, 1], port));
            self.wires.accepted(descriptor, Some(address), self.now).map(|(gone, _)| gone)
        }

        fn claim(&mut self, descriptor: RawFd) -> Claim {
            self.wires.claim(descriptor, self.now)
        }

        fn sure(&mut self, descriptor: RawFd) -> WireId {
            match self.claim(descriptor) {
                Claim::Sure(id) => id,
                other => panic!("{other:?}"),
            }
        }

        fn closed(&mut self, descriptor: RawFd) {
            self.wires.closed(descriptor, self.now);
        }

        fn wait(&mut self, seconds: u64) -> Vec<RawFd> {
            self.now += Duration::from_secs(seconds);
            std::iter::from_fn(|| self.wires.take_due(self.now)).map(|id| id.descriptor).collect()
        }
    }

    #[test]
    fn a_number_that_is_used_again_names_another_connection() {
        let mut scene = Scene::new(10);
        scene.accepted(7, 1);
        let first = scene.sure(7);
        scene.closed(7);
        scene.accepted(7, 2);
        let second = scene.sure(7);
        assert!(first != second && !scene.wires.is_there(first) && scene.wires.is_there(second));
        assert_eq!(scene.wires.address(second).map(|address| address.port()), Some(2));
        assert_eq!(scene.wires.address(first), None);
        scene.wires.end_at(first, scene.now);
        assert_eq!(scene.wait(100), []);
    }

    #[test]
    fn an_end_that_is_told_before_the_beginning_is_still_an_end() {
        let mut scene = Scene::new(10);
        scene.closed(7);
        assert_eq!(scene.accepted(7, 1), None);
        assert_eq!(scene.claim(7), Claim::Nobody);
        scene.accepted(7, 2);
        scene.sure(7);
        assert!(scene.wires.early.is_empty());
    }

    #[test]
    fn a_claim_waits_while_the_message_may_be_of_the_one_before() {
        let mut scene = Scene::new(10);
        scene.accepted(7, 1);
        scene.closed(7);
        scene.accepted(7, 2);
        let Claim::Later(id, until) = scene.claim(7) else { panic!("a sure claim") };
        assert!(until > scene.now && scene.wires.crowd.is_empty());
        assert!(scene.wires.claim_surely(id) && !scene.wires.claim_surely(id), "once");
        assert_eq!(scene.claim(7), Claim::Nobody);
        scene.closed(7);
        scene.accepted(7, 3);
        scene.wait(1);
        scene.sure(7);
    }

    #[test]
    fn who_says_nothing_is_ended() {
        let mut scene = Scene::new(10);
        scene.accepted(7, 1);
        scene.accepted(8, 2);
        scene.sure(8);
        assert_eq!(scene.wait(7), []);
        assert_eq!(scene.wait(1), [7]);
        assert_eq!(scene.wait(100), []);
    }

    #[test]
    fn the_sooner_of_two_ends_counts() {
        let mut scene = Scene::new(10);
        scene.accepted(7, 1);
        let id = scene.sure(7);
        let at = |scene: &Scene, seconds| scene.now + Duration::from_secs(seconds);
        scene.wires.end_at(id, at(&scene, 5));
        scene.wires.end_at(id, at(&scene, 9));
        scene.wires.end_at(id, at(&scene, 1));
        assert_eq!(scene.wires.due.len(), 1);
        assert_eq!((scene.wait(1), scene.wait(100)), (vec![7], vec![]));
    }

    #[test]
    fn one_too_many_costs_the_one_that_waits_longest() {
        let mut scene = Scene::new(2);
        assert_eq!((scene.accepted(1, 1), scene.accepted(2, 2)), (None, None));
        scene.sure(1);
        assert_eq!(scene.accepted(3, 3), None);
        assert_eq!(scene.accepted(4, 4).map(|id| id.descriptor), Some(2));
        // It is ended once, and libzmq tells of that later.
        assert_eq!(scene.accepted(5, 5).map(|id| id.descriptor), Some(3));
        scene.closed(2);
        scene.closed(3);
        assert_eq!((scene.wires.crowd.len(), scene.wires.by_place.len()), (2, 2));
    }

    #[test]
    fn nothing_is_left_of_those_who_went() {
        let mut scene = Scene::new(4);
        for number in 0..100 {
            scene.accepted(number % 7, 1);
            if number % 3 == 0 {
                scene.claim(number % 7);
            }
            scene.closed(number % 7);
        }
        let wires = &scene.wires;
        assert!(wires.by_descriptor.is_empty() && wires.due.is_empty() && wires.doubtful.len() <= 7);
        assert!(wires.by_place.is_empty() && wires.crowd.is_empty() && wires.early.is_empty());
    }
}
