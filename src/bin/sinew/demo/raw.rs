//! The comparison: the same ping-pong and the same load over libzmq alone, PUB and SUB through an XSUB/XPUB proxy in a
//! process of its own, in plaintext. A message is one frame: a letter that stands for its subject, then the payload.

use std::time::{Duration, Instant};

use super::load::{Arrivals, OUTSTANDING_MAX, PATIENCE, ring};
use super::words::Word;
use crate::failure::Outcome;

const PROBE: u8 = b'?';
const PING: u8 = b'i';
const PONG: u8 = b'o';
const DATA: u8 = b'd';
const END: u8 = b'e';
const PROGRESS: u8 = b'p';

/// How often a probe is sent until the subscriptions are known to have reached the proxy.
const PROBE_EVERY_MS: i32 = 20;

/// Forwards until the process is ended.
pub(super) fn proxy(endpoint: &str) -> Outcome {
    let context = zmq::Context::new();
    let socket = |kind| -> Outcome<zmq::Socket> {
        let socket = context.socket(kind)?;
        unbounded(&socket)?;
        socket.bind(endpoint)?;
        Ok(socket)
    };
    let (publishers, subscribers) = (socket(zmq::XSUB)?, socket(zmq::XPUB)?);
    let place = |socket: &zmq::Socket| -> Outcome<String> {
        Ok(socket.get_last_endpoint()?.map_err(|_| "an endpoint that is no text")?)
    };
    Word::Ports { publishers: place(&publishers)?, subscribers: place(&subscribers)? }.say()?;
    zmq::proxy(&publishers, &subscribers)?;
    Ok(())
}

/// Both directions of one client.
struct Line {
    to: zmq::Socket,
    from: zmq::Socket,
    _context: zmq::Context,
}

impl Line {
    fn connect(publishers: &str, subscribers: &str, letters: &[u8]) -> Outcome<Self> {
        let context = zmq::Context::new();
        let (to, from) = (context.socket(zmq::PUB)?, context.socket(zmq::SUB)?);
        for socket in [&to, &from] {
            unbounded(socket)?;
            socket.set_linger(PATIENCE.as_millis() as i32)?;
        }
        from.set_rcvtimeo(PATIENCE.as_millis() as i32)?;
        letters.iter().try_for_each(|&letter| from.set_subscribe(&[letter]))?;
        to.connect(publishers)?;
        from.connect(subscribers)?;
        Ok(Self { to, from, _context: context })
    }

    fn send(&self, letter: u8, payload: &[u8]) -> Outcome {
        let mut frame = zmq::Message::with_size(1 + payload.len());
        frame[0] = letter;
        frame[1..].copy_from_slice(payload);
        Ok(self.to.send(frame, 0)?)
    }

    fn receive(&self) -> Outcome<zmq::Message> {
        Ok(self.from.recv_msg(0)?)
    }

    /// Sends probes until something comes back: then both directions stand.
    fn probe(&self) -> Outcome {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            self.send(PROBE, &[])?;
            if self.from.poll(zmq::POLLIN, i64::from(PROBE_EVERY_MS))? > 0 {
                return Ok(());
            }
        }
        Err("the other client did not answer through the proxy".into())
    }
}

/// No bound on what waits: the load bounds itself, and nothing may be dropped.
fn unbounded(socket: &zmq::Socket) -> Outcome {
    socket.set_sndhwm(0)?;
    Ok(socket.set_rcvhwm(0)?)
}

pub(super) fn ping(publishers: &str, subscribers: &str, rounds: u32, time: Duration) -> Outcome {
    let line = Line::connect(publishers, subscribers, &[PONG])?;
    line.probe()?;
    // Answers to later probes.
    while line.from.poll(zmq::POLLIN, i64::from(PROBE_EVERY_MS))? > 0 {
        line.receive()?;
    }
    let mut took_ns = Vec::with_capacity(rounds as usize);
    let began = Instant::now();
    while took_ns.is_empty() || ((took_ns.len() as u32) < rounds && began.elapsed() < time) {
        let start = Instant::now();
        line.send(PING, b"ping")?;
        line.receive()?;
        took_ns.push(start.elapsed().as_nanos() as u64);
    }
    Ok(Word::round_trips(took_ns).say()?)
}

pub(super) fn pong(publishers: &str, subscribers: &str) -> Outcome {
    let line = Line::connect(publishers, subscribers, &[PROBE, PING])?;
    line.from.set_rcvtimeo(-1)?;
    loop {
        line.receive()?;
        line.send(PONG, b"pong")?;
    }
}

pub(super) fn publish(publishers: &str, subscribers: &str, size: usize, time: Duration) -> Outcome {
    let line = Line::connect(publishers, subscribers, &[PROGRESS])?;
    line.probe()?;
    let ring = ring(size);
    let (mut sent, mut arrived) = (0_u64, 0_u64);
    let began = Instant::now();
    while !sent.is_multiple_of(256) || began.elapsed() < time {
        while sent - arrived >= OUTSTANDING_MAX {
            arrived = count(&line.receive()?);
        }
        line.send(DATA, &ring[sent as usize % ring.len()])?;
        sent += 1;
    }
    line.send(END, &sent.to_le_bytes())?;
    while arrived < sent {
        arrived = count(&line.receive()?);
    }
    Ok(Word::Sent { messages: sent }.say()?)
}

pub(super) fn subscribe(publishers: &str, subscribers: &str) -> Outcome {
    let line = Line::connect(publishers, subscribers, &[PROBE, DATA, END])?;
    let mut arrivals = Arrivals::new();
    loop {
        let message = line.receive()?;
        let tell = match message.first() {
            Some(&DATA) => arrivals.enter(&message[1..]),
            Some(&END) => break arrivals.received(count(&message)).say()?,
            _ => true,
        };
        if tell {
            line.send(PROGRESS, &arrivals.count.to_le_bytes())?;
        }
    }
    line.send(PROGRESS, &arrivals.count.to_le_bytes())
}

/// The number after the letter.
fn count(message: &[u8]) -> u64 {
    message.get(1..).and_then(<[u8]>::first_chunk).map_or(0, |count| u64::from_le_bytes(*count))
}
