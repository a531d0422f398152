//! Handing out what waits.

use super::{Effect, Output, Record, Scheduler};
use crate::Moment;
use crate::planted::is_planted;

impl Scheduler {
    /// Hands out what can be handed out.
    pub(super) fn hand_out(&mut self, now: Moment, out: &mut Output) {
        while let Some((task, worker)) = self.matching.next() {
            let Some(number) = self.tasks.get(&task).map(|task| task.number + 1) else { return };
            let number = if is_planted("attempt number not raised") { 1 } else { number };
            self.serve(worker);
            let Some(owner) = self.workers.get(&worker).map(|worker| worker.owner.clone()) else { return };
            self.change(out, Record::Begun { task, number, worker, owner, at: now });
            self.look_at_readiness(worker);
            self.counts.attempts += 1;
            let (Some(task), Some(found)) = (self.tasks.get(&task), self.workers.get(&worker)) else { return };
            let Some(here) = &found.here else { return };
            let deadline = task.deadline().map(|at| at.since(now));
            out.effects.push(Effect::Assign { to: here.asker, worker, spec: task.spec.clone(), number, deadline });
        }
    }

    /// It is served now, later than all others.
    fn serve(&mut self, id: crate::WorkerId) {
        let Some(here) = self.workers.get_mut(&id).and_then(|worker| worker.here.as_mut()) else { return };
        self.turns += 1;
        if is_planted("always the first") {
            return;
        }
        self.matching.ready_no_more(here.offer, here.served, id);
        (here.served, here.handed) = (self.turns, here.handed + 1);
        self.matching.ready(here.offer, here.served, id);
    }
}
