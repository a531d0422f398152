//! The table of a router's peers: by place, and by the routing id that libzmq gave each.

use std::collections::{HashMap, VecDeque};
use std::ops::{Index, IndexMut};
use std::sync::Arc;

use tokio::time::Instant;

use super::wires::WireId;
use crate::link::{Link, Outgoing};
use crate::message::Message;

/// A peer, from libzmq's notice that it came to the notice that it went.
pub(super) struct Peer {
    pub(super) id: Box<[u8]>,
    pub(super) stage: Stage,
    /// Taken out of the link, not yet sent.
    pub(super) out: VecDeque<Outgoing>,
    /// The message that did not fit.
    pub(super) message: Option<Message>,
    /// Its connection, once it is known.
    pub(super) wire: Option<WireId>,
    /// Bytes that came after its end.
    pub(super) ignored: usize,
    pub(super) serial: u64,
}

/// How far it is.
pub(super) enum Stage {
    /// Its hello has not come.
    Knocking,
    /// Admitted.
    Live(Arc<Link>),
    /// Refused, cut off or left: nothing of it is taken in.
    Ended,
}

#[derive(Default)]
pub(super) struct Peers {
    places: Vec<Option<Peer>>,
    free: Vec<usize>,
    by_id: HashMap<Box<[u8]>, usize>,
    live: usize,
    /// When each hello is due, in order; those that came are skipped.
    deadlines: VecDeque<(Instant, usize, u64)>,
    serial: u64,
}

impl Peers {
    pub(super) fn insert(&mut self, id: &[u8], hello_due: Instant) -> usize {
        self.serial += 1;
        let (id, serial): (Box<[u8]>, _) = (id.into(), self.serial);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        let (stage, out) = (Stage::Knocking, VecDeque::new());
        self.places[slot] = Some(Peer { id: id.clone(), stage, out, message: None, wire: None, ignored: 0, serial });
        self.by_id.insert(id, slot);
        self.deadlines.push_back((hello_due, slot, serial));
        slot
    }

    pub(super) fn find(&self, id: &[u8]) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    pub(super) fn get(&mut self, slot: usize) -> Option<&mut Peer> {
        self.places.get_mut(slot)?.as_mut()
    }

    pub(super) fn go_live(&mut self, slot: usize, link: Arc<Link>) {
        self.change(slot, Stage::Live(link));
    }

    pub(super) fn end(&mut self, slot: usize) {
        self.change(slot, Stage::Ended);
    }

    /// Takes it out; gives the stage it was in.
    pub(super) fn remove(&mut self, slot: usize) -> Stage {
        let stage = self.change(slot, Stage::Ended);
        if let Some(peer) = self.places[slot].take() {
            self.by_id.remove(&peer.id);
            self.free.push(slot);
        }
        stage
    }

    fn change(&mut self, slot: usize, stage: Stage) -> Stage {
        let lives = |stage: &Stage| usize::from(matches!(stage, Stage::Live(_)));
        let live = lives(&stage);
        let before = std::mem::replace(&mut self[slot].stage, stage);
        self.live = self.live + live - lives(&before);
        before
    }

    /// How many are connections.
    pub(super) fn live(&self) -> usize {
        self.live
    }

    /// When the next hello is due.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.front().map(|(due, ..)| *due)
    }

    /// One whose hello did not come in time.
    pub(super) fn late(&mut self, now: Instant) -> Option<usize> {
        while let Some((due, slot, serial)) = self.deadlines.front().copied() {
            let peer = self.places.get(slot).and_then(Option::as_ref);
            let waits = peer.is_some_and(|peer| peer.serial == serial && matches!(peer.stage, Stage::Knocking));
            if waits && due > now {
                return None;
            }
            self.deadlines.pop_front();
            if waits {
                return Some(slot);
            }
        }
        None
    }

    pub(super) fn links(&self) -> impl Iterator<Item = &Arc<Link>> {
        self.places.iter().flatten().filter_map(|peer| match &peer.stage {
            Stage::Live(link) => Some(link),
            _ => None,
        })
    }
}

impl Index<usize> for Peers {
    type Output = Peer;

    fn index(&self, slot: usize) -> &Peer {
        self.places[slot].as_ref().expect("the router uses only places it has just found")
    }
}

impl IndexMut<usize> for Peers {
    fn index_mut(&mut self, slot: usize) -> &mut Peer {
        self.places[slot].as_mut().expect("the router uses only places it has just found")
    }
}
