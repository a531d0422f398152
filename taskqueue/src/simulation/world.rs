//! Everything around a queue: time, a network, a store, clients, workers, and what befalls them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sinew_session::ResourceName;
use sinew_testkit::random::Random;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::client::Client;
use super::network::{Network, Peer, Told};
use super::oracle::{Oracle, Violation};
use super::plan::Plan;
use super::store::Store;
use super::worker::Worker;
use crate::clock::Clock;
use crate::scheduler::Scheduler;
use crate::shell::{Shell, Storing, Total};
use crate::{Asker, Attempt, Effect, Error, Input, Level, Listed, Moment, Outlet, Queue, QueueConfig};

pub(super) const LEASE: Duration = Duration::from_secs(3);
/// Nothing more befalls anybody from then on.
const STORM: u64 = 15_000;
/// Everything has ended by then.
const END: u64 = 150_000;

/// What happens next.
#[derive(Debug)]
pub(super) enum Event {
    Up { connection: u64, generation: u32, input: Input },
    Down { to: Asker, generation: u32, told: Told },
    Noticed { connection: u64, generation: u32 },
    Dropped { connection: u64, generation: u32 },
    Connect(Peer),
    Act(usize),
    Renew(usize),
    Rejoin(usize),
    Finish(usize, Attempt),
    Wake(usize),
    Replace(usize),
    Fault,
    Calm,
    Check,
    ServerStarts,
    StoreBegins(u32),
    StoreDone(u32),
}

/// What is let out.
#[derive(Debug)]
struct Mouth {
    effects: Mutex<Vec<Effect>>,
    notify: Arc<Notify>,
}

impl Outlet for Mouth {
    fn let_out(&self, _queue: &ResourceName, effects: Vec<Effect>) {
        self.effects.lock().unwrap_or_else(PoisonError::into_inner).extend(effects);
        self.notify.notify_one();
    }

    fn ended(&self, _queue: &ResourceName, _why: &Error) {}
}

#[derive(Debug)]
pub(super) struct Server {
    pub(super) shell: Arc<Shell>,
    mouth: Arc<Mouth>,
    rang: Arc<AtomicBool>,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) random: Random,
    started: Instant,
    clock: Clock,
    /// Milliseconds.
    pub(super) now: u64,
    events: BTreeMap<(u64, u64), Event>,
    serial: u64,
    pub(super) network: Network,
    pub(super) server: Option<Server>,
    /// Counts the runs of the server.
    pub(super) run: u32,
    notify: Arc<Notify>,
    store: Store,
    pub(super) durable: bool,
    pub(super) oracle: Oracle,
    pub(super) clients: Vec<Client>,
    pub(super) workers: Vec<Worker>,
    pub(super) keyed: [Plan; 3],
    pub(super) trace: Option<Vec<String>>,
    /// Calls of nobody.
    pub(super) asked: u32,
}

pub(super) fn config(durable: bool) -> QueueConfig {
    let level = if durable { Level::Fsynced } else { Level::Memory };
    QueueConfig { level, lease: LEASE, idempotency_kept: Duration::from_secs(3_600), ..QueueConfig::default() }
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let started = Instant::now();
        let durable = !random.once_in(3);
        let keyed = std::array::from_fn(|_| Plan::draw(&mut random));
        let mut world = Self {
            random,
            started,
            clock: Clock::at(Moment(1_000_000_000_000), started),
            now: 0,
            events: BTreeMap::new(),
            serial: 0,
            network: Network::default(),
            server: None,
            run: 0,
            notify: Arc::default(),
            store: Store::default(),
            durable,
            oracle: Oracle::new(durable),
            clients: Vec::new(),
            workers: Vec::new(),
            keyed,
            trace: None,
            asked: 0,
        };
        world.server_starts();
        for tags in [&[][..], &["gpu"], &["arm", "gpu"]] {
            let credit = 1 + world.random.below(3) as u32;
            world.worker_starts(tags, credit);
        }
        for _ in 0..2 {
            let left = 6 + world.random.below(8);
            world.client_starts(left);
        }
        world.after(500, Event::Fault);
        world.after(STORM, Event::Calm);
        world.after(500, Event::Check);
        world
    }

    pub(super) fn at(&mut self, at: u64, event: Event) {
        self.serial += 1;
        self.events.insert((at.max(self.now), self.serial), event);
    }

    pub(super) fn after(&mut self, span: u64, event: Event) {
        self.at(self.now + span, event);
    }

    pub(super) fn storms(&self) -> bool {
        self.now < STORM
    }

    pub(super) fn tell(&mut self, input: Input) {
        let Some(server) = &self.server else { return };
        self.oracle.told(self.now, &input);
        server.shell.tell(vec![input]);
        self.hear();
    }

    /// Takes what was let out.
    fn hear(&mut self) {
        while let Some(server) = &self.server {
            let effects = std::mem::take(&mut *server.mouth.effects.lock().unwrap_or_else(PoisonError::into_inner));
            if server.rang.swap(false, Ordering::Relaxed) {
                self.store.awaits = true;
                self.begin_storing();
            }
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                if let Some(trace) = &mut self.trace {
                    trace.push(format!("{} out {effect:?}", self.now));
                }
                self.oracle.hears(self.now, &effect);
                self.route(effect);
            }
        }
    }

    fn begin_storing(&mut self) {
        if !self.store.is_busy && std::mem::take(&mut self.store.awaits) {
            let after = self.random.below(3) as u64;
            self.store.is_busy = true;
            self.after(after, Event::StoreBegins(self.run));
        }
    }

    fn store_begins(&mut self) {
        let Some(server) = &self.server else { return };
        if self.random.once_in(15) {
            let known = server.shell.look(Scheduler::known).into_iter().map(|task| (task, None));
            self.store.carried = server.shell.carry(&known.collect::<Vec<_>>());
        }
        self.store.writing = server.shell.unstored();
        let after = 1 + self.random.below(12) as u64;
        self.after(after, Event::StoreDone(self.run));
    }

    fn store_done(&mut self) {
        if let Some((written, records)) = self.store.done(&mut self.random) {
            self.oracle.stored(&records);
            if let Some(server) = &self.server {
                server.shell.stored(written);
            }
        }
        self.hear();
        self.begin_storing();
    }

    fn server_stops(&mut self) {
        if self.server.take().is_none() {
            return;
        }
        self.run += 1;
        let torn = self.store.crash(&mut self.random);
        self.oracle.stored(&torn);
        self.sever();
        let after = 20 + self.random.below(2_500) as u64;
        self.after(after, Event::ServerStarts);
    }

    fn server_starts(&mut self) {
        let mut scheduler = Scheduler::new("q", config(self.durable));
        let now = self.clock.now();
        if self.durable && self.run > 0 {
            self.store.journal.iter().cloned().for_each(|record| scheduler.apply(record));
            scheduler.recovered(now);
        }
        let live = scheduler.tasks(Listed::Live, None, usize::MAX).len() as u64;
        let rang = Arc::new(AtomicBool::new(false));
        let (rings, notify) = (rang.clone(), self.notify.clone());
        let ring: Box<dyn Fn() + Send + Sync> = Box::new(move || {
            rings.store(true, Ordering::Relaxed);
            notify.notify_one();
        });
        let (name, level) = ("q".parse().expect("a name"), config(self.durable).level);
        let shell = Shell::start(
            name,
            level,
            self.clock,
            scheduler,
            self.durable.then_some(Storing { ring, waiting_bytes_max: 64 << 20, total: Total::new(64 << 20) }),
        );
        let mouth = Arc::new(Mouth { effects: Mutex::default(), notify: self.notify.clone() });
        shell.listen(mouth.clone());
        self.oracle.started(self.now, self.run, live);
        self.server = Some(Server { shell, mouth, rang });
    }

    fn fault(&mut self) {
        if !self.storms() {
            return;
        }
        let after = 200 + self.random.below(1_800) as u64;
        self.after(after, Event::Fault);
        let worker = self.random.below(self.workers.len());
        match self.random.below(16) {
            0..=4 => {
                let up: Vec<_> = self.network.lines.iter().filter(|(_, line)| line.is_up).collect();
                if up.is_empty() {
                    return;
                }
                let (connection, peer) =
                    up.get(self.random.below(up.len())).map(|(at, line)| (**at, line.peer)).expect("one");
                self.cut(connection);
                let after = 50 + self.random.below(6_000) as u64;
                self.after(after, Event::Connect(peer));
            }
            5..=7 => self.worker_hangs(worker),
            8..=9 => {
                if self.workers[worker].is_alive {
                    self.worker_dies(worker);
                }
            }
            10..=11 => self.worker_retires(worker),
            12..=13 => self.server_stops(),
            _ => {
                let at = self.random.below(self.clients.len());
                if self.clients[at].is_alive && self.random.once_in(2) {
                    self.client_dies(at);
                    let left = self.clients[at].left;
                    self.client_starts(left);
                }
            }
        }
    }

    /// All that was cut comes back, and there is somebody for every task.
    fn calm(&mut self) {
        for at in 0..self.workers.len() {
            self.worker_wakes(at);
            self.after(1, Event::Connect(Peer::Worker(at)));
        }
        for at in 0..self.clients.len() {
            self.after(1, Event::Connect(Peer::Client(at)));
        }
        self.worker_starts(&["arm", "gpu"], 8);
    }

    fn step(&mut self, event: Event) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{} {event:?}", self.now));
        }
        match event {
            Event::Up { connection, generation, input } => self.arrive_up(connection, generation, input),
            Event::Down { to, generation, told } => self.arrive_down(to, generation, told),
            Event::Noticed { connection, generation } => self.notice(connection, generation),
            Event::Dropped { connection, generation } => self.drop_session(connection, generation),
            Event::Connect(peer) => self.connect(peer),
            Event::Act(at) => self.client_acts(at),
            Event::Renew(at) => self.worker_renews(at),
            Event::Rejoin(at) => {
                if self.is_up(self.workers[at].connection) {
                    self.worker_joins(at);
                }
            }
            Event::Finish(at, attempt) => self.worker_finishes(at, attempt),
            Event::Wake(at) => self.worker_wakes(at),
            Event::Replace(at) => {
                let spec = self.workers[at].spec.clone();
                let tags: Vec<&str> = spec.tags.iter().map(String::as_str).collect();
                self.worker_starts(&tags, spec.credit);
            }
            Event::Fault => self.fault(),
            Event::Calm => self.calm(),
            Event::Check => {
                if let Some(server) = &self.server {
                    self.oracle.checks(self.now, &server.shell);
                }
                self.after(500, Event::Check);
            }
            Event::ServerStarts => self.server_starts(),
            Event::StoreBegins(run) if run == self.run => self.store_begins(),
            Event::StoreDone(run) if run == self.run => self.store_done(),
            Event::StoreBegins(_) | Event::StoreDone(_) => {}
        }
    }

    /// Nothing is left to be done.
    fn is_over(&self) -> bool {
        let Some(server) = self.server.as_ref().filter(|_| !self.storms() && !self.store.is_busy) else {
            return false;
        };
        let live = server.shell.look(|scheduler| scheduler.tasks(Listed::Live, None, 1).len());
        let is_settled =
            |client: &Client| client.left == 0 && client.mine.values().all(super::client::Mine::is_settled);
        live == 0 && self.clients.iter().filter(|client| client.is_alive).all(is_settled)
    }

    /// Time goes on until `is_done`.
    pub(super) async fn live(&mut self, is_done: impl Fn(&Self) -> bool) -> Result<(), Violation> {
        loop {
            self.now = self.started.elapsed().as_millis() as u64;
            self.hear();
            if let Some(violation) = self.oracle.broken.take() {
                return Err(violation);
            }
            let due = self.events.first_entry().filter(|entry| entry.key().0 <= self.now);
            if let Some(entry) = due {
                let event = entry.remove();
                self.step(event);
                continue;
            }
            if is_done(self) {
                return Ok(());
            }
            if self.now > END {
                return Err(self.oracle.unfinished(self.server.as_ref().map(|server| &*server.shell)));
            }
            let next = self.events.first_key_value().map_or(self.now + 1, |((at, _), _)| *at);
            let next = self.started + Duration::from_millis(next);
            let notify = self.notify.clone();
            tokio::select! {
                biased;
                () = notify.notified() => {}
                () = tokio::time::sleep_until(next) => {}
            }
        }
    }

    pub(super) async fn storm(&mut self) -> Result<(), Violation> {
        self.live(Self::is_over).await?;
        let server = self.server.as_ref().expect("it is over only while there is one");
        self.oracle.ends(&server.shell);
        self.oracle.broken.take().map_or(Ok(()), Err)
    }

    /// Whoever works here leaves, and nothing more is on its way to anybody.
    pub(super) fn all_workers_leave(&mut self) {
        self.events.retain(|_, event| matches!(event, Event::StoreBegins(_) | Event::StoreDone(_)));
        let workers = self.network.lines.iter().filter_map(|(connection, line)| match line.peer {
            Peer::Worker(at) => Some((self.workers[at].spec.id, *connection)),
            Peer::Client(_) => None,
        });
        for (worker, connection) in workers.collect::<Vec<_>>() {
            self.tell(Input::Leave { worker, connection });
        }
    }

    /// Nothing more is on its way to be stored.
    pub(super) fn is_quiet(&self) -> bool {
        !self.store.is_busy && !self.store.awaits
    }
}
