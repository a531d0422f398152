//! One connection: what waits in each direction, who may send how much, and how it ends. Rules without IO or clock.
//!
//! Two parties share it, each for a moment under a lock: the task that owns the socket (the *owner*), and the two halves
//! that the application holds. Invariants:
//! 1. `spent` is what we sent (or hold) and the peer did not give back; it is below the peer's window plus one block.
//! 2. `held` is the same for what we received; a block that arrives while `held` has reached our window ends the peer.
//! 3. Once `end` is set nothing is taken in any more, in either direction; what had arrived before is still given out.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use bytes::Bytes;
use sinew_transport_api::{Block, Error, Lane, LaneSet, Limits, Result};
use tokio::sync::Notify;

use crate::frames::{BLOCK_OVERHEAD, Frame, Terms, VERSION};

/// A connection, shared by its owner and its halves.
pub(crate) struct Link {
    state: Mutex<State>,
    doorbell: Arc<Doorbell>,
    /// Its place in the owner's table.
    slot: usize,
    peer: String,
}

/// Wakes the owner, and tells it which of its connections want something.
#[derive(Default)]
pub(crate) struct Doorbell {
    pub(crate) rung: Notify,
    wanting: Mutex<Vec<usize>>,
}

/// What the owner is to send.
pub(crate) enum Outgoing {
    Control(Frame),
    Block(Lane, Block),
}

/// What an application's question finds.
pub(crate) enum Answer<T> {
    Now(T),
    /// The waker is kept.
    Wait,
}

struct State {
    // Outward.
    block_bytes_max: usize,
    lane_count: u8,
    waiting: VecDeque<(Lane, Block)>,
    /// The owner has taken things and not yet handed all of them on.
    in_hand: bool,
    peer_window: usize,
    spent: usize,
    outward: Outward,
    // Inward.
    inbox: VecDeque<(Lane, Bytes)>,
    window: usize,
    held: usize,
    to_return: usize,
    inward: Inward,
    // Both.
    end: Option<End>,
    halves: u8,
    /// The owner knows that we want something.
    rung: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outward {
    Open,
    /// Closed here; the goodbye goes after what waits.
    Closing,
    GoodbyeSent,
    /// The peer has read everything.
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Inward {
    Open,
    /// The peer closed; not everything was read.
    Goodbye,
    /// Everything was read; the peer is to be told.
    Read,
    Told,
}

/// Why a peer that floods is ended.
pub(crate) const OVERRUN: &str = "it sent more than the window it was granted";

/// How a connection ended otherwise than in order.
#[derive(Clone, Debug)]
pub(crate) enum End {
    Lost(String),
    Protocol(&'static str),
}

impl Doorbell {
    /// Moves the places that want something to the end of `places`.
    pub(crate) fn take(&self, places: &mut Vec<usize>) {
        places.append(&mut lock(&self.wanting));
    }

    fn ring(&self, slot: usize) {
        lock(&self.wanting).push(slot);
        self.rung.notify_one();
    }
}

/// The terms that we offer under `limits`.
pub(crate) fn terms(limits: &Limits, encrypted: bool) -> Terms {
    let number = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
    // One block more than the window can be under way, so that together they are `queue_bytes_max`.
    let window = limits.queue_bytes_max.saturating_sub(limits.block_bytes_max).max(1);
    Terms { version: VERSION, encrypted, block_bytes_max: number(limits.block_bytes_max), window: number(window) }
}

impl Link {
    pub(crate) fn new(
        limits: &Limits,
        ours: Terms,
        theirs: Terms,
        peer: String,
        doorbell: Arc<Doorbell>,
        slot: usize,
    ) -> Arc<Self> {
        let state = State {
            block_bytes_max: limits.block_bytes_max,
            lane_count: 1,
            waiting: VecDeque::new(),
            in_hand: false,
            peer_window: theirs.window as usize,
            spent: 0,
            outward: Outward::Open,
            inbox: VecDeque::new(),
            window: ours.window as usize,
            held: 0,
            to_return: 0,
            inward: Inward::Open,
            end: None,
            halves: 2,
            rung: false,
            reader: None,
            writer: None,
        };
        Arc::new(Self { state: Mutex::new(state), doorbell, slot, peer })
    }

    pub(crate) fn peer(&self) -> &str {
        &self.peer
    }

    // What the halves ask.

    pub(crate) fn open_lanes(&self, count: u8) -> Result<()> {
        if count == 0 || count > Lane::COUNT_MAX {
            return Err(Error::UnknownLane { lane: Lane(count), count: Lane::COUNT_MAX });
        }
        lock(&self.state).lane_count = count;
        Ok(())
    }

    /// Takes `block` if there is room.
    pub(crate) fn push(&self, lane: Lane, block: &mut Block) -> Result<bool> {
        let mut state = lock(&self.state);
        self.may_send(&state)?;
        let (bytes, max) = (block.len(), state.block_bytes_max);
        if bytes == 0 || bytes > max {
            return Err(Error::BlockSize { bytes, max });
        }
        state.agreed(lane)?;
        if !state.has_room() {
            return Ok(false);
        }
        state.spent += bytes + BLOCK_OVERHEAD;
        state.waiting.push_back((lane, block.take()));
        self.ring(state);
        Ok(true)
    }

    /// Which lanes of `wanted` have room: all of them, or none yet.
    pub(crate) fn room(&self, wanted: LaneSet, waker: &Waker) -> Result<Answer<LaneSet>> {
        let mut state = lock(&self.state);
        self.may_send(&state)?;
        wanted.iter().try_for_each(|lane| state.agreed(lane))?;
        if state.has_room() && !wanted.is_empty() {
            return Ok(Answer::Now(wanted));
        }
        state.writer = Some(waker.clone());
        Ok(Answer::Wait)
    }

    /// Whether libzmq has everything that was taken.
    pub(crate) fn flushed(&self, waker: &Waker) -> Result<Answer<()>> {
        let mut state = lock(&self.state);
        if state.outward == Outward::Open {
            self.may_send(&state)?;
        }
        if state.waiting.is_empty() && !state.in_hand {
            return Ok(Answer::Now(()));
        }
        state.writer = Some(waker.clone());
        Ok(Answer::Wait)
    }

    /// Takes nothing more; the goodbye goes after what waits.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.state);
        if state.outward == Outward::Open {
            state.outward = Outward::Closing;
            self.ring(state);
        }
    }

    /// Whether the peer has read everything.
    pub(crate) fn closed(&self, waker: &Waker) -> Result<Answer<()>> {
        let mut state = lock(&self.state);
        if state.outward == Outward::Done {
            return Ok(Answer::Now(()));
        }
        if let Some(end) = &state.end {
            // A peer that closed in order and left had read what it gave back.
            let all_read = state.inward != Inward::Open && state.spent == 0;
            return if all_read { Ok(Answer::Now(())) } else { Err(self.error(end)) };
        }
        state.writer = Some(waker.clone());
        Ok(Answer::Wait)
    }

    /// The next block, or `None` at the end.
    pub(crate) fn pull(&self, waker: &Waker) -> Result<Answer<Option<(Lane, Bytes)>>> {
        let mut state = lock(&self.state);
        if let Some((lane, bytes)) = state.inbox.pop_front() {
            state.to_return += bytes.len() + BLOCK_OVERHEAD;
            if state.inbox.is_empty() && state.inward == Inward::Goodbye {
                state.inward = Inward::Read;
            }
            if state.has_news() {
                self.ring(state);
            }
            return Ok(Answer::Now(Some((lane, bytes))));
        }
        if state.inward != Inward::Open {
            return Ok(Answer::Now(None));
        }
        if let Some(end) = &state.end {
            // We closed it, and the peer went without another word: that is in order.
            let in_order = state.outward == Outward::Done && matches!(end, End::Lost(_));
            return if in_order { Ok(Answer::Now(None)) } else { Err(self.error(end)) };
        }
        state.reader = Some(waker.clone());
        Ok(Answer::Wait)
    }

    /// One of the two halves is gone.
    pub(crate) fn leave(&self) {
        let mut state = lock(&self.state);
        state.halves -= 1;
        if state.halves == 0 {
            state.inbox.clear();
            self.ring(state);
        }
    }

    // What the owner tells and asks.

    /// Takes in a message other than a block. An error ends the peer.
    pub(crate) fn take_in(&self, frame: &Frame) -> std::result::Result<(), &'static str> {
        let mut state = lock(&self.state);
        if state.end.is_some() {
            return Ok(());
        }
        match frame {
            Frame::Credit(bytes) => {
                let left = state.spent.checked_sub(*bytes as usize);
                state.spent = left.ok_or("it gave back more of its window than was used")?;
            }
            Frame::Goodbye if state.inward == Inward::Open => {
                state.inward = if state.inbox.is_empty() { Inward::Read } else { Inward::Goodbye };
            }
            Frame::GotAll if state.outward == Outward::GoodbyeSent => state.outward = Outward::Done,
            Frame::Abort => {
                drop(state);
                self.end(End::Lost("it was dropped at the other end".to_owned()));
                return Ok(());
            }
            _ => return Err("it sent a message out of place"),
        }
        let news = matches!(frame, Frame::Goodbye);
        wake(state);
        if news {
            self.ring(lock(&self.state));
        }
        Ok(())
    }

    /// Takes in a block. An error ends the peer.
    pub(crate) fn take_in_block(&self, lane: Lane, bytes: Bytes) -> std::result::Result<(), &'static str> {
        let mut state = lock(&self.state);
        if state.end.is_some() {
            return Ok(());
        }
        if state.inward != Inward::Open {
            return Err("it sent a block after its goodbye");
        }
        if bytes.len() > state.block_bytes_max {
            return Err("it sent a block above the limit");
        }
        if state.held >= state.window {
            return Err(OVERRUN);
        }
        state.held += bytes.len() + BLOCK_OVERHEAD;
        if state.halves == 0 {
            return Ok(());
        }
        state.inbox.push_back((lane, bytes));
        let reader = state.reader.take();
        drop(state);
        reader.into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// Moves all that is to be sent to the end of `out`. The owner says [`handed_on`](Self::handed_on) when `out` is
    /// empty.
    pub(crate) fn take_out(&self, out: &mut VecDeque<Outgoing>) {
        let mut state = lock(&self.state);
        state.rung = false;
        if state.end.is_some() {
            return;
        }
        if state.has_news() && state.to_return > 0 {
            let bytes = std::mem::take(&mut state.to_return);
            state.held -= bytes;
            out.push_back(Outgoing::Control(Frame::Credit(bytes as u32)));
        }
        out.extend(state.waiting.drain(..).map(|(lane, block)| Outgoing::Block(lane, block)));
        if state.outward == Outward::Closing {
            state.outward = Outward::GoodbyeSent;
            out.push_back(Outgoing::Control(Frame::Goodbye));
        }
        if state.inward == Inward::Read {
            state.inward = Inward::Told;
            out.push_back(Outgoing::Control(Frame::GotAll));
        }
        state.in_hand = !out.is_empty();
    }

    /// libzmq has all that was taken out.
    pub(crate) fn handed_on(&self) {
        let mut state = lock(&self.state);
        if state.in_hand {
            state.in_hand = false;
            wake(state);
        }
    }

    /// It is over. The first reason counts.
    pub(crate) fn end(&self, end: End) {
        let mut state = lock(&self.state);
        if state.end.is_none() {
            state.end = Some(end);
            state.waiting.clear();
            wake(state);
        }
    }

    /// Ends it from this side, and lets the owner know.
    pub(crate) fn cut(&self, why: &str) {
        self.end(End::Lost(why.to_owned()));
        self.ring(lock(&self.state));
    }

    /// Whether nobody holds it any more, or it was ended.
    pub(crate) fn is_over(&self) -> bool {
        let state = lock(&self.state);
        state.halves == 0 || state.end.is_some()
    }

    /// Whether a last word of ours may still be on its way in libzmq.
    pub(crate) fn has_last_word(&self) -> bool {
        let state = lock(&self.state);
        state.inward == Inward::Told
    }

    fn ring(&self, mut state: MutexGuard<'_, State>) {
        if !state.rung {
            state.rung = true;
            drop(state);
            self.doorbell.ring(self.slot);
        }
    }

    fn may_send(&self, state: &State) -> Result<()> {
        if state.outward != Outward::Open {
            return Err(Error::Closed);
        }
        if let Some(end) = &state.end {
            return Err(self.error(end));
        }
        if state.inward != Inward::Open {
            return Err(self.error(&End::Lost("the peer closed it".to_owned())));
        }
        Ok(())
    }

    fn error(&self, end: &End) -> Error {
        let peer = self.peer.clone();
        match end {
            End::Lost(why) => Error::Lost { peer, why: why.clone() },
            End::Protocol(why) => Error::Protocol { peer, why: (*why).to_owned() },
        }
    }
}

impl State {
    fn agreed(&self, lane: Lane) -> Result<()> {
        let count = self.lane_count;
        if lane.0 < count { Ok(()) } else { Err(Error::UnknownLane { lane, count }) }
    }

    fn has_room(&self) -> bool {
        self.spent < self.peer_window
    }

    /// Whether the owner is to be told that the application has read: at each quarter of the window, and at the end at
    /// once, so that a peer that closes knows what was read.
    fn has_news(&self) -> bool {
        let closing = self.outward != Outward::Open || self.inward == Inward::Read;
        self.to_return >= (self.window / 4).max(1) || (closing && self.to_return > 0) || self.inward == Inward::Read
    }
}

fn wake(mut state: MutexGuard<'_, State>) {
    let wakers = [state.reader.take(), state.writer.take()];
    drop(state);
    wakers.into_iter().flatten().for_each(Waker::wake);
}

/// A poisoned lock is taken all the same: nothing here panics between two steps of a change.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One block at a time: 1,000 bytes to a block, a window of 1,000 bytes.
    fn link() -> Arc<Link> {
        let limits = Limits { block_bytes_max: 1_000, queue_bytes_max: 2_000, ..Limits::default() };
        let terms = terms(&limits, false);
        assert_eq!(terms.window, 1_000);
        Link::new(&limits, terms, terms, "a peer".to_owned(), Arc::default(), 0)
    }

    fn block(size: usize) -> Block {
        Block::from(Bytes::from(vec![1; size]))
    }

    fn out(link: &Link) -> Vec<Frame> {
        let mut out = VecDeque::new();
        link.take_out(&mut out);
        link.handed_on();
        let frame = |outgoing| match outgoing {
            Outgoing::Control(frame) => frame,
            Outgoing::Block(lane, _) => Frame::Block(lane),
        };
        out.into_iter().map(frame).collect()
    }

    fn pull(link: &Link) -> Option<Option<usize>> {
        match link.pull(Waker::noop()) {
            Ok(Answer::Now(found)) => Some(found.map(|(_, bytes)| bytes.len())),
            Ok(Answer::Wait) => None,
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn a_window_is_used_and_given_back() {
        let link = link();
        assert!(link.push(Lane(0), &mut block(871)).unwrap());
        assert!(link.push(Lane(0), &mut block(1_000)).unwrap());
        assert!(!link.push(Lane(0), &mut block(1)).unwrap());
        assert_eq!(out(&link), [Frame::Block(Lane(0)), Frame::Block(Lane(0))]);
        link.take_in(&Frame::Credit(1_127)).unwrap();
        assert!(!link.push(Lane(0), &mut block(1)).unwrap());
        link.take_in(&Frame::Credit(999)).unwrap();
        assert!(link.push(Lane(0), &mut block(1)).unwrap());
        assert!(link.take_in(&Frame::Credit(131)).is_err());
    }

    #[test]
    fn what_was_read_is_told_by_the_quarter() {
        let link = link();
        for size in [100, 100] {
            link.take_in_block(Lane(0), Bytes::from(vec![1; size])).unwrap();
        }
        assert_eq!(pull(&link), Some(Some(100)));
        assert_eq!(out(&link), []);
        assert_eq!(pull(&link), Some(Some(100)));
        assert_eq!(out(&link), [Frame::Credit(456)]);
        assert_eq!(pull(&link), None);
    }

    #[test]
    fn more_than_the_window_is_an_error() {
        let link = link();
        link.take_in_block(Lane(0), Bytes::from(vec![1; 871])).unwrap();
        link.take_in_block(Lane(0), Bytes::from(vec![1; 1_000])).unwrap();
        assert!(link.take_in_block(Lane(0), Bytes::from(vec![1; 1])).is_err());
    }

    #[test]
    fn a_goodbye_is_answered_when_all_was_read() {
        let link = link();
        link.take_in_block(Lane(0), Bytes::from_static(b"last")).unwrap();
        link.take_in(&Frame::Goodbye).unwrap();
        assert_eq!(out(&link), []);
        assert_eq!(pull(&link), Some(Some(4)));
        assert_eq!(out(&link), [Frame::Credit(132), Frame::GotAll]);
        assert_eq!(pull(&link), Some(None));
        assert!(matches!(link.push(Lane(0), &mut block(1)), Err(Error::Lost { .. })));
        assert!(link.take_in_block(Lane(0), Bytes::from_static(b"late")).is_err());
    }

    #[test]
    fn closing_waits_for_the_answer() {
        let link = link();
        assert!(link.push(Lane(0), &mut block(5)).unwrap());
        link.close();
        assert!(matches!(link.push(Lane(0), &mut block(1)), Err(Error::Closed)));
        assert_eq!(out(&link), [Frame::Block(Lane(0)), Frame::Goodbye]);
        assert!(matches!(link.closed(Waker::noop()), Ok(Answer::Wait)));
        link.take_in(&Frame::GotAll).unwrap();
        assert!(matches!(link.closed(Waker::noop()), Ok(Answer::Now(()))));
        assert!(link.take_in(&Frame::GotAll).is_err());
    }

    #[test]
    fn a_loss_comes_after_what_had_arrived() {
        let link = link();
        link.take_in_block(Lane(0), Bytes::from_static(b"early")).unwrap();
        link.end(End::Lost("cut".to_owned()));
        link.take_in_block(Lane(0), Bytes::from_static(b"late")).unwrap();
        assert_eq!(pull(&link), Some(Some(5)));
        assert!(matches!(link.pull(Waker::noop()), Err(Error::Lost { .. })));
        assert!(matches!(link.push(Lane(0), &mut block(1)), Err(Error::Lost { .. })));
    }
}
