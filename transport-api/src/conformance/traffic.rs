//! Blocks whose every byte is known from seed, lane and place in the lane, and the tally of those that arrive.

use std::ops::Range;

use bytes::Bytes;

use super::kit::{Outcome, Stop, ensure, within};
use crate::random::Random;
use crate::{Block, Connection, Error, Lane, LaneSet, Receiver, Sender};

/// Sizes from 1 byte to `max`, each magnitude as likely as another, the extremes among them.
pub(crate) fn sizes(random: &mut Random, count: usize, max: usize) -> Vec<usize> {
    let mut draw = |index: usize| match index % 16 {
        3 => 1,
        7 => max,
        11 => max - 1,
        _ => random.magnitude(max),
    };
    (0..count).map(&mut draw).collect()
}

/// The bytes of block number `index` of `lane`. Those with eight bytes or more begin with their number and lane.
pub(crate) fn content(seed: u64, lane: Lane, index: usize, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    Random::derived(seed, &[u64::from(lane.0), index as u64]).fill(&mut bytes);
    if size >= 8 {
        bytes[..4].copy_from_slice(&(index as u32).to_le_bytes());
        bytes[4..8].copy_from_slice(&u32::from(lane.0).to_le_bytes());
    }
    bytes
}

/// That block, in up to four chunks.
pub(crate) fn block(seed: u64, lane: Lane, index: usize, size: usize) -> Block {
    let mut rest = Bytes::from(content(seed, lane, index, size));
    let mut random = Random::derived(seed, &[u64::from(lane.0), index as u64, 1]);
    let mut block = Block::default();
    for _ in 0..random.below(4) {
        block.push(rest.split_to(random.below(rest.len() + 1)));
    }
    block.push(rest);
    block
}

/// Sends one block, waiting for room.
pub(crate) async fn send(sender: &mut Box<dyn Sender>, lane: Lane, mut block: Block) -> Outcome {
    while !sender.try_send(lane, &mut block)? {
        let room = within("room in the lane", sender.ready(LaneSet::from(lane))).await??;
        ensure!(room.contains(lane), "`ready` says {room:?} where only {lane:?} was wanted");
    }
    ensure!(block.is_empty(), "`try_send` took the block but left {} bytes of it", block.len());
    Ok(())
}

/// Sends the blocks numbered `range` on one lane, with these sizes.
pub(crate) async fn send_all(
    sender: &mut Box<dyn Sender>,
    seed: u64,
    lane: Lane,
    sizes: &[usize],
    range: Range<usize>,
) -> Outcome {
    for index in range {
        send(sender, lane, block(seed, lane, index, sizes[index])).await?;
    }
    Ok(())
}

/// Sends blocks on the control lane while they are taken without anybody reading; says how many were. One is certain.
pub(crate) fn send_what_fits(sender: &mut Box<dyn Sender>, seed: u64, sizes: &[usize]) -> Outcome<usize> {
    for (index, size) in sizes.iter().enumerate() {
        if !sender.try_send(Lane::CONTROL, &mut block(seed, Lane::CONTROL, index, *size))? {
            return Ok(index);
        }
    }
    Ok(sizes.len())
}

/// The next block, which must come.
pub(crate) async fn recv(receiver: &mut Box<dyn Receiver>) -> Outcome<(Lane, Bytes)> {
    match within("a block", receiver.recv()).await?? {
        Some(received) => Ok(received),
        None => Err(Stop::fail("the connection ended where a block was expected")),
    }
}

/// What has arrived of what was sent, lane by lane.
pub(crate) struct Tally {
    seed: u64,
    sizes: Vec<usize>,
    next: Vec<usize>,
}

impl Tally {
    /// For `lanes` lanes that each carry blocks of these sizes.
    pub(crate) fn new(seed: u64, lanes: u8, sizes: &[usize]) -> Self {
        Self { seed, sizes: sizes.to_vec(), next: vec![0; usize::from(lanes)] }
    }

    /// How many have arrived.
    pub(crate) fn count(&self) -> usize {
        self.next.iter().sum()
    }

    /// Enters a block, which must be the next of its lane, whole.
    pub(crate) fn enter(&mut self, lane: Lane, bytes: &[u8]) -> Outcome {
        let Some(next) = self.next.get_mut(usize::from(lane.0)) else {
            return Err(Stop::fail(format_args!("a block came on {lane:?}, on which none was sent")));
        };
        let index = *next;
        ensure!(index < self.sizes.len(), "a block came on {lane:?} after the last that was sent");
        *next += 1;
        let expected = content(self.seed, lane, index, self.sizes[index]);
        if bytes == expected {
            return Ok(());
        }
        let number = bytes.first_chunk::<4>().filter(|_| bytes.len() >= 8).map(|bytes| u32::from_le_bytes(*bytes));
        let found = match number {
            Some(number) if number as usize == index => "its bytes are not those that were sent".to_owned(),
            Some(number) => format!("it seems to be number {number}"),
            None => "it is another".to_owned(),
        };
        let (is, should) = (bytes.len(), expected.len());
        Err(Stop::fail(format_args!("block {index} of {lane:?} came with {is} bytes for {should}: {found}")))
    }

    /// Receives blocks until all have arrived.
    pub(crate) async fn receive_all(&mut self, receiver: &mut Box<dyn Receiver>) -> Outcome {
        self.receive(receiver, self.sizes.len() * self.next.len()).await
    }

    /// Receives blocks until this many have arrived in all.
    pub(crate) async fn receive(&mut self, receiver: &mut Box<dyn Receiver>, count: usize) -> Outcome {
        while self.count() < count {
            let (lane, bytes) = recv(receiver).await?;
            self.enter(lane, &bytes)?;
        }
        Ok(())
    }

    /// Receives until the end in order, by which all must have arrived.
    pub(crate) async fn receive_to_end(&mut self, receiver: &mut Box<dyn Receiver>) -> Outcome {
        while let Some((lane, bytes)) = within("a block or the end", receiver.recv()).await?? {
            self.enter(lane, &bytes)?;
        }
        let (count, all) = (self.count(), self.sizes.len() * self.next.len());
        ensure!(count == all, "the connection ended in order, but {count} blocks of {all} had come");
        Ok(())
    }

    /// Receives until the connection is lost; what came before must be a prefix.
    pub(crate) async fn receive_until_lost(&mut self, receiver: &mut Box<dyn Receiver>) -> Outcome<Error> {
        loop {
            match within("a block or the loss", receiver.recv()).await? {
                Ok(Some((lane, bytes))) => self.enter(lane, &bytes)?,
                Ok(None) => return Err(Stop::fail("the end in order was told where the connection was lost")),
                Err(error) => return Ok(error),
            }
        }
    }
}

/// One block each way.
pub(crate) async fn round_trip(one: &mut Connection, other: &mut Connection, seed: u64) -> Outcome {
    pass(one, other, seed).await?;
    pass(other, one, seed ^ 1).await
}

async fn pass(from: &mut Connection, to: &mut Connection, seed: u64) -> Outcome {
    let sizes = [777];
    send_all(&mut from.sender, seed, Lane::CONTROL, &sizes, 0..1).await?;
    Tally::new(seed, 1, &sizes).receive_all(&mut to.receiver).await
}
