//! Which task goes to which worker: tasks by what they need, workers by what they have.
//!
//! Tasks that need the same tags, and wait or do not wait for a worker to come, are one class; workers with the same tags are
//! one offer. A class knows the offers that satisfy it, so that nothing is compared while tasks are handed out.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use foldhash::HashMap;

use crate::planted::is_planted;
use crate::{TaskId, WorkerId};

/// Different sets of tags that the tasks of a queue need, and that its workers have, at one time: handing out costs a look at
/// each.
pub(crate) const TAG_SETS_MAX: usize = 256;

/// Higher priorities first, then in the order of acceptance.
pub(super) type Rank = (Reverse<u8>, u64);

#[derive(Debug, Default)]
pub(super) struct Matching {
    classes: Vec<Option<Class>>,
    class_ids: HashMap<(Vec<String>, bool), usize>,
    /// Classes in which something waits.
    busy: BTreeSet<usize>,
    offers: Vec<Option<Offer>>,
    offer_ids: HashMap<Vec<String>, usize>,
}

#[derive(Debug)]
struct Class {
    tags: Vec<String>,
    queueing: bool,
    /// Tasks that belong to it, whatever they do.
    tasks: usize,
    waiting: BTreeMap<Rank, TaskId>,
    /// Offers that satisfy it.
    offers: BTreeSet<usize>,
}

#[derive(Debug)]
struct Offer {
    tags: Vec<String>,
    workers: usize,
    /// Of them, those that go on taking tasks, now or later.
    able: usize,
    /// Those that take one now: who was served longest ago first.
    ready: BTreeSet<(u64, WorkerId)>,
}

fn satisfies(has: &[String], needs: &[String]) -> bool {
    needs.iter().all(|tag| has.binary_search(tag).is_ok()) || is_planted("tag ignored")
}

/// Puts it into the first free place.
fn place<T>(places: &mut Vec<Option<T>>, item: T) -> usize {
    let free = places.iter().position(Option::is_none);
    let at = free.unwrap_or(places.len());
    match free {
        Some(at) => places[at] = Some(item),
        None => places.push(Some(item)),
    }
    at
}

impl Matching {
    /// Whether there is a class for tasks like this, or room for one more.
    pub(super) fn has_room(&self, tags: &[String], queueing: bool) -> bool {
        self.class_ids.len() < TAG_SETS_MAX || self.class_ids.contains_key(&(tags.to_vec(), queueing))
    }

    /// The class of tasks like this, with one more task. The tags are in order.
    pub(super) fn enter_class(&mut self, tags: &[String], queueing: bool) -> usize {
        let key = (tags.to_vec(), queueing);
        if let Some(id) = self.class_ids.get(&key).copied() {
            self.class(id).tasks += 1;
            return id;
        }
        let offers = self.offers.iter().enumerate();
        let fitting = offers.filter(|(_, offer)| offer.as_ref().is_some_and(|offer| satisfies(&offer.tags, tags)));
        let offers = fitting.map(|(id, _)| id).collect();
        let class = Class { tags: tags.to_vec(), queueing, tasks: 1, waiting: BTreeMap::new(), offers };
        let id = place(&mut self.classes, class);
        self.class_ids.insert(key, id);
        id
    }

    /// One task less.
    pub(super) fn leave_class(&mut self, id: usize) {
        let class = self.class(id);
        class.tasks -= 1;
        if class.tasks == 0 {
            let class = self.classes[id].take().expect("just seen");
            self.class_ids.remove(&(class.tags, class.queueing));
        }
    }

    fn class(&mut self, id: usize) -> &mut Class {
        self.classes[id].as_mut().expect("a class lives as long as a task belongs to it")
    }

    fn offer(&mut self, id: usize) -> &mut Offer {
        self.offers[id].as_mut().expect("an offer lives as long as a worker belongs to it")
    }

    pub(super) fn wait(&mut self, class: usize, rank: Rank, task: TaskId) {
        self.class(class).waiting.insert(rank, task);
        self.busy.insert(class);
    }

    pub(super) fn wait_no_more(&mut self, class: usize, rank: Rank) {
        let waiting = &mut self.class(class).waiting;
        waiting.remove(&rank);
        if waiting.is_empty() {
            self.busy.remove(&class);
        }
    }

    /// Whether there is an offer of workers like this, or room for one more.
    pub(super) fn has_offer_room(&self, tags: &[String]) -> bool {
        self.offer_ids.len() < TAG_SETS_MAX || self.offer_ids.contains_key(tags)
    }

    /// The offer of workers like this, with one more worker that goes on taking tasks. The tags are in order.
    pub(super) fn enter_offer(&mut self, tags: &[String]) -> usize {
        if let Some(id) = self.offer_ids.get(tags).copied() {
            let offer = self.offer(id);
            (offer.workers, offer.able) = (offer.workers + 1, offer.able + 1);
            return id;
        }
        let id = place(&mut self.offers, Offer { tags: tags.to_vec(), workers: 1, able: 1, ready: BTreeSet::new() });
        self.offer_ids.insert(tags.to_vec(), id);
        for class in self.classes.iter_mut().flatten().filter(|class| satisfies(tags, &class.tags)) {
            class.offers.insert(id);
        }
        id
    }

    /// One worker less, who is not ready.
    pub(super) fn leave_offer(&mut self, id: usize, was_able: bool) {
        let offer = self.offer(id);
        offer.workers -= 1;
        offer.able -= usize::from(was_able);
        if offer.workers == 0 {
            let offer = self.offers[id].take().expect("just seen");
            self.offer_ids.remove(&offer.tags);
            self.classes.iter_mut().flatten().for_each(|class| {
                class.offers.remove(&id);
            });
        }
    }

    /// A worker takes no more tasks from now on.
    pub(super) fn unable(&mut self, id: usize) {
        self.offer(id).able -= 1;
    }

    pub(super) fn ready(&mut self, offer: usize, served: u64, worker: WorkerId) {
        self.offer(offer).ready.insert((served, worker));
    }

    pub(super) fn ready_no_more(&mut self, offer: usize, served: u64, worker: WorkerId) {
        self.offer(offer).ready.remove(&(served, worker));
    }

    /// Whether somebody could do tasks of this class, now or later.
    pub(super) fn is_able(&self, class: usize) -> bool {
        let class = self.classes[class].as_ref().expect("a class lives as long as a task belongs to it");
        class.offers.iter().any(|id| self.offers[*id].as_ref().is_some_and(|offer| offer.able > 0))
    }

    /// The same for tasks of which there is none yet.
    pub(super) fn is_anyone_able(&self, tags: &[String]) -> bool {
        self.offers.iter().flatten().any(|offer| offer.able > 0 && satisfies(&offer.tags, tags))
    }

    /// Tasks that must not wait for a worker to come, and that nobody could do.
    pub(super) fn stranded(&self) -> Vec<TaskId> {
        let busy = self.busy.iter().filter_map(|id| Some((*id, self.classes[*id].as_ref()?)));
        let stranded = busy.filter(|(id, class)| !class.queueing && !self.is_able(*id));
        stranded.flat_map(|(_, class)| class.waiting.values().copied()).collect()
    }

    /// Which task goes to which worker next: the first one that a ready worker can do goes to who was served longest ago.
    pub(super) fn next(&self) -> Option<(TaskId, WorkerId)> {
        let mut best: Option<(Rank, TaskId, WorkerId)> = None;
        for id in &self.busy {
            let class = self.classes[*id].as_ref()?;
            let (rank, task) = class.waiting.first_key_value()?;
            if best.as_ref().is_some_and(|(found, ..)| found < rank) {
                continue;
            }
            let ready = class.offers.iter().filter_map(|id| self.offers[*id].as_ref()?.ready.first());
            if let Some((_, worker)) = ready.min() {
                best = Some((*rank, *task, *worker));
            }
        }
        best.map(|(_, task, worker)| (task, worker))
    }

    /// How many of the same class go before it; so many are counted at most.
    pub(super) fn before(&self, class: usize, rank: Rank, max: usize) -> u64 {
        self.classes[class].as_ref().map_or(0, |class| class.waiting.range(..rank).take(max).count() as u64)
    }

    /// Everything that waits, where it does.
    #[cfg(test)]
    pub(super) fn all_waiting(&self) -> BTreeSet<(usize, Rank, TaskId)> {
        let classes = self.classes.iter().enumerate().filter_map(|(id, class)| Some((id, class.as_ref()?)));
        classes.flat_map(|(id, class)| class.waiting.iter().map(move |(rank, task)| (id, *rank, *task))).collect()
    }

    /// Everybody who is ready, where they are.
    #[cfg(test)]
    pub(super) fn all_ready(&self) -> BTreeSet<(usize, u64, WorkerId)> {
        let offers = self.offers.iter().enumerate().filter_map(|(id, offer)| Some((id, offer.as_ref()?)));
        offers.flat_map(|(id, offer)| offer.ready.iter().map(move |(served, worker)| (id, *served, *worker))).collect()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.class_ids.is_empty()
            && self.offer_ids.is_empty()
            && self.busy.is_empty()
            && self.classes.iter().all(Option::is_none)
            && self.offers.iter().all(Option::is_none)
    }

    /// Tasks that wait and could be done now.
    pub(super) fn waiting(&self) -> u64 {
        self.busy.iter().filter_map(|id| self.classes[*id].as_ref()).map(|class| class.waiting.len() as u64).sum()
    }
}
