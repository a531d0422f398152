//! What a queue says, on its way to the sessions that it is for.

use std::sync::Arc;

use sinew_session::ResourceName;

use super::seats::Seats;
use crate::protocol::failure_of;
use crate::{Asker, Effect, Error, Level, Outlet};

/// One queue's.
#[derive(Debug)]
pub(super) struct QueueOutlet {
    seats: Arc<Seats>,
    level: Level,
}

impl QueueOutlet {
    pub(super) fn new(seats: Arc<Seats>, level: Level) -> Self {
        Self { seats, level }
    }
}

/// Whom it is for.
fn receivers(effect: &Effect) -> &[Asker] {
    match effect {
        Effect::Ended { to, .. } | Effect::Progress { to, .. } => to,
        Effect::Answer { to, .. }
        | Effect::Assign { to, .. }
        | Effect::Recall { to, .. }
        | Effect::Dismissed { to, .. } => std::slice::from_ref(to),
    }
}

impl Outlet for QueueOutlet {
    fn let_out(&self, _queue: &ResourceName, effects: Vec<Effect>) {
        let each = effects.iter().flat_map(|effect| receivers(effect).iter().map(move |to| (*to, effect)));
        let mut said: Vec<(Asker, &Effect)> = each.collect();
        // What is for one session stays in its order.
        said.sort_by_key(|(to, _)| to.connection);
        for run in said.chunk_by(|(one, _), (other, _)| one.connection == other.connection) {
            if let Some(seat) = self.seats.find(run[0].0.connection) {
                seat.say(self.level, run);
            }
        }
    }

    fn ended(&self, queue: &ResourceName, why: &Error) {
        let failure = failure_of(why);
        self.seats.all().iter().for_each(|seat| seat.end_all(queue, &failure));
    }
}
