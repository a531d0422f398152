//! A connection of the `mem` transport: two flows of blocks under one lock, and the wakers of those who wait.
//!
//! Rules without IO: every call changes the state and returns who is to be woken; only [`Link`] itself wakes, after it
//! let go of the lock.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::task::Waker;

use tokio::time::Instant;

use super::faults::{Fate, Faults, Weather};
use super::place::{Place, lock};
use crate::{Block, Error, Lane, LaneSet, Limits, Result};

/// Which end: 0 connected, 1 accepted. `flows[side]` is what that side sends.
pub(super) type Side = usize;

/// A connection.
pub(super) struct Link {
    place: Arc<Place>,
    number: u64,
    state: Mutex<State>,
}

struct State {
    flows: [Flow; 2],
    stalled: LaneSet,
    /// Why the connection was lost, if it was.
    lost: Option<&'static str>,
}

/// One direction.
struct Flow {
    lanes: Vec<Queue>,
    lane_count: u8,
    blocks: u64,
    bytes: usize,
    limits: Limits,
    /// The sender said that nothing comes after what is queued.
    closed: bool,
    /// Both halves of the sending end are gone.
    sender_gone: bool,
    /// Both halves of the receiving end are gone, and with them what they had not read.
    reader_gone: bool,
    unread: bool,
    weather: Weather,
    sender: Option<Waker>,
    reader: Option<Waker>,
    /// Counts what a waiting reader has to look at again.
    changes: u64,
}

#[derive(Default)]
struct Queue {
    parcels: VecDeque<Parcel>,
    bytes: usize,
    last_not_before: Option<Instant>,
}

struct Parcel {
    number: u64,
    block: Block,
    not_before: Option<Instant>,
}

/// What a receiver finds.
pub(super) enum Found {
    /// The next block.
    Block(Lane, Block),
    /// The end, in order.
    End,
    /// Nothing before this time, or before `changes` moves on.
    Later(Instant, u64),
    /// Nothing yet.
    Nothing,
}

impl Link {
    pub(super) fn new(
        place: &Arc<Place>,
        number: u64,
        faults: &Faults,
        stalled: LaneSet,
        limits: [&Limits; 2],
    ) -> Arc<Self> {
        let flow = |side: Side| Flow::new(limits[side].clone(), Weather::new(faults, number, side));
        let state = State { flows: [flow(0), flow(1)], stalled, lost: None };
        Arc::new(Self { place: Arc::clone(place), number, state: Mutex::new(state) })
    }

    /// The connection's name for logs.
    pub(super) fn address(&self) -> String {
        format!("mem://{}#{}", self.place.name(), self.number)
    }

    /// Runs `act` under the lock; then wakes everybody, since each of them looks again by itself.
    fn change<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let mut state = lock(&self.state);
        let result = act(&mut state);
        let wakers = state.flows.each_mut().map(|flow| {
            flow.changes += 1;
            [flow.sender.take(), flow.reader.take()]
        });
        drop(state);
        wakers.into_iter().flatten().flatten().for_each(Waker::wake);
        result
    }

    pub(super) fn is_over(&self) -> bool {
        let state = lock(&self.state);
        state.lost.is_some() || state.flows.iter().any(|flow| flow.sender_gone)
    }

    /// Loses the connection: nothing that waits is delivered.
    pub(super) fn cut(&self, why: &'static str) {
        self.change(|state| state.cut(why));
    }

    pub(super) fn set_stalled(&self, lanes: LaneSet) {
        self.change(|state| state.stalled = lanes);
    }

    pub(super) fn set_faults(&self, faults: &Faults) {
        self.change(|state| {
            for (side, flow) in state.flows.iter_mut().enumerate() {
                flow.weather = Weather::new(faults, self.number, side);
            }
        });
    }

    pub(super) fn open_lanes(&self, side: Side, count: u8) {
        lock(&self.state).flows[side].lane_count = count;
    }

    /// Takes `block` if its lane has room.
    pub(super) fn push(&self, side: Side, lane: Lane, block: &mut Block) -> Result<bool> {
        let mut state = lock(&self.state);
        state.may_send(side, || self.address())?;
        let flow = &mut state.flows[side];
        if block.is_empty() || block.len() > flow.limits.block_bytes_max {
            return Err(Error::BlockSize { bytes: block.len(), max: flow.limits.block_bytes_max });
        }
        flow.agreed(lane)?;
        if !flow.has_room(lane) {
            return Ok(false);
        }
        let block = block.take();
        let Fate::Arrives(not_before) = flow.weather.judge() else {
            drop(state);
            self.cut("it was cut");
            return Ok(true);
        };
        flow.push(lane, block, not_before);
        let reader = flow.reader.take();
        drop(state);
        reader.into_iter().for_each(Waker::wake);
        Ok(true)
    }

    /// Which lanes of `wanted` have room; `waker` is woken when that may have changed.
    pub(super) fn room(&self, side: Side, wanted: LaneSet, waker: &Waker) -> Result<LaneSet> {
        let mut state = lock(&self.state);
        state.may_send(side, || self.address())?;
        let flow = &mut state.flows[side];
        let mut room = LaneSet::EMPTY;
        for lane in wanted.iter() {
            flow.agreed(lane)?;
            if flow.has_room(lane) {
                room.insert(lane);
            }
        }
        flow.sender = Some(waker.clone());
        Ok(room)
    }

    /// Whether this side may still send.
    pub(super) fn may_send(&self, side: Side) -> Result<()> {
        lock(&self.state).may_send(side, || self.address())
    }

    /// Says that nothing follows.
    pub(super) fn finish(&self, side: Side) {
        self.change(|state| state.flows[side].closed = true);
    }

    /// Whether the peer has read all that this side sent; `waker` is woken when that may have changed.
    pub(super) fn is_read(&self, side: Side, waker: &Waker) -> Result<bool> {
        let mut state = lock(&self.state);
        let lost = state.lost;
        let flow = &mut state.flows[side];
        if let Some(why) = lost.or(flow.unread.then_some("the peer left before it had read everything")) {
            return Err(Error::Lost { peer: self.address(), why: why.to_owned() });
        }
        flow.sender = Some(waker.clone());
        Ok(flow.bytes == 0)
    }

    /// The next block for this side; `waker` is woken when there may be one.
    pub(super) fn pull(&self, side: Side, waker: &Waker) -> Result<Found> {
        let mut state = lock(&self.state);
        let found = state.pull(side, || self.address())?;
        match found {
            Found::Block(..) => {
                let sender = state.flows[1 - side].sender.take();
                drop(state);
                sender.into_iter().for_each(Waker::wake);
            }
            Found::Nothing | Found::Later(..) => state.flows[1 - side].reader = Some(waker.clone()),
            Found::End => {}
        }
        Ok(found)
    }

    /// Whether something has changed for the reader since it saw `changes`; if not, `waker` is woken when it does.
    pub(super) fn has_changed(&self, side: Side, changes: u64, waker: &Waker) -> bool {
        let mut state = lock(&self.state);
        let flow = &mut state.flows[1 - side];
        flow.reader = Some(waker.clone());
        flow.changes != changes
    }

    /// Both halves of this side are gone.
    pub(super) fn leave(&self, side: Side) {
        self.change(|state| {
            state.flows[side].sender_gone = true;
            let inward = &mut state.flows[1 - side];
            inward.reader_gone = true;
            inward.unread = inward.bytes > 0;
            inward.clear();
        });
    }
}

impl State {
    fn cut(&mut self, why: &'static str) {
        self.lost.get_or_insert(why);
        self.flows.iter_mut().for_each(Flow::clear);
    }

    fn may_send(&self, side: Side, address: impl FnOnce() -> String) -> Result<()> {
        let (flow, inward) = (&self.flows[side], &self.flows[1 - side]);
        if flow.closed {
            return Err(Error::Closed);
        }
        let gone = flow.reader_gone.then_some("the peer is gone");
        let why = self.lost.or(inward.closed.then_some("the peer closed it")).or(gone);
        why.map_or(Ok(()), |why| Err(Error::Lost { peer: address(), why: why.to_owned() }))
    }

    fn pull(&mut self, side: Side, address: impl Fn() -> String) -> Result<Found> {
        let lost = |why: &str| Error::Lost { peer: address(), why: why.to_owned() };
        if let Some(why) = self.lost {
            return Err(lost(why));
        }
        let [out, inward] = self.flows.get_disjoint_mut([side, 1 - side]).expect("two sides");
        let max = out.limits.block_bytes_max;
        let found = inward.pull(self.stalled);
        match found {
            Found::Block(_, block) if block.len() > max => {
                self.cut("it sent a block above the limit");
                let why = format!("it sent a block of {} bytes, {max} are allowed", block.len());
                Err(Error::Protocol { peer: address(), why })
            }
            Found::Nothing if inward.bytes == 0 => match (inward.closed, inward.sender_gone) {
                (true, _) => Ok(Found::End),
                // We closed it, and the peer went without another word: that is in order.
                (false, true) if out.closed => Ok(Found::End),
                (false, true) => Err(lost("the peer is gone")),
                (false, false) => Ok(Found::Nothing),
            },
            found => Ok(found),
        }
    }
}

impl Flow {
    fn new(limits: Limits, weather: Weather) -> Self {
        Self {
            lanes: Vec::new(),
            lane_count: 1,
            blocks: 0,
            bytes: 0,
            limits,
            closed: false,
            sender_gone: false,
            reader_gone: false,
            unread: false,
            weather,
            sender: None,
            reader: None,
            changes: 0,
        }
    }

    fn agreed(&self, lane: Lane) -> Result<()> {
        if lane.0 < self.lane_count { Ok(()) } else { Err(Error::UnknownLane { lane, count: self.lane_count }) }
    }

    /// Room means room for the largest block, whatever the next one's size: so `ready` never says yes to a block that
    /// `try_send` then refuses. Each lane has an equal share of the bound; where that share is smaller than a block, an
    /// empty lane takes one block as long as the bound as a whole allows it.
    fn has_room(&self, lane: Lane) -> bool {
        let queued = self.lanes.get(usize::from(lane.0)).map_or(0, |queue| queue.bytes);
        let block = self.limits.block_bytes_max;
        let bound = self.limits.queue_bytes_max.max(block);
        let share = bound / usize::from(self.lane_count.max(1));
        self.bytes + block <= bound && (queued == 0 || queued + block <= share)
    }

    fn push(&mut self, lane: Lane, block: Block, not_before: Option<Instant>) {
        let index = usize::from(lane.0);
        if self.lanes.len() <= index {
            self.lanes.resize_with(index + 1, Queue::default);
        }
        let queue = &mut self.lanes[index];
        let not_before = not_before.max(queue.last_not_before);
        queue.last_not_before = not_before;
        queue.bytes += block.len();
        self.bytes += block.len();
        self.blocks += 1;
        self.changes += 1;
        queue.parcels.push_back(Parcel { number: self.blocks, block, not_before });
    }

    fn pull(&mut self, stalled: LaneSet) -> Found {
        let (ripe, soonest) = self.ripe(stalled);
        if ripe.is_empty() {
            return soonest.map_or(Found::Nothing, |time| Found::Later(time, self.changes));
        }
        let oldest = || ripe.iter().min_by_key(|lane| self.lanes[usize::from(lane.0)].parcels[0].number);
        let lane = self.weather.choose(ripe).or_else(oldest).expect("a lane is ripe");
        let queue = &mut self.lanes[usize::from(lane.0)];
        let parcel = queue.parcels.pop_front().expect("a ripe lane has a block");
        queue.bytes -= parcel.block.len();
        self.bytes -= parcel.block.len();
        Found::Block(lane, parcel.block)
    }

    /// The lanes whose first block may be given out now, and when the first of the others may.
    fn ripe(&self, stalled: LaneSet) -> (LaneSet, Option<Instant>) {
        let (mut ripe, mut soonest, mut now) = (LaneSet::EMPTY, None::<Instant>, None);
        for (index, queue) in self.lanes.iter().enumerate() {
            let lane = Lane(index as u8);
            let Some(first) = queue.parcels.front().filter(|_| !stalled.contains(lane)) else { continue };
            match first.not_before {
                Some(time) if time > *now.get_or_insert_with(Instant::now) => {
                    soonest = Some(soonest.map_or(time, |soonest| soonest.min(time)));
                }
                _ => ripe.insert(lane),
            }
        }
        (ripe, soonest)
    }

    fn clear(&mut self) {
        self.lanes.clear();
        self.bytes = 0;
    }
}
