//! Sessions between the server and its clients and workers: delayed, cut, resumed, gone. What is on its way at a cut is lost.

use std::collections::BTreeMap;

use super::world::{Event, World};
use crate::{Answer, Asker, Attempt, Effect, Error, Input, Outcome, Spec, TaskId};
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    Client(usize),
    Worker(usize),
}

/// A session.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) peer: Peer,
    /// Counts its connections, so that what was on its way over an older one is lost.
    pub(super) generation: u32,
    pub(super) is_up: bool,
    /// The server has seen that it is cut.
    pub(super) is_noticed: bool,
    /// The server knows it no more.
    pub(super) is_gone: bool,
    last_up: u64,
    last_down: u64,
}

#[derive(Debug, Default)]
pub(super) struct Network {
    pub(super) lines: BTreeMap<u64, Line>,
    drawn: u64,
}

/// What somebody hears.
#[derive(Clone, Debug)]
pub(super) enum Told {
    Answer(Result<Answer, Error>),
    Ended(TaskId, Arc<Outcome>),
    Progress,
    Assign(Arc<Spec>, u32),
    Recall(Attempt),
    Dismissed,
}

impl World {
    fn delay(&mut self) -> u64 {
        let slow = self.random.once_in(40);
        1 + self.random.below(if slow { 400 } else { 15 }) as u64
    }

    pub(super) fn is_up(&self, connection: Option<u64>) -> bool {
        connection.and_then(|number| self.network.lines.get(&number)).is_some_and(|line| line.is_up)
    }

    /// Somebody sends something to the server.
    pub(super) fn send(&mut self, connection: Option<u64>, input: Input) {
        let Some(connection) = connection.filter(|_| self.is_up(connection)) else { return };
        let (now, delay) = (self.now, self.delay());
        let line = self.network.lines.get_mut(&connection).expect("it is up");
        line.last_up = line.last_up.max(now + delay);
        let (at, generation) = (line.last_up, line.generation);
        self.at(at, Event::Up { connection, generation, input });
    }

    /// The server lets something out.
    pub(super) fn route(&mut self, effect: Effect) {
        match effect {
            Effect::Answer { to, answer } => self.send_down(to, Told::Answer(answer)),
            Effect::Ended { to, task, outcome } => {
                to.into_iter().for_each(|to| self.send_down(to, Told::Ended(task, outcome.clone())));
            }
            Effect::Progress { to, .. } => to.into_iter().for_each(|to| self.send_down(to, Told::Progress)),
            Effect::Assign { to, spec, number, .. } => self.send_down(to, Told::Assign(spec, number)),
            Effect::Recall { to, attempt, .. } => self.send_down(to, Told::Recall(attempt)),
            Effect::Dismissed { to, .. } => self.send_down(to, Told::Dismissed),
        }
    }

    fn send_down(&mut self, to: Asker, told: Told) {
        let (now, delay) = (self.now, self.delay());
        let Some(line) = self.network.lines.get_mut(&to.connection).filter(|line| line.is_up && !line.is_gone) else {
            return;
        };
        line.last_down = line.last_down.max(now + delay);
        let (at, generation) = (line.last_down, line.generation);
        self.at(at, Event::Down { to, generation, told });
    }

    pub(super) fn arrive_up(&mut self, connection: u64, generation: u32, input: Input) {
        if self.network.lines.get(&connection).is_some_and(|line| line.generation == generation && !line.is_gone) {
            self.tell(input);
        }
    }

    pub(super) fn arrive_down(&mut self, to: Asker, generation: u32, told: Told) {
        let line = self.network.lines.get(&to.connection).filter(|line| line.generation == generation);
        match line.map(|line| line.peer) {
            Some(Peer::Client(at)) => self.client_hears(at, to, told),
            Some(Peer::Worker(at)) => self.worker_hears(at, to, told),
            None => {}
        }
    }

    /// A connection breaks. The server sees that after a while.
    pub(super) fn cut(&mut self, connection: u64) {
        let Some(line) = self.network.lines.get_mut(&connection).filter(|line| line.is_up) else { return };
        (line.is_up, line.is_noticed, line.generation) = (false, false, line.generation + 1);
        let generation = line.generation;
        let after = 1 + self.random.below(2_500) as u64;
        self.after(after, Event::Noticed { connection, generation });
    }

    pub(super) fn notice(&mut self, connection: u64, generation: u32) {
        let line = self.network.lines.get_mut(&connection);
        let Some(line) = line.filter(|line| line.generation == generation && !line.is_noticed && !line.is_gone) else {
            return;
        };
        line.is_noticed = true;
        let peer = line.peer;
        if let Peer::Worker(at) = peer {
            let worker = self.workers[at].spec.id;
            self.tell(Input::Cut { worker, connection });
        }
        let after = 2_000 + self.random.below(15_000) as u64;
        self.after(after, Event::Dropped { connection, generation });
    }

    /// A session was not resumed in time.
    pub(super) fn drop_session(&mut self, connection: u64, generation: u32) {
        let line = self.network.lines.get_mut(&connection);
        let Some(line) = line.filter(|line| line.generation == generation && !line.is_gone) else { return };
        line.is_gone = true;
        let peer = line.peer;
        match peer {
            Peer::Client(_) => self.tell(Input::Gone { connection }),
            Peer::Worker(at) => {
                let worker = self.workers[at].spec.id;
                self.tell(Input::Leave { worker, connection });
            }
        }
    }

    /// Somebody comes, or comes back: to the same session if the server still knows it.
    pub(super) fn connect(&mut self, peer: Peer) {
        let (known, lives) = match peer {
            Peer::Client(at) => (self.clients[at].connection, self.clients[at].is_alive),
            Peer::Worker(at) => (self.workers[at].connection, self.workers[at].is_alive && !self.workers[at].is_hung),
        };
        if !lives || self.is_up(known) {
            return;
        }
        if self.server.is_none() {
            let after = 100 + self.random.below(500) as u64;
            return self.after(after, Event::Connect(peer));
        }
        let known = known.filter(|number| self.network.lines.get(number).is_some_and(|line| !line.is_gone));
        let connection = known.unwrap_or_else(|| {
            self.network.drawn += 1;
            let line =
                Line { peer, generation: 0, is_up: false, is_noticed: true, is_gone: false, last_up: 0, last_down: 0 };
            self.network.lines.insert(self.network.drawn, line);
            self.network.drawn
        });
        // Who resumes shows that the old connection is cut.
        let generation = self.network.lines[&connection].generation;
        self.notice(connection, generation);
        let line = self.network.lines.get_mut(&connection).expect("just made");
        (line.is_up, line.is_noticed, line.generation) = (true, false, line.generation + 1);
        match peer {
            Peer::Client(at) => self.client_connected(at, connection),
            Peer::Worker(at) => self.worker_connected(at, connection),
        }
    }

    /// The server is gone, and all that is connected to it.
    pub(super) fn sever(&mut self) {
        let mut peers = Vec::new();
        for line in self.network.lines.values_mut().filter(|line| !line.is_gone) {
            (line.is_up, line.is_gone, line.generation) = (false, true, line.generation + 1);
            peers.push(line.peer);
        }
        for peer in peers {
            let after = 10 + self.random.below(2_000) as u64;
            self.after(after, Event::Connect(peer));
        }
    }
}
