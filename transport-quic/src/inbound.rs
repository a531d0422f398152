//! What comes in: the lanes' streams, read in turn, and whether the peer's goodbye is fulfilled.
//!
//! Nothing is read ahead of `recv` but one helping for each lane, so a reader that does not read holds its peer back.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use quinn::{ReadError, RecvStream};
use sinew_transport_api::Lane;

use crate::ending::Ending;
use crate::frames::Assembler;
use crate::signals::Signals;

/// Pieces taken from quinn under one lock: three blocks of 64 KiB in packets of 6,500 bytes.
const PIECES: usize = 32;

#[derive(Debug)]
pub(crate) struct Inbound {
    lanes: [Option<InLane>; Lane::COUNT_MAX as usize],
    /// Lanes that have an open stream, as bits.
    open: u32,
    /// Lanes that may have something to read, as bits.
    readable: u32,
    /// Whose turn it is.
    turn: u32,
    goodbye: Option<u32>,
    block_bytes_max: usize,
    signals: Arc<Signals>,
}

#[derive(Debug)]
struct InLane {
    stream: RecvStream,
    assembler: Assembler,
    waker: Waker,
    ended: bool,
}

/// What a receiver finds.
#[derive(Debug)]
pub(crate) enum Found {
    /// The next block.
    Block(Lane, Bytes),
    /// Everything up to the peer's goodbye was given out.
    End,
    /// Nothing yet.
    Nothing,
}

impl Inbound {
    pub(crate) fn new(block_bytes_max: usize, signals: Arc<Signals>) -> Self {
        Self {
            lanes: [const { None }; Lane::COUNT_MAX as usize],
            open: 0,
            readable: 0,
            turn: 0,
            goodbye: None,
            block_bytes_max,
            signals,
        }
    }

    /// The peer opened the stream with this number.
    pub(crate) fn add(&mut self, number: u8, stream: RecvStream) -> Result<(), Ending> {
        match self.lanes.get_mut(usize::from(number)) {
            None => Err(Ending::Fault(format!("it opened a stream for {number}, which is no lane"))),
            Some(Some(_)) => Err(Ending::Fault(format!("it opened lane {number} twice"))),
            Some(lane) => {
                let (assembler, waker) = (Assembler::new(self.block_bytes_max), self.signals.lane_waker(number));
                *lane = Some(InLane { stream, assembler, waker, ended: false });
                self.open |= 1 << number;
                self.signals.mark(number);
                Ok(())
            }
        }
    }

    /// The peer said goodbye, and which lanes it used.
    pub(crate) fn goodbye(&mut self, lanes: u32) -> Result<(), Ending> {
        match self.goodbye.replace(lanes) {
            None => Ok(()),
            Some(_) => Err(Ending::Fault("it said goodbye twice".to_owned())),
        }
    }

    /// Whether the peer said goodbye.
    pub(crate) fn has_goodbye(&self) -> bool {
        self.goodbye.is_some()
    }

    /// The next block of the lane whose turn it is, or of the first one after it that has one.
    pub(crate) fn next(&mut self) -> Result<Found, Ending> {
        self.readable |= self.signals.take_readable();
        let mut rest = self.open.rotate_right(self.turn);
        while rest != 0 {
            let number = (rest.trailing_zeros() + self.turn) % u32::BITS;
            rest &= rest - 1;
            if let Some(block) = self.block_of(number)? {
                self.turn = (number + 1) % u32::BITS;
                return Ok(Found::Block(Lane(number as u8), block));
            }
        }
        Ok(if self.is_fulfilled() { Found::End } else { Found::Nothing })
    }

    /// Whether everything up to the goodbye was given out. Looks at the streams, so that an end is seen without a
    /// reader; takes at most one helping from each lane, which stays for the reader.
    pub(crate) fn is_at_end(&mut self) -> Result<bool, Ending> {
        if self.goodbye.is_none() {
            return Ok(false);
        }
        self.readable |= self.signals.take_readable();
        let mut rest = self.open & self.readable;
        while rest != 0 {
            let number = rest.trailing_zeros();
            rest &= rest - 1;
            let lane = self.lanes[number as usize].as_mut().expect("an open lane");
            if lane.assembler.is_empty() && lane.read()?.is_pending() {
                self.readable &= !(1 << number);
            }
        }
        Ok(self.is_fulfilled())
    }

    fn is_fulfilled(&self) -> bool {
        let ended =
            |number: usize| self.lanes[number].as_ref().is_some_and(|lane| lane.ended && lane.assembler.is_empty());
        self.goodbye
            .is_some_and(|lanes| (0..self.lanes.len()).all(|number| lanes & (1 << number) == 0 || ended(number)))
    }

    fn block_of(&mut self, number: u32) -> Result<Option<Bytes>, Ending> {
        let lane = self.lanes[number as usize].as_mut().expect("an open lane");
        loop {
            if let Some(block) = lane.assembler.take().map_err(Ending::Fault)? {
                return Ok(Some(block));
            }
            if lane.ended || self.readable & (1 << number) == 0 {
                return Ok(None);
            }
            if lane.read()?.is_pending() {
                self.readable &= !(1 << number);
            }
        }
    }
}

impl InLane {
    /// Reads a helping into the assembler.
    fn read(&mut self) -> Result<Poll<()>, Ending> {
        if self.ended {
            return Ok(Poll::Pending);
        }
        let mut pieces = [const { Bytes::new() }; PIECES];
        let read = pin!(self.stream.read_chunks(&mut pieces)).poll(&mut Context::from_waker(&self.waker));
        match read {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(Ok(Some(count))) => pieces.into_iter().take(count).for_each(|piece| self.assembler.feed(piece)),
            Poll::Ready(Ok(None)) => {
                self.ended = true;
                if !self.assembler.is_empty() {
                    return Err(Ending::Fault("it ended a lane within a block".to_owned()));
                }
            }
            Poll::Ready(Err(ReadError::ConnectionLost(error))) => return Err(Ending::of(&error)),
            Poll::Ready(Err(error)) => return Err(Ending::Fault(format!("it broke off a lane: {error}"))),
        }
        Ok(Poll::Ready(()))
    }
}
