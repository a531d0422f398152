//! A worker, as the crate's own behaves: it renews by itself, holds an attempt until its report is settled, and joins again
//! with what it has. One that was stopped for a while reports first and listens then.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::network::{Peer, Told};
use super::plan::{Deed, Plan};
use super::world::{Event, LEASE, World};
use crate::{Answer, Asker, Attempt, Input, Report, WorkerId, WorkerSpec};

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) spec: WorkerSpec,
    pub(super) connection: Option<u64>,
    pub(super) is_alive: bool,
    pub(super) is_hung: bool,
    is_joined: bool,
    call: u32,
    running: BTreeMap<Attempt, Plan>,
    unsettled: BTreeMap<Attempt, Report>,
    calls: BTreeMap<u32, Attempt>,
    joining: u32,
    /// What it will hear and do once it goes on.
    inbox: Vec<(Asker, Told)>,
    overdue: Vec<Attempt>,
}

impl World {
    pub(super) fn worker_starts(&mut self, tags: &[&str], credit: u32) {
        let at = self.workers.len();
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        let (id, name) = (WorkerId::of(2_000, at as u64), format!("worker-{at}").into());
        self.workers.push(Worker {
            spec: WorkerSpec { id, owner: "workers".into(), name, tags, credit },
            connection: None,
            is_alive: true,
            is_hung: false,
            is_joined: false,
            call: 0,
            running: BTreeMap::new(),
            unsettled: BTreeMap::new(),
            calls: BTreeMap::new(),
            joining: 0,
            inbox: Vec::new(),
            overdue: Vec::new(),
        });
        self.after(1, Event::Connect(Peer::Worker(at)));
        self.after(LEASE.as_millis() as u64 / 3, Event::Renew(at));
    }

    pub(super) fn worker_connected(&mut self, at: usize, connection: u64) {
        self.workers[at].connection = Some(connection);
        self.worker_joins(at);
    }

    pub(super) fn worker_joins(&mut self, at: usize) {
        let worker = &mut self.workers[at];
        let Some(connection) = worker.connection.filter(|_| worker.is_alive && !worker.is_hung) else { return };
        worker.call += 1;
        (worker.is_joined, worker.joining) = (false, worker.call);
        let held: BTreeSet<Attempt> = worker.running.keys().chain(worker.unsettled.keys()).copied().collect();
        let asker = Asker { connection, call: worker.call };
        let (spec, again) = (worker.spec.clone(), worker.unsettled.keys().copied().collect::<Vec<_>>());
        self.send(Some(connection), Input::Join { asker, worker: spec.into(), held: held.into_iter().collect() });
        again.into_iter().for_each(|attempt| self.worker_sends(at, attempt));
    }

    fn worker_sends(&mut self, at: usize, attempt: Attempt) {
        let worker = &mut self.workers[at];
        let (Some(connection), Some(report)) = (worker.connection, worker.unsettled.get(&attempt).cloned()) else {
            return;
        };
        worker.call += 1;
        let asker = Asker { connection, call: worker.call };
        worker.calls.insert(worker.call, attempt);
        let worker = worker.spec.id;
        self.send(Some(connection), Input::Report { asker, worker, attempt, report });
    }

    pub(super) fn worker_hears(&mut self, at: usize, to: Asker, told: Told) {
        let worker = &mut self.workers[at];
        if !worker.is_alive {
            return;
        }
        if worker.is_hung {
            return worker.inbox.push((to, told));
        }
        match told {
            Told::Answer(Ok(Answer::Joined { .. })) if to.call == worker.joining => worker.is_joined = true,
            Told::Answer(Ok(Answer::Settled { .. })) => {
                if let Some(attempt) = worker.calls.remove(&to.call) {
                    worker.unsettled.remove(&attempt);
                }
            }
            Told::Assign(spec, number) => {
                let (attempt, plan) = (Attempt { task: spec.id, number }, Plan::of(&spec.payload));
                worker.running.insert(attempt, plan);
                if self.random.once_in(6) {
                    let (connection, worker) = (self.workers[at].connection, self.workers[at].spec.id);
                    self.send(connection, Input::Progress { worker, attempt, data: Bytes::from_static(b"begun") });
                }
                self.after(1 + u64::from(plan.work), Event::Finish(at, attempt));
            }
            Told::Recall(attempt) => {
                worker.running.remove(&attempt);
            }
            Told::Dismissed if to.call == worker.joining => {
                // Some do not stop at once, and report too late.
                let stops = self.random.once_in(2);
                let worker = &mut self.workers[at];
                if stops {
                    worker.running.clear();
                }
                worker.is_joined = false;
                let after = 50 + self.random.below(700) as u64;
                self.after(after, Event::Rejoin(at));
            }
            _ => {}
        }
    }

    pub(super) fn worker_finishes(&mut self, at: usize, attempt: Attempt) {
        let worker = &mut self.workers[at];
        if !worker.is_alive {
            return;
        }
        if worker.is_hung {
            return worker.overdue.push(attempt);
        }
        let Some(plan) = worker.running.get(&attempt).copied() else { return };
        let failed = |is_final| Report::Failed {
            code: "broken".into(),
            message: format!("attempt {}", attempt.number),
            details: Bytes::new(),
            is_final,
        };
        let report = match plan.deed {
            Deed::Stalls => return,
            Deed::Kills => return self.worker_dies(at),
            Deed::Poison => failed(false),
            Deed::FailsFirst if attempt.number <= 2 => failed(false),
            Deed::FailsForGood => failed(true),
            Deed::HandedBack if attempt.number <= 2 => Report::HandedBack,
            Deed::Done | Deed::FailsFirst | Deed::HandedBack => Report::Done(done(attempt)),
        };
        worker.running.remove(&attempt);
        worker.unsettled.insert(attempt, report);
        self.worker_sends(at, attempt);
    }

    pub(super) fn worker_renews(&mut self, at: usize) {
        let worker = &self.workers[at];
        if !worker.is_alive {
            return;
        }
        if worker.is_joined && !worker.is_hung {
            let (connection, worker) = (worker.connection, worker.spec.id);
            self.send(connection, Input::Renew { worker });
        }
        self.after(LEASE.as_millis() as u64 / 3, Event::Renew(at));
    }

    /// The process is killed. Another one starts in its place.
    pub(super) fn worker_dies(&mut self, at: usize) {
        self.workers[at].is_alive = false;
        if let Some(connection) = self.workers[at].connection {
            self.cut(connection);
        }
        let after = 50 + self.random.below(1_500) as u64;
        self.after(after, Event::Replace(at));
    }

    /// SIGSTOP. If it takes long, its connection is given up.
    pub(super) fn worker_hangs(&mut self, at: usize) {
        let worker = &mut self.workers[at];
        if !worker.is_alive || worker.is_hung {
            return;
        }
        worker.is_hung = true;
        let span = 300 + self.random.below(7_000) as u64;
        self.after(span, Event::Wake(at));
        if span > 5_000
            && let Some(connection) = self.workers[at].connection
        {
            self.cut(connection);
        }
    }

    pub(super) fn worker_wakes(&mut self, at: usize) {
        let worker = &mut self.workers[at];
        if !std::mem::take(&mut worker.is_hung) {
            return;
        }
        let (overdue, inbox) = (std::mem::take(&mut worker.overdue), std::mem::take(&mut worker.inbox));
        overdue.into_iter().for_each(|attempt| self.worker_finishes(at, attempt));
        inbox.into_iter().for_each(|(to, told)| self.worker_hears(at, to, told));
        self.after(1, Event::Connect(Peer::Worker(at)));
    }

    /// It stops in order: hands back what it has, and leaves.
    pub(super) fn worker_retires(&mut self, at: usize) {
        let worker = &mut self.workers[at];
        if !worker.is_alive || worker.is_hung || !worker.is_joined {
            return;
        }
        let (connection, id) = (worker.connection, worker.spec.id);
        self.send(connection, Input::Drain { worker: id });
        let running: Vec<Attempt> = self.workers[at].running.keys().copied().collect();
        for attempt in running {
            self.workers[at].running.remove(&attempt);
            self.workers[at].unsettled.insert(attempt, Report::HandedBack);
            self.worker_sends(at, attempt);
        }
        if let Some(number) = connection {
            self.send(connection, Input::Leave { worker: id, connection: number });
        }
        self.workers[at].is_alive = false;
        let after = 50 + self.random.below(1_500) as u64;
        self.after(after, Event::Replace(at));
    }
}

/// What an attempt results in: no two the same.
pub(super) fn done(attempt: Attempt) -> Bytes {
    format!("{}/{}", attempt.task, attempt.number).into()
}
