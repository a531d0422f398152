//! A client, as the crate's own behaves: what was not accepted is submitted again, what was is attached to again.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::network::{Peer, Told};
use super::oracle::Violation;
use super::plan::Plan;
use super::world::{Event, World};
use crate::{Answer, Asker, Error, Input, Moment, Outcome, Spec, TaskId};

#[derive(Debug)]
pub(super) struct Client {
    pub(super) connection: Option<u64>,
    pub(super) is_alive: bool,
    pub(super) owner: Arc<str>,
    pub(super) mine: BTreeMap<TaskId, Mine>,
    pub(super) left: usize,
    calls: BTreeMap<(u64, u32), Call>,
    call: u32,
}

#[derive(Clone, Copy, Debug)]
enum Call {
    Submit(TaskId),
    Attach(TaskId),
    Cancel,
    Detach(TaskId),
}

/// A task that it submitted.
#[derive(Debug)]
pub(super) struct Mine {
    spec: Spec,
    call: u32,
    /// By which run of the server, and as which task.
    pub(super) accepted: Option<(u32, TaskId)>,
    refused: bool,
    detached: bool,
    pub(super) outcome: Option<Arc<Outcome>>,
    pub(super) unknown: bool,
}

impl Mine {
    pub(super) fn is_settled(&self) -> bool {
        self.refused || self.detached || self.unknown || self.outcome.is_some()
    }
}

impl Client {
    pub(super) fn new(at: usize, left: usize) -> Self {
        let owner = format!("client-{at}").into();
        let (mine, calls) = (BTreeMap::new(), BTreeMap::new());
        Self { connection: None, is_alive: true, owner, mine, left, calls, call: 0 }
    }
}

impl World {
    fn call(&mut self, at: usize, call: Call) -> Asker {
        let client = &mut self.clients[at];
        client.call += 1;
        let asker = Asker { connection: client.connection.unwrap_or(0), call: client.call };
        client.calls.insert((asker.connection, asker.call), call);
        asker
    }

    pub(super) fn client_acts(&mut self, at: usize) {
        if !self.clients[at].is_alive {
            return;
        }
        let pick = self.random.below(10);
        if pick < 6 && self.clients[at].left > 0 {
            self.client_submits(at);
        } else if pick == 6 || pick == 7 {
            self.client_gives_up(at, pick == 6);
        }
        if self.storms() || self.clients[at].left > 0 {
            let after = 10 + self.random.below(900) as u64;
            self.after(after, Event::Act(at));
        }
    }

    fn client_submits(&mut self, at: usize) {
        let mut plan = Plan::draw(&mut self.random);
        let mut options = plan.options(&mut self.random);
        if self.random.once_in(5) {
            let key = self.random.below(3);
            plan = self.keyed[key];
            options.stall_timeout = plan.options(&mut self.random).stall_timeout;
            options.idempotency_key = Some(format!("key-{key}"));
        }
        let client = &mut self.clients[at];
        client.left -= 1;
        let id = TaskId::of(1_000 + at as u64, client.mine.len() as u64);
        let (owner, payload) = (client.owner.clone(), plan.payload());
        let spec = Spec { id, owner, submitted: Moment::default(), options, payload, fingerprint: 0 };
        let mine =
            Mine { spec, call: 0, accepted: None, refused: false, detached: false, outcome: None, unknown: false };
        client.mine.insert(id, mine);
        self.client_sends(at, id);
    }

    fn client_sends(&mut self, at: usize, id: TaskId) {
        let asker = self.call(at, Call::Submit(id));
        let client = &mut self.clients[at];
        let mine = client.mine.get_mut(&id).expect("it is its own");
        mine.call = asker.call;
        let (connection, spec) = (client.connection, mine.spec.clone());
        self.send(connection, Input::Submit { asker, spec: spec.into() });
    }

    /// It cancels or detaches one.
    fn client_gives_up(&mut self, at: usize, cancels: bool) {
        let open = self.clients[at].mine.iter().filter(|(_, mine)| mine.accepted.is_some() && !mine.is_settled());
        let open: Vec<TaskId> = open.map(|(id, _)| *id).collect();
        if open.is_empty() {
            return;
        }
        let id = open[self.random.below(open.len())];
        let (task, of) = {
            let mine = &self.clients[at].mine[&id];
            (mine.accepted.expect("it was accepted").1, mine.call)
        };
        let (owner, connection) = (self.clients[at].owner.clone(), self.clients[at].connection);
        if cancels {
            let asker = self.call(at, Call::Cancel);
            self.send(connection, Input::Cancel { asker: Some(asker), task, owner: Some(owner) });
        } else {
            let asker = self.call(at, Call::Detach(id));
            self.send(connection, Input::Detach { asker, call: of, task });
        }
    }

    pub(super) fn client_connected(&mut self, at: usize, connection: u64) {
        let (durable, run) = (self.durable, self.run);
        let client = &mut self.clients[at];
        client.connection = Some(connection);
        let open: Vec<TaskId> = client.mine.iter().filter(|(_, mine)| !mine.is_settled()).map(|(id, _)| *id).collect();
        for id in open {
            match self.clients[at].mine[&id].accepted {
                None => self.client_sends(at, id),
                Some((of, _)) if !durable && of != run => {
                    self.clients[at].mine.get_mut(&id).expect("it is its own").unknown = true;
                }
                Some((_, task)) => {
                    let asker = self.call(at, Call::Attach(id));
                    let client = &mut self.clients[at];
                    client.mine.get_mut(&id).expect("it is its own").call = asker.call;
                    let owner = Some(client.owner.clone());
                    self.send(Some(connection), Input::Attach { asker, task, owner });
                }
            }
        }
    }

    pub(super) fn client_hears(&mut self, at: usize, to: Asker, told: Told) {
        let run = self.run;
        let client = &mut self.clients[at];
        if !client.is_alive {
            return;
        }
        match told {
            Told::Answer(answer) => {
                let call = client.calls.remove(&(to.connection, to.call));
                match (call, answer) {
                    (Some(Call::Submit(id)), Ok(Answer::Accepted { task, .. })) => {
                        client.mine.get_mut(&id).expect("it is its own").accepted = Some((run, task));
                    }
                    (Some(Call::Submit(id)), Err(Error::NoWorkers { .. })) => {
                        client.mine.get_mut(&id).expect("it is its own").refused = true;
                    }
                    (Some(Call::Detach(id)), Ok(_)) => {
                        client.mine.get_mut(&id).expect("it is its own").detached = true;
                    }
                    (Some(Call::Submit(id) | Call::Attach(id)), Err(error)) => {
                        let what = format!("{id}: {error}");
                        self.oracle.broken.get_or_insert(Violation { rule: "an outcome is kept", what });
                    }
                    _ => {}
                }
            }
            Told::Ended(task, outcome) => {
                let own = client
                    .mine
                    .iter_mut()
                    .filter(|(id, mine)| **id == task || mine.accepted.is_some_and(|(_, is)| is == task));
                own.for_each(|(_, mine)| mine.outcome = Some(outcome.clone()));
                let (owner, connection) = (client.owner.clone(), client.connection);
                self.send(connection, Input::Release { task, owner });
            }
            _ => {}
        }
    }

    /// It is gone for good.
    pub(super) fn client_dies(&mut self, at: usize) {
        self.clients[at].is_alive = false;
        if let Some(connection) = self.clients[at].connection {
            self.cut(connection);
        }
    }

    pub(super) fn client_starts(&mut self, left: usize) {
        let at = self.clients.len();
        self.clients.push(Client::new(at, left));
        self.after(1, Event::Connect(Peer::Client(at)));
        self.after(5, Event::Act(at));
    }
}
