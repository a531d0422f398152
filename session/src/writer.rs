//! Moves blocks from an outbox to a transport, lane by lane, and nothing that hurries waits for a
//! batch to fill.

use std::time::Duration;

use sinew_transport_api::{Lane, LaneSet, Result, Sender};

use crate::lane_queue::Sealed;
use crate::outbox::{Outbox, Taken};

/// How long what is in no hurry waits for something that it can go with.
const PATIENCE: Duration = Duration::from_millis(1);

/// Waits for work, and where that is in no hurry, a moment for more. Cancel-safe.
async fn work(outbox: &Outbox) {
    outbox.work().await;
    if outbox.is_patient() {
        let _ = tokio::time::timeout(PATIENCE, outbox.work()).await;
    }
}

/// What a full lane refused, kept until it has room.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    parked: Vec<(Lane, Sealed)>,
    full: LaneSet,
    /// Data lanes that the connection has; the outbox may have more, after a reconnect.
    data_lanes: u8,
}

impl Writer {
    pub(crate) fn new(data_lanes: u8) -> Self {
        Self { data_lanes, ..Self::default() }
    }

    /// Sends what the outbox holds until that is closed and empty. Cancel-safe: what is not sent stays here.
    /// `sent` is called after each block, with whether somebody waited for room.
    pub(crate) async fn write(
        &mut self,
        outbox: &Outbox,
        sender: &mut dyn Sender,
        sent: &mut (dyn FnMut(bool) + Send),
    ) -> Result<()> {
        loop {
            match outbox.take(self.full) {
                Taken::Block { lane, sealed, drained, last } => {
                    self.send(sender, lane, sealed)?;
                    sent(drained);
                    tokio::task::coop::consume_budget().await;
                    if last && self.full.is_empty() {
                        work(outbox).await;
                    }
                }
                Taken::Nothing if self.full.is_empty() => work(outbox).await,
                Taken::Nothing => tokio::select! {
                    biased;
                    ready = sender.ready(self.wanted()) => self.retry(sender, ready?)?,
                    () = outbox.work() => {}
                },
                Taken::End if self.full.is_empty() => return Ok(()),
                Taken::End => {
                    let ready = sender.ready(self.wanted()).await?;
                    self.retry(sender, ready)?;
                }
            }
        }
    }

    /// Gives back to the outbox what the transport did not take.
    pub(crate) fn put_back(self, outbox: &Outbox) {
        self.parked.into_iter().for_each(|(lane, sealed)| outbox.put_back(lane, sealed));
    }

    fn send(&mut self, sender: &mut dyn Sender, lane: Lane, mut sealed: Sealed) -> Result<()> {
        let taken = sender.try_send(self.lane(lane), &mut sealed.block);
        if !matches!(taken, Ok(true)) {
            self.parked.push((lane, sealed));
            self.full.insert(lane);
        }
        taken.map(|_| ())
    }

    fn retry(&mut self, sender: &mut dyn Sender, ready: LaneSet) -> Result<()> {
        for (lane, sealed) in std::mem::take(&mut self.parked) {
            if ready.contains(self.lane(lane)) {
                self.full.remove(lane);
                self.send(sender, lane, sealed)?;
            } else {
                self.parked.push((lane, sealed));
            }
        }
        Ok(())
    }

    /// The connection's lane for a lane of the outbox.
    fn lane(&self, lane: Lane) -> Lane {
        match (lane.0, self.data_lanes) {
            (0, _) | (_, 0) => Lane::CONTROL,
            (number, count) => Lane(1 + (number - 1) % count),
        }
    }

    fn wanted(&self) -> LaneSet {
        let mut wanted = LaneSet::EMPTY;
        self.full.iter().for_each(|lane| wanted.insert(self.lane(lane)));
        wanted
    }
}
