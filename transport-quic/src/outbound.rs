//! What goes out: a stream for each lane, a short rest in each that quinn has not taken yet, words, the goodbye.
//!
//! A block goes straight into quinn's buffer as far as it has room, within `try_send`; the rest is left to the pump,
//! whose waker quinn keeps. So what waits is quinn's buffer (`send_window`) and these rests, both bounded.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use quinn::{Connection, SendStream, WriteError};
use sinew_transport_api::{Block, Error, Lane, LaneSet, Limits, Result};

use crate::ending::Ending;
use crate::frames::{WORDS, Word, encode_block, lane_head};

/// What a lane may hold beyond what quinn has taken, if it is more than one block. Short, since quinn's window comes on
/// top: a long queue in front of it would only make what is sent next wait longer.
const REST_BYTES_MAX: usize = 256 * 1024;

/// How far the close has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Blocks are taken.
    Open,
    /// No more blocks; the goodbye waits for the rest to be written.
    Closing,
    /// The goodbye is written.
    Said,
}

#[derive(Debug)]
pub(crate) struct Outbound {
    lanes: Vec<OutLane>,
    words: Option<SendStream>,
    words_rest: VecDeque<Bytes>,
    pub(crate) phase: Phase,
    /// Bytes in the rests of lanes.
    waiting_bytes: usize,
    block_bytes_max: usize,
    queue_bytes_max: usize,
    /// The task that waits for room, for a flush or for the close.
    waiter: Option<Waker>,
    /// The pump's waker, which quinn gets when it has no room.
    pump: Waker,
}

#[derive(Debug)]
struct OutLane {
    stream: SendStream,
    rest: VecDeque<Bytes>,
    rest_bytes: usize,
    used: bool,
}

impl Outbound {
    pub(crate) fn new(words: Option<SendStream>, limits: &Limits) -> Self {
        Self {
            lanes: Vec::new(),
            words,
            words_rest: VecDeque::new(),
            phase: Phase::Open,
            waiting_bytes: 0,
            block_bytes_max: limits.block_bytes_max,
            queue_bytes_max: limits.queue_bytes_max.max(limits.block_bytes_max),
            waiter: None,
            pump: Waker::noop().clone(),
        }
    }

    /// Opens the streams of lanes up to `count`; the peer sees them with their first block.
    pub(crate) fn open_lanes(&mut self, connection: &Connection, count: u8) -> std::result::Result<(), Ending> {
        while self.lanes.len() < usize::from(count) {
            let stream = open_now(connection)?;
            self.lanes.push(OutLane { stream, rest: VecDeque::new(), rest_bytes: 0, used: false });
        }
        Ok(())
    }

    /// Whether blocks may still be sent, as far as this end is concerned.
    pub(crate) fn may_send(&self) -> Result<()> {
        if self.phase == Phase::Open { Ok(()) } else { Err(Error::Closed) }
    }

    fn lane(&self, lane: Lane) -> Result<&OutLane> {
        let count = self.lanes.len() as u8;
        self.lanes.get(usize::from(lane.0)).ok_or(Error::UnknownLane { lane, count })
    }

    /// Room means room for the largest block, whatever the next one's size: so `ready` never says yes to a block that
    /// `try_send` then refuses. A lane without a rest takes a block as long as the bound as a whole allows it.
    fn has_room(&self, lane: &OutLane) -> bool {
        let share = REST_BYTES_MAX.min(self.queue_bytes_max / self.lanes.len().max(1));
        let block = self.block_bytes_max;
        self.waiting_bytes + block <= self.queue_bytes_max && (lane.rest_bytes == 0 || lane.rest_bytes + block <= share)
    }

    /// Which of `wanted` have room; if none has, `waker` is woken when that may have changed.
    pub(crate) fn room(&mut self, wanted: LaneSet, waker: &Waker) -> Result<LaneSet> {
        self.may_send()?;
        let mut room = LaneSet::EMPTY;
        for lane in wanted.iter() {
            if self.has_room(self.lane(lane)?) {
                room.insert(lane);
            }
        }
        if room.is_empty() {
            self.wait(waker);
        }
        Ok(room)
    }

    /// Takes `block` if its lane has room, and writes as much of it as quinn takes.
    pub(crate) fn push(&mut self, lane: Lane, block: &mut Block) -> Result<std::result::Result<bool, Ending>> {
        self.may_send()?;
        if block.is_empty() || block.len() > self.block_bytes_max {
            return Err(Error::BlockSize { bytes: block.len(), max: self.block_bytes_max });
        }
        if !self.has_room(self.lane(lane)?) {
            return Ok(Ok(false));
        }
        let out = &mut self.lanes[usize::from(lane.0)];
        let had_rest = out.rest_bytes > 0;
        if !out.used {
            out.used = true;
            out.rest.push_back(lane_head(lane));
        }
        encode_block(block.take(), &mut out.rest);
        // Behind a rest there is nothing to try: the pump is waiting for quinn already.
        let result = match had_rest {
            true => Poll::Pending,
            false => write(&mut out.stream, &mut out.rest, &mut Context::from_waker(&self.pump)),
        };
        self.waiting_bytes -= out.rest_bytes;
        out.rest_bytes = bytes_in(&out.rest);
        self.waiting_bytes += out.rest_bytes;
        Ok(match result {
            Poll::Ready(Err(error)) => Err(ending(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(true),
        })
    }

    /// Whether quinn has taken everything.
    pub(crate) fn is_flushed(&self) -> bool {
        self.lanes.iter().all(|lane| lane.rest.is_empty())
    }

    /// The pump tells who it is.
    pub(crate) fn pump_is(&mut self, waker: &Waker) {
        if !self.pump.will_wake(waker) {
            self.pump = waker.clone();
        }
    }

    /// `waker` is woken when anything in here has changed.
    pub(crate) fn wait(&mut self, waker: &Waker) {
        if !self.waiter.as_ref().is_some_and(|stored| stored.will_wake(waker)) {
            self.waiter = Some(waker.clone());
        }
    }

    /// Who waits, to be woken once the lock is let go.
    pub(crate) fn take_waiter(&mut self) -> Option<Waker> {
        self.waiter.take()
    }

    /// Says a word, as soon as quinn takes it.
    pub(crate) fn say(&mut self, connection: &Connection, word: Word) -> std::result::Result<(), Ending> {
        if self.words.is_none() {
            self.words = Some(open_now(connection)?);
            self.words_rest.push_back(Bytes::from_static(&[WORDS]));
        }
        self.words_rest.push_back(word.encode());
        Ok(())
    }

    /// Writes what waits, as far as quinn takes it, and the goodbye once it is due. Whether anything moved.
    pub(crate) fn drive(&mut self, connection: &Connection, cx: &mut Context<'_>) -> std::result::Result<bool, Ending> {
        let mut moved = false;
        for lane in self.lanes.iter_mut().filter(|lane| !lane.rest.is_empty()) {
            if let Poll::Ready(Err(error)) = write(&mut lane.stream, &mut lane.rest, cx) {
                return Err(ending(error));
            }
            let left = bytes_in(&lane.rest);
            moved |= left < lane.rest_bytes;
            self.waiting_bytes -= lane.rest_bytes - left;
            lane.rest_bytes = left;
        }
        if self.phase == Phase::Closing && self.is_flushed() {
            let mut used = 0;
            for (number, lane) in self.lanes.iter_mut().enumerate().filter(|(_, lane)| lane.used) {
                used |= 1 << number;
                // An error says that the peer stopped the stream; it will have said why.
                let _ = lane.stream.finish();
            }
            self.say(connection, Word::Goodbye(used))?;
            self.phase = Phase::Said;
            moved = true;
        }
        if let (Some(words), false) = (&mut self.words, self.words_rest.is_empty())
            && let Poll::Ready(Err(error)) = write(words, &mut self.words_rest, cx)
        {
            return Err(ending(error));
        }
        Ok(moved)
    }
}

/// Opens a stream at once: the peer has allowed them all from the start.
fn open_now(connection: &Connection) -> std::result::Result<SendStream, Ending> {
    match pin!(connection.open_uni()).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(stream)) => Ok(stream),
        Poll::Ready(Err(error)) => Err(Ending::of(&error)),
        Poll::Pending => Err(Ending::Fault("it allows fewer streams than there are lanes".to_owned())),
    }
}

fn bytes_in(rest: &VecDeque<Bytes>) -> usize {
    rest.iter().map(Bytes::len).sum()
}

/// Hands `rest` to quinn until it is empty or quinn has no room; what was handed over is gone from `rest`.
fn write(
    stream: &mut SendStream,
    rest: &mut VecDeque<Bytes>,
    cx: &mut Context<'_>,
) -> Poll<std::result::Result<(), WriteError>> {
    while !rest.is_empty() {
        let written = match pin!(stream.write_chunks(rest.make_contiguous())).poll(cx) {
            Poll::Ready(Ok(written)) => written,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return Poll::Pending,
        };
        rest.drain(..written.chunks);
    }
    Poll::Ready(Ok(()))
}

fn ending(error: WriteError) -> Ending {
    match error {
        WriteError::ConnectionLost(error) => Ending::of(&error),
        error => Ending::Fault(format!("it does not take a lane any more: {error}")),
    }
}
