//! Tasks that have ended and are still known: outcomes that can be fetched, and dead letters.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use foldhash::HashMap;

use super::Spec;
use super::task::stored_bytes;
use crate::{Ending, Moment, Outcome, TaskId};

#[derive(Clone, Debug)]
pub(super) struct Kept {
    /// An outcome's has no payload any more.
    pub(super) spec: Arc<Spec>,
    pub(super) sequence: u64,
    pub(super) number: u32,
    pub(super) spent: u32,
    pub(super) detached: bool,
    /// Who submitted it has the outcome.
    pub(super) released: bool,
    pub(super) outcome: Arc<Outcome>,
    pub(super) at: Moment,
    pub(super) until: Moment,
}

impl Kept {
    fn bytes(&self) -> u64 {
        (self.spec.payload.len() + self.outcome.body.len()) as u64
    }

    fn stored_bytes(&self) -> u64 {
        let told = match &self.outcome.ending {
            Ending::Failed { code, message, .. } => code.len() + message.len(),
            _ => 0,
        };
        stored_bytes(&self.spec) + (self.outcome.body.len() + told) as u64
    }
}

/// In the order in which they ended: the place of each is the moment of its end, which no other one has.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    kept: HashMap<TaskId, (u64, Kept)>,
    order: BTreeMap<u64, TaskId>,
    /// When each goes, by its place.
    goes: BTreeSet<(Moment, u64)>,
    bytes: u64,
    stored_bytes: u64,
}

impl Shelf {
    pub(super) fn put(&mut self, kept: Kept) {
        let task = kept.spec.id;
        self.take(task);
        let mut place = kept.at.0;
        while self.order.contains_key(&place) {
            place += 1;
        }
        self.bytes += kept.bytes();
        self.stored_bytes += kept.stored_bytes();
        self.order.insert(place, task);
        self.goes.insert((kept.until, place));
        self.kept.insert(task, (place, kept));
    }

    pub(super) fn take(&mut self, task: TaskId) -> Option<Kept> {
        let (place, kept) = self.kept.remove(&task)?;
        self.order.remove(&place);
        self.goes.remove(&(kept.until, place));
        self.bytes -= kept.bytes();
        self.stored_bytes -= kept.stored_bytes();
        Some(kept)
    }

    pub(super) fn get(&self, task: TaskId) -> Option<&Kept> {
        self.kept.get(&task).map(|(_, kept)| kept)
    }

    /// It is kept until then.
    pub(super) fn keep_until(&mut self, task: TaskId, until: Moment) {
        let Some((place, kept)) = self.kept.get_mut(&task) else { return };
        self.goes.remove(&(kept.until, *place));
        kept.until = until;
        self.goes.insert((until, *place));
    }

    /// For changing anything but what takes room, and until when it is kept.
    pub(super) fn get_mut(&mut self, task: TaskId) -> Option<&mut Kept> {
        self.kept.get_mut(&task).map(|(_, kept)| kept)
    }

    /// The one that goes first, and when.
    pub(super) fn first_to_go(&self) -> Option<(Moment, TaskId)> {
        let (until, place) = self.goes.first()?;
        Some((*until, *self.order.get(place)?))
    }

    pub(super) fn oldest(&self) -> Option<TaskId> {
        self.order.first_key_value().map(|(_, task)| *task)
    }

    pub(super) fn behind(&self, after: Option<u64>) -> impl Iterator<Item = (u64, &Kept)> {
        let from = after.map_or(0, |after| after.saturating_add(1));
        self.order.range(from..).filter_map(|(place, task)| Some((*place, &self.kept.get(task)?.1)))
    }

    pub(super) fn len(&self) -> u64 {
        self.kept.len() as u64
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn stored_bytes(&self) -> u64 {
        self.stored_bytes
    }
}
