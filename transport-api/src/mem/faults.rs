//! Faults of the `mem` transport, for simulations: by hand with [`FaultControl`], or drawn from a seed with [`Faults`].
//!
//! Each direction of each connection draws from its own generator, made from the seed, the connection's number under
//! its name and the direction. So what happens to a block depends on the seed and on its place in its own direction,
//! not on how tasks were scheduled.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::place::Place;
use crate::random::Random;
use crate::{Lane, LaneSet};

/// A seeded schedule of faults, judged for each block as it is sent. The default is fair weather.
#[derive(Clone, Debug, PartialEq)]
pub struct Faults {
    /// What everything is drawn from: the same seed gives the same faults.
    pub seed: u64,
    /// The share of blocks (0.0 to 1.0) with which the connection is cut: that block and all that wait are lost.
    pub cut_per_block: f64,
    /// The share of blocks (0.0 to 1.0) with which their lane stalls for a time drawn from `stall_for`.
    pub stall_per_block: f64,
    /// How long such a stall lasts.
    pub stall_for: Range<Duration>,
    /// How long each block is under way. Order within a lane holds all the same.
    pub delay: Range<Duration>,
    /// Whether blocks of different lanes overtake each other. Never within a lane: that order is the contract.
    pub reorder_lanes: bool,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            seed: 0,
            cut_per_block: 0.0,
            stall_per_block: 0.0,
            stall_for: Duration::ZERO..Duration::ZERO,
            delay: Duration::ZERO..Duration::ZERO,
            reorder_lanes: false,
        }
    }
}

/// Makes bad weather for the connections under one name, those there are and those to come.
///
/// Faults last as long as this handle, a listener or a connection of the name is alive.
#[derive(Clone, Debug)]
pub struct FaultControl {
    pub(super) place: Arc<Place>,
}

impl FaultControl {
    /// Cuts all connections: both ends get `Lost`, what was under way is gone. Says how many there were. New
    /// connections can be made at once.
    pub fn cut(&self) -> usize {
        self.place.cut()
    }

    /// Takes the network down: cuts all connections, and new ones find nobody (`Unreachable`) until [`up`](Self::up).
    pub fn down(&self) {
        self.place.set_down(true);
        self.place.cut();
    }

    /// Ends what [`down`](Self::down) began.
    pub fn up(&self) {
        self.place.set_down(false);
    }

    /// Holds back the blocks of these lanes, in both directions, until [`resume`](Self::resume). Adds to what is
    /// stalled already.
    pub fn stall(&self, lanes: LaneSet) {
        self.place.stall(lanes);
    }

    /// Ends all that [`stall`](Self::stall) began.
    pub fn resume(&self) {
        self.place.resume();
    }

    /// Delays each block sent from now on by a time drawn from `range`.
    pub fn delay(&self, range: Range<Duration>) {
        self.place.change_faults(|faults| faults.delay = range);
    }

    /// Lets the schedule take over, from now on.
    pub fn follow(&self, faults: Faults) {
        self.place.change_faults(|present| *present = faults);
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.place.live().len()
    }
}

/// What becomes of one block.
pub(super) enum Fate {
    /// It arrives, at once or not before a certain time.
    Arrives(Option<Instant>),
    /// The connection is cut.
    Cut,
}

/// The faults of one direction of one connection.
#[derive(Debug)]
pub(super) struct Weather {
    faults: Faults,
    random: Random,
    fair: bool,
}

impl Weather {
    pub(super) fn new(faults: &Faults, connection: u64, side: usize) -> Self {
        let fair = *faults == Faults { seed: faults.seed, ..Faults::default() };
        Self { faults: faults.clone(), random: Random::derived(faults.seed, &[connection, side as u64]), fair }
    }

    /// Judges a block that is being sent.
    pub(super) fn judge(&mut self) -> Fate {
        if self.fair {
            return Fate::Arrives(None);
        }
        if self.random.chance(self.faults.cut_per_block) {
            return Fate::Cut;
        }
        let mut wait = self.random.duration(&self.faults.delay);
        if self.random.chance(self.faults.stall_per_block) {
            wait += self.random.duration(&self.faults.stall_for);
        }
        Fate::Arrives((!wait.is_zero()).then(|| Instant::now() + wait))
    }

    /// Which of the lanes that have a block for the receiver comes next, where it is not simply the oldest block's.
    pub(super) fn choose(&mut self, lanes: LaneSet) -> Option<Lane> {
        let count = lanes.iter().count();
        (self.faults.reorder_lanes && count > 1).then(|| lanes.iter().nth(self.random.below(count)))?
    }
}
