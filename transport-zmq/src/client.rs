//! The client's side: a DEALER is a connection. From `connect` to admission here; then one task owns the socket.

mod attempt;
mod probe;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

pub(crate) use attempt::connect;

use crate::frames::Frame;
use crate::link::{Doorbell, End, Link, Outgoing};
use crate::message::Message;
use crate::monitor::{Event, Monitored};
use crate::socket::Sent;

/// After so many messages the task lets others have a turn.
const TURN: usize = 100;
/// How long libzmq may still try to bring out our last word when the connection was closed in order.
const LAST_WORD_MS: i32 = 1_000;

/// Owns the DEALER of one connection.
struct Owner {
    dealer: Monitored,
    link: Arc<Link>,
    doorbell: Arc<Doorbell>,
    out: VecDeque<Outgoing>,
    /// The message that did not fit.
    parked: Option<Message>,
}

impl Owner {
    async fn run(mut self) {
        if let Err(error) = self.serve().await {
            self.link.end(End::Lost(format!("libzmq failed: {error}")));
        }
        if self.link.has_last_word() {
            // A failure means that the word does not arrive, which the peer bears.
            let _ = self.dealer.socket().set(zmq_sys::ZMQ_LINGER, LAST_WORD_MS);
        }
    }

    async fn serve(&mut self) -> io::Result<()> {
        let mut turn = 0;
        loop {
            turn += self.receive()? + self.send()?;
            if self.link.is_over() {
                return Ok(());
            }
            if turn >= TURN {
                turn = 0;
                tokio::task::yield_now().await;
            }
            let events = self.dealer.socket().events()?;
            if events.readable || (events.writable && self.parked.is_some()) {
                continue;
            }
            turn = 0;
            tokio::select! {
                told = self.dealer.told() => if matches!(told?, Some(Event::Disconnected(_))) {
                    // What had arrived before is still given out.
                    while self.receive()? == TURN {}
                    self.link.end(End::Lost("the connection was cut".to_owned()));
                },
                () = self.doorbell.rung.notified() => {}
            }
        }
    }

    /// Takes in what has come, up to one turn's worth. Gives the number of messages.
    fn receive(&mut self) -> io::Result<usize> {
        for count in 0..TURN {
            let mut message = Message::new();
            if !self.dealer.socket().receive(&mut message)? {
                return Ok(count);
            }
            if let Err(why) = self.take_in(message) {
                self.link.end(End::Protocol(why));
                return Ok(count);
            }
        }
        Ok(TURN)
    }

    fn take_in(&self, message: Message) -> Result<(), &'static str> {
        if message.has_more() {
            return Err("it sent a message of several parts");
        }
        match Frame::parse(message.bytes())? {
            Frame::Block(lane) => self.link.take_in_block(lane, message.into_block()),
            frame => self.link.take_in(&frame),
        }
    }

    /// Gives libzmq what it takes, up to one turn's worth. Gives the number of messages.
    fn send(&mut self) -> io::Result<usize> {
        for count in 0..TURN {
            let Some(mut message) = self.parked.take().or_else(|| next_message(&self.link, &mut self.out)) else {
                return Ok(count);
            };
            match self.dealer.socket().send(&mut message)? {
                Sent::Done => {}
                Sent::Full | Sent::NoPeer => {
                    self.parked = Some(message);
                    return Ok(count);
                }
            }
        }
        // Come back for the rest.
        self.doorbell.rung.notify_one();
        Ok(TURN)
    }
}

/// The next message of a connection, from what was taken out of its link or from the link itself.
pub(crate) fn next_message(link: &Link, out: &mut VecDeque<Outgoing>) -> Option<Message> {
    if out.is_empty() {
        link.take_out(out);
    }
    let next = out.pop_front();
    if next.is_none() {
        link.handed_on();
    }
    next.map(|outgoing| outgoing.message())
}

impl Outgoing {
    pub(crate) fn message(self) -> Message {
        match self {
            Self::Control(frame) => Message::copied(&frame.encode()),
            Self::Block(lane, block) => Message::block(lane, &block),
        }
    }
}

impl Drop for Owner {
    /// Also when the runtime is shut down under it: whoever waits elsewhere must not wait for ever.
    fn drop(&mut self) {
        self.link.end(End::Lost("it was ended here".to_owned()));
    }
}
