//! A consumer group through restarts of its server, beside a model: random members' doings from a seed, while the server is
//! killed and its engine opened again from the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_core::Stream;
use sinew_eventsource::{Engine, GroupEvent, GroupOptions, GroupSettings, Log, LogLimits, Member, Position};
use sinew_session::{ResourceName, Server};

use super::{name, numbered, stream};
use crate::random::{Random, Telltale};
use crate::setup::{Setup, soon};

/// Keys of [`numbered`].
const KEYS: u32 = 3;
/// Events that members have in hand and have not settled, at most.
const IN_HAND_MAX: usize = 3;
/// What is done between two restarts.
const STEPS: u32 = 20;
/// Members, each with a client of its own.
const MEMBERS: usize = 2;

struct Crew<'a> {
    setup: &'a mut Setup,
    /// While it runs.
    served: Option<(Server, Arc<dyn Engine>)>,
    logs: Vec<Log>,
    members: Vec<Member>,
    /// Looks on.
    admin: Log,
    stream: ResourceName,
    group: ResourceName,
    random: Random,
    model: Model,
}

/// What is known of the events.
#[derive(Debug, Default)]
struct Model {
    appended: u32,
    /// Where the group began, last.
    first: u64,
    /// With a member, by offset: it is to be settled.
    in_hand: BTreeMap<u64, (usize, GroupEvent)>,
    acknowledged: BTreeSet<u64>,
    /// Acknowledged since the server was started, and not known to be durable.
    unflushed: Vec<(usize, u64)>,
    /// These must not come again.
    durable: BTreeSet<u64>,
    /// Handed back since the last flush. What was on its way when the server was killed is said again to the next, and
    /// taken for an event that was handed out anew by then, which goes to somebody else while its member has it.
    handed_back: BTreeSet<u64>,
    handed_back_twice: BTreeSet<u64>,
    /// Acknowledgements that came too late, as each member was told.
    late: [u64; MEMBERS],
}

impl Model {
    /// Whether something must come that is not held up by what is in hand.
    fn is_due(&self) -> bool {
        let held: BTreeSet<u64> = self.in_hand.keys().map(|offset| offset % u64::from(KEYS)).collect();
        let mut open = (self.first..self.appended.into()).filter(|offset| !self.acknowledged.contains(offset));
        open.any(|offset| !held.contains(&(offset % u64::from(KEYS))))
    }

    /// An event comes to a member.
    fn take(&mut self, member: usize, event: GroupEvent) {
        let offset = event.offset;
        assert_eq!(event.payload, (offset as u32).to_le_bytes()[..], "event {offset}");
        assert!(offset >= self.first, "event {offset} came, and the group begins at {}", self.first);
        assert!(!self.durable.contains(&offset), "event {offset} came again, and its acknowledgement was durable");
        let before = (self.first..offset).filter(|before| before % u64::from(KEYS) == offset % u64::from(KEYS));
        let open: Vec<u64> = before.filter(|before| !self.acknowledged.contains(before)).collect();
        assert!(open.is_empty(), "event {offset} came before {open:?} of its key were dealt with");
        let twice = self.in_hand.insert(offset, (member, event));
        let may = self.handed_back_twice.contains(&offset);
        assert!(twice.is_none() || may, "event {offset} is with two members, or twice with one");
    }

    /// The server has forgotten who had what.
    fn restarted(&mut self) {
        self.in_hand.clear();
        self.unflushed.clear();
        self.handed_back_twice = std::mem::take(&mut self.handed_back);
    }

    /// What is known when a member's acknowledgements are durable. Where some came too late nobody says which.
    fn flushed(&mut self, member: usize, late: u64) {
        let is_whole = std::mem::replace(&mut self.late[member], late) == late;
        let (of_it, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.unflushed).into_iter().partition(|of| of.0 == member);
        self.unflushed = rest;
        if is_whole {
            self.durable.extend(of_it.into_iter().map(|(_, offset)| offset));
        }
    }
}

/// Members of a group with key order append, take, acknowledge, hand back and begin anew, as the seed says; the server is
/// killed `restarts` times, and serves what `open` gives: the engine opened again. No event whose acknowledgement was
/// durable comes again, those of a key come one after the other, and in the end all were dealt with.
///
/// # Panics
/// If it is not so; then the seed is printed.
pub async fn groups_through_restarts(
    setup: &mut Setup,
    open: impl AsyncFn() -> Arc<dyn Engine>,
    seed: u64,
    restarts: u32,
) {
    let _telltale = Telltale(seed);
    let mut crew = Crew::new(setup, open().await, Random::new(seed)).await;
    for _ in 0..restarts {
        for _ in 0..STEPS {
            crew.step().await;
        }
        crew.restart(&open).await;
    }
    crew.finish().await;
}

impl<'a> Crew<'a> {
    async fn new(setup: &'a mut Setup, engine: Arc<dyn Engine>, random: Random) -> Self {
        let server = setup.serve_log_on(engine.clone(), LogLimits::default()).await;
        let (admin, stream) = stream(setup, 0, "crewed").await;
        let group = name("crew");
        // Nothing comes again for its age, however slow the machine is.
        let settings =
            GroupSettings { key_order: true, acknowledge_within: Duration::from_secs(3_600), ..Default::default() };
        let options = GroupOptions { settings, in_flight_max: 8, ..GroupOptions::default() };
        let (mut logs, mut members) = (Vec::new(), Vec::new());
        for number in 0..MEMBERS {
            let log = setup.log(number).await;
            members.push(soon("joining", log.join(&stream, &group, options.clone())).await.expect("it is one"));
            logs.push(log);
        }
        let (served, model) = (Some((server, engine)), Model::default());
        Self { setup, served, logs, members, admin, stream, group, random, model }
    }

    async fn step(&mut self) {
        match self.random.below(20) {
            0..6 => self.append().await,
            6..12 if self.model.in_hand.len() < IN_HAND_MAX && self.model.is_due() => self.take().await,
            6..17 => self.settle_one(),
            17..19 => self.flush().await,
            _ => self.reset().await,
        }
    }

    async fn append(&mut self) {
        for _ in 0..=self.random.below(3) {
            let appended = self.admin.append(&self.stream, numbered(self.model.appended));
            soon("an append", appended).await.expect("it is stored");
            self.model.appended += 1;
        }
    }

    /// The next event, whoever gets it.
    async fn take(&mut self) {
        let members = &mut self.members;
        let next = poll_fn(|cx| {
            for (number, member) in members.iter_mut().enumerate() {
                if let Poll::Ready(event) = Pin::new(&mut *member).poll_next(cx) {
                    let event = event.unwrap_or_else(|| panic!("the membership ended: {:?}", member.end()));
                    return Poll::Ready((number, event));
                }
            }
            Poll::Pending
        });
        let (member, event) = soon("the next event", next).await;
        self.model.take(member, event);
    }

    fn settle_one(&mut self) {
        let count = self.model.in_hand.len();
        if count == 0 {
            return;
        }
        let number = self.random.below(count);
        let offset = *self.model.in_hand.keys().nth(number).expect("below their number");
        let (member, event) = self.model.in_hand.remove(&offset).expect("it is there");
        if self.random.once_in(4) {
            self.members[member].nack(&event, Duration::from_millis(1));
            self.model.handed_back.insert(offset);
            return;
        }
        self.members[member].ack(&event);
        self.model.acknowledged.insert(offset);
        self.model.unflushed.push((member, offset));
    }

    async fn flush(&mut self) {
        for (number, member) in self.members.iter().enumerate() {
            soon("the flush", member.flush()).await.expect("it is durable");
            self.model.flushed(number, member.late());
        }
        self.model.handed_back.clear();
    }

    async fn reset(&mut self) {
        // What is on its way is about what was handed out before.
        self.flush().await;
        let to = self.random.below(self.model.appended as usize + 1) as u64;
        let reset = self.admin.reset_group(&self.stream, &self.group, Position::Offset(to));
        soon("the reset", reset).await.expect("it is done");
        self.reach_members().await;
        let late = self.model.late;
        self.model = Model { appended: self.model.appended, first: to, late, ..Model::default() };
    }

    /// An answer on each member's session comes behind whatever was said to it before.
    async fn reach_members(&self) {
        for log in &self.logs {
            soon("an answer", log.info(&self.stream)).await.expect("the stream is there");
        }
    }

    /// The server is killed, the engine opened again, and the members come back, with nothing in hand.
    async fn restart(&mut self, open: &impl AsyncFn() -> Arc<dyn Engine>) {
        let (server, engine) = self.served.take().expect("it runs");
        soon("the kill", server.abort()).await;
        if self.random.once_in(2) {
            soon("closing", engine.close()).await.expect("it is closed");
        }
        drop(engine);
        let engine = open().await;
        let server = self.setup.serve_log_on(engine.clone(), LogLimits::default()).await;
        self.served = Some((server, engine));
        let back = async {
            loop {
                let info = self.admin.group(&self.stream, &self.group).await.expect("the group is there");
                if info.members == MEMBERS as u64 {
                    return;
                }
            }
        };
        soon("coming back", back).await;
        self.reach_members().await;
        self.model.restarted();
    }

    /// Settles all that is there, and looks that nothing is left.
    async fn finish(mut self) {
        loop {
            while let Some((offset, (member, event))) = self.model.in_hand.pop_first() {
                self.members[member].ack(&event);
                self.model.acknowledged.insert(offset);
                self.model.unflushed.push((member, offset));
            }
            self.flush().await;
            let info = soon("the group", self.admin.group(&self.stream, &self.group)).await.expect("it is there");
            if info.lag == 0 {
                assert_eq!((info.offset, info.in_flight), (self.model.appended.into(), 0));
                break;
            }
            self.take().await;
        }
        for member in self.members {
            soon("leaving", member.leave()).await.expect("all is durable");
        }
        let (server, _engine) = self.served.expect("it runs");
        server.drain().await;
    }
}
