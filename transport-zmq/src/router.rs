//! The task that owns a listener's ROUTER: it knows every peer, moves messages in both directions, and never waits for
//! one of them.
//!
//! **Invariants.** A peer is in the table from libzmq's notice that it came to the notice that it went. It is *ended*
//! at most once; from then on nothing of it is taken in, and nothing but a last word sent. A peer that is full is parked
//! and tried again at each wake-up.

mod admission;
mod ending;
mod peers;
mod wires;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sinew_transport_api::Error;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

pub(crate) use self::admission::Rules;
use self::peers::{Peers, Stage};
use self::wires::{WireId, Wires};
use crate::client::next_message;
use crate::frames::Frame;
use crate::link::{Doorbell, End, Outgoing};
use crate::message::Message;
use crate::monitor::{Event, Monitored};
use crate::porch::Porch;
use crate::socket::Sent;

/// After so many messages the task lets others have a turn.
const TURN: usize = 100;
/// Messages to one peer before it is the next one's turn.
const SHARE: usize = 32;
/// A backstop while somebody is parked: a call for one peer may take in the signal that was meant for another.
const PARKED_RETRY: Duration = Duration::from_millis(20);
/// How long libzmq may still bring out last words after the end.
const LAST_WORD_MS: i32 = 1_000;

pub(crate) struct Router {
    router: Monitored,
    rules: Rules,
    porch: Arc<Porch>,
    closing: Arc<Closing>,
    doorbell: Arc<Doorbell>,
    peers: Peers,
    wires: Wires,
    /// Those whose TCP connection is to be ended now.
    doomed: Vec<WireId>,
    /// Peers of which it is not sure yet which connection is theirs.
    unsure: Vec<Unsure>,
    /// Places of peers that want to send, and of those that were full.
    wanting: Vec<usize>,
    parked: Vec<usize>,
    unbound: bool,
}

/// From when on it is sure that a peer is that of a connection, if it is still there then.
struct Unsure {
    from: Instant,
    slot: usize,
    serial: u64,
    wire: WireId,
}

/// How a listener asks its router to end, and learns that it takes nobody any more.
pub(crate) struct Closing {
    /// How often it was asked. Each time anew, since connections may have been dropped in between.
    asked: AtomicU64,
    bell: tokio::sync::Notify,
    /// Which of the questions is answered, and with it those before.
    done: watch::Sender<u64>,
}

/// The answer to all questions: the address is free.
const FREE: u64 = u64::MAX;

impl Default for Closing {
    fn default() -> Self {
        Self { asked: AtomicU64::new(0), bell: tokio::sync::Notify::new(), done: watch::Sender::new(0) }
    }
}

impl Closing {
    /// Gives the number of the question, for [`done`](Self::done).
    pub(crate) fn ask(&self) -> u64 {
        let number = self.asked.fetch_add(1, Ordering::AcqRel) + 1;
        self.bell.notify_one();
        number
    }

    /// Waits until the address is free, or until newcomers are turned away where connections live on that were held
    /// when question `number` was asked.
    pub(crate) async fn done(&self, number: u64) {
        // The sender is in `self`: it cannot be gone.
        let _ = self.done.subscribe().wait_for(|done| *done >= number).await;
    }
}

impl Router {
    pub(crate) fn new(router: Monitored, rules: Rules, porch: Arc<Porch>, closing: Arc<Closing>) -> Self {
        Self {
            wires: Wires::new(rules.limits()),
            router,
            rules,
            porch,
            closing,
            doorbell: Arc::default(),
            peers: Peers::default(),
            doomed: Vec::new(),
            unsure: Vec::new(),
            wanting: Vec::new(),
            parked: Vec::new(),
            unbound: false,
        }
    }

    pub(crate) async fn run(mut self) {
        if let Err(cause) = self.serve().await {
            self.porch.fail(Error::Io { what: format!("serving {}", self.rules.endpoint), cause });
        }
    }

    async fn serve(&mut self) -> io::Result<()> {
        let mut turn = 0;
        loop {
            let received = self.receive()?;
            turn += received + self.send()?;
            self.read_monitor()?;
            self.look_at_the_clock(received < TURN);
            self.end_doomed()?;
            if self.is_finished()? {
                return Ok(());
            }
            if turn >= TURN {
                turn = 0;
                tokio::task::yield_now().await;
            }
            // Taking in what libzmq's threads said may have made room for those who are parked.
            let readable = self.router.socket().events()?.readable;
            self.wanting.append(&mut self.parked);
            let sent = self.send()?;
            turn += sent;
            if readable || sent > 0 || !self.wanting.is_empty() {
                continue;
            }
            turn = 0;
            self.wait().await?;
        }
    }

    async fn wait(&mut self) -> io::Result<()> {
        let parked = (!self.parked.is_empty()).then(|| Instant::now() + PARKED_RETRY);
        let unsure = self.unsure.iter().map(|unsure| unsure.from).min();
        let until = [self.peers.next_deadline(), self.wires.next_due(), parked, unsure].into_iter().flatten().min();
        tokio::select! {
            told = self.router.told() => if let Some(event) = told? { self.tell(event) },
            () = self.doorbell.rung.notified() => {}
            () = self.closing.bell.notified() => {}
            () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {}
        }
        Ok(())
    }

    /// Takes in what has come, up to one turn's worth. Gives the number of messages.
    fn receive(&mut self) -> io::Result<usize> {
        let mut from = Message::new();
        for count in 0..TURN {
            if !self.router.socket().receive(&mut from)? {
                return Ok(count);
            }
            let mut message = Message::new();
            if !from.has_more() || !self.router.socket().receive(&mut message)? {
                continue;
            }
            let one_part = !message.has_more();
            let mut rest = Message::new();
            let mut more = !one_part;
            while more && self.router.socket().receive(&mut rest)? {
                more = rest.has_more();
            }
            self.take_in(from.bytes(), message, one_part)?;
        }
        Ok(TURN)
    }

    fn take_in(&mut self, from: &[u8], message: Message, one_part: bool) -> io::Result<()> {
        // What a peer sent carries properties of its connection; libzmq's own notices carry none.
        if message.bytes().is_empty() && one_part && message.property(c"Socket-Type").is_none() {
            match self.peers.find(from) {
                Some(slot) => self.gone(slot, "the connection was cut"),
                None => self.knocked(from),
            }
            return Ok(());
        }
        let Some(slot) = self.peers.find(from) else { return Ok(()) };
        if matches!(self.peers[slot].stage, Stage::Knocking) {
            self.find_wire(slot, &message)?;
        }
        let frame = if one_part { Frame::parse(message.bytes()) } else { Err("it sent a message of several parts") };
        let result = match (&self.peers[slot].stage, frame) {
            (Stage::Ended, _) => {
                self.talks_on(slot, message.bytes().len());
                return Ok(());
            }
            (_, Err(why)) => Err(why),
            (Stage::Live(link), Ok(Frame::Block(lane))) => link.take_in_block(lane, message.into_block()),
            (Stage::Live(link), Ok(frame)) => link.take_in(&frame),
            (Stage::Knocking, Ok(Frame::Hello(terms))) => {
                self.admit(slot, terms, &message);
                return Ok(());
            }
            (Stage::Knocking, Ok(_)) => Err("it did not begin with a hello"),
        };
        if let Err(why) = result {
            self.cut_off(slot, why);
        }
        Ok(())
    }

    /// Sends what connections want to send, as far as libzmq takes it. Gives the number of messages.
    fn send(&mut self) -> io::Result<usize> {
        self.doorbell.take(&mut self.wanting);
        let mut sent = 0;
        for slot in std::mem::take(&mut self.wanting) {
            sent += self.send_to(slot)?;
        }
        Ok(sent)
    }

    fn send_to(&mut self, slot: usize) -> io::Result<usize> {
        for count in 0..SHARE {
            let Some(peer) = self.peers.get(slot) else { return Ok(count) };
            if peer.message.is_none() {
                peer.message = match &peer.stage {
                    Stage::Live(link) => next_message(link, &mut peer.out),
                    _ => peer.out.pop_front().map(Outgoing::message),
                };
            }
            let Some(message) = &mut peer.message else {
                self.leave_if_over(slot);
                return Ok(count);
            };
            match self.router.socket().send_to(&peer.id, message)? {
                Sent::Done => peer.message = None,
                Sent::Full => {
                    self.parked.push(slot);
                    return Ok(count);
                }
                Sent::NoPeer => {
                    self.gone(slot, "the connection was cut");
                    return Ok(count);
                }
            }
        }
        self.wanting.push(slot);
        Ok(SHARE)
    }

    fn read_monitor(&mut self) -> io::Result<()> {
        while let Some(event) = self.router.monitor.take()? {
            self.tell(event);
        }
        Ok(())
    }

    fn tell(&mut self, event: Event) {
        match event {
            Event::Accepted(descriptor, address) => self.accepted(descriptor, address),
            Event::Disconnected(descriptor) => self.wires.closed(descriptor, Instant::now()),
            // The descriptor that listened is closed.
            Event::NotConnected if self.unbound => drop(self.closing.done.send_replace(FREE)),
            event => self.rules.explain(event).into_iter().for_each(|error| self.porch.report(error)),
        }
    }

    /// `dry`: everything there was to receive has been.
    fn look_at_the_clock(&mut self, dry: bool) {
        let now = Instant::now();
        while let Some(slot) = self.peers.late(now) {
            self.too_late(slot);
        }
        self.doomed.extend(std::iter::from_fn(|| self.wires.take_due(now)));
        if dry {
            self.be_sure(now);
        }
    }

    /// Whether the listener is closed and nobody holds a connection any more; before that the address is freed.
    fn is_finished(&mut self) -> io::Result<bool> {
        // Before the look at the connections: whoever asks has dropped before what he does not hold.
        let asked = self.closing.asked.load(Ordering::Acquire);
        if asked == 0 {
            return Ok(false);
        }
        if !self.unbound {
            if self.peers.links().any(|link| !link.is_over()) {
                self.answer(asked);
                return Ok(false);
            }
            self.unbound = true;
            // The connections end with the address: what they were told last goes first.
            self.send()?;
            self.router.socket().set(zmq_sys::ZMQ_LINGER, LAST_WORD_MS)?;
            self.rules.remove_file();
            self.router.socket().unbind(&self.rules.bound)?;
        }
        Ok(*self.closing.done.borrow() == FREE)
    }

    fn answer(&self, number: u64) {
        self.closing.done.send_if_modified(|done| std::mem::replace(done, number) != number);
    }
}

impl Drop for Router {
    /// Also when the runtime is shut down under it: whoever waits elsewhere must not wait for ever.
    fn drop(&mut self) {
        for link in self.peers.links() {
            link.end(End::Lost("it was ended here".to_owned()));
        }
        self.porch.close();
        self.closing.done.send_replace(FREE);
    }
}
