//! Raw libzmq: an XPUB/XSUB proxy for messages and a ROUTER/DEALER proxy for requests, in a process of their own, and
//! the blocking sockets that talk through them. Water marks are off: the cap bounds what is outstanding.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::Write;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use zmq::{Context, CurveKeyPair, Message, SNDMORE, Socket, SocketType};

use super::{Ask, Asks, Over, Peer, Publish, Subscribe, check_answer};
use crate::Outcome;
use crate::measure::Progress;
use crate::payload::{Payloads, Word};
use crate::place::Place;

/// The longest wait for anything: a run that loses something ends by itself.
const WAIT_MS: i32 = 20_000;

/// How often one who answers looks whether it is over.
const LOOK_MS: i32 = 100;
/// From here on a body is a frame of its own behind the subject's; a smaller one stands behind it in the same frame.
const FRAME_OF_ITS_OWN: usize = 16 * 1024;

/// Raw libzmq.
#[derive(Debug)]
pub(crate) struct Raw;

/// A socket that publishes; an XPUB, because that one hears of subscriptions.
pub(crate) struct Speaker {
    socket: Socket,
    subject: &'static str,
    frame: Vec<u8>,
}

/// A socket that hears.
pub(crate) struct Listener {
    socket: Socket,
    subject: &'static str,
    message: Message,
}

/// A socket that asks.
pub(crate) struct Asker(RefCell<Socket>);

/// Both proxies, until the process is ended. Prints where they are.
pub(crate) fn proxy(secured: bool) -> Outcome {
    let context = Context::new();
    let keys = secured.then(CurveKeyPair::new).transpose()?;
    let bind = |kind| -> Outcome<(Socket, String)> {
        let socket = socket(&context, kind)?;
        if let Some(keys) = &keys {
            socket.set_curve_server(true)?;
            socket.set_curve_secretkey(&keys.secret_key)?;
        }
        socket.bind("tcp://127.0.0.1:*")?;
        let address = socket.get_last_endpoint()?.map_err(|_| "libzmq gave an address that is no text")?;
        Ok((socket, address))
    };
    let ((front, address), (behind, back)) = (bind(zmq::XSUB)?, bind(zmq::XPUB)?);
    let ((asked, requests), (answered, answers)) = (bind(zmq::ROUTER)?, bind(zmq::DEALER)?);
    let curve_key = keys.map(|keys| zmq::z85_encode(&keys.public_key)).transpose()?;
    let place = Place { address, back, requests, answers, curve_key, ..Place::default() };
    writeln!(std::io::stdout(), "{}", serde_json::to_string(&place)?)?;
    std::thread::spawn(move || zmq::proxy(&asked, &answered));
    Ok(zmq::proxy(&front, &behind)?)
}

fn socket(context: &Context, kind: SocketType) -> Outcome<Socket> {
    let socket = context.socket(kind)?;
    socket.set_sndhwm(0)?;
    socket.set_rcvhwm(0)?;
    Ok(socket)
}

fn connect(place: &Place, kind: SocketType, address: &str) -> Outcome<Socket> {
    let socket = socket(&Context::new(), kind)?;
    socket.set_rcvtimeo(WAIT_MS)?;
    socket.set_linger(WAIT_MS)?;
    if let Some(server) = &place.curve_key {
        let own = CurveKeyPair::new()?;
        socket.set_curve_serverkey(&zmq::z85_decode(server)?)?;
        socket.set_curve_publickey(&own.public_key)?;
        socket.set_curve_secretkey(&own.secret_key)?;
    }
    socket.connect(address)?;
    Ok(socket)
}

impl Peer for Raw {
    type Publisher = Speaker;
    type Subscriber = Listener;

    async fn publisher(place: &Place, subject: &'static str) -> Outcome<Speaker> {
        Ok(Speaker { socket: connect(place, zmq::XPUB, &place.address)?, subject, frame: Vec::new() })
    }

    async fn subscriber(place: &Place, subject: &'static str) -> Outcome<Listener> {
        let socket = connect(place, zmq::SUB, &place.back)?;
        socket.set_subscribe(subject.as_bytes())?;
        Ok(Listener { socket, subject, message: Message::new() })
    }

    /// The library blocks.
    fn block_on<F: Future>(side: F) -> F::Output {
        futures::executor::block_on(side)
    }
}

impl Asks for Raw {
    type Asker = Asker;

    async fn asker(place: &Place) -> Outcome<Asker> {
        Ok(Asker(RefCell::new(connect(place, zmq::DEALER, &place.requests)?)))
    }

    async fn answer(place: &Place, ready: impl FnOnce(), mut over: Over) -> Outcome {
        let socket = connect(place, zmq::DEALER, &place.answers)?;
        socket.set_rcvtimeo(LOOK_MS)?;
        ready();
        let mut message = Message::new();
        loop {
            // The proxy's envelope, then the question; both go back as they came.
            match socket.recv(&mut message, 0) {
                Err(zmq::Error::EAGAIN) if over.try_recv() == Ok(None) => continue,
                Err(zmq::Error::EAGAIN) => return Ok(()),
                received => received?,
            }
            let more = if message.get_more() { SNDMORE } else { 0 };
            socket.send(std::mem::replace(&mut message, Message::new()), more)?;
        }
    }

    /// As for messages.
    fn block_on<F: Future>(side: F) -> F::Output {
        <Self as Peer>::block_on(side)
    }
}

impl Publish for Speaker {
    async fn publish(&mut self, body: Bytes) -> Outcome {
        if body.len() >= FRAME_OF_ITS_OWN {
            self.socket.send(self.subject, SNDMORE)?;
            return Ok(self.socket.send(&body[..], 0)?);
        }
        self.frame.clear();
        self.frame.extend_from_slice(self.subject.as_bytes());
        self.frame.extend_from_slice(&body);
        Ok(self.socket.send(&self.frame[..], 0)?)
    }

    async fn wait_heard(&mut self) -> Outcome {
        // The proxy tells every publisher of every subscription, those of the other direction too.
        loop {
            let told = self.socket.recv_bytes(0)?;
            let (verb, subject) = told.split_first().ok_or("an empty frame instead of a subscription")?;
            if *verb == 1 && subject == self.subject.as_bytes() {
                return Ok(());
            }
        }
    }
}

impl Listener {
    fn receive(&mut self) -> Outcome<&[u8]> {
        self.socket.recv(&mut self.message, 0)?;
        if self.message.get_more() {
            self.socket.recv(&mut self.message, 0)?;
            return Ok(&self.message);
        }
        Ok(&self.message[self.subject.len()..])
    }
}

impl Subscribe for Listener {
    async fn next(&mut self) -> Outcome<Bytes> {
        self.receive().map(Bytes::copy_from_slice)
    }

    async fn listen(mut self, mut heard: impl FnMut(&[u8]) -> bool + Send + 'static) -> Outcome {
        while heard(self.receive()?) {}
        Ok(())
    }
}

impl Ask for Asker {
    async fn ask(&self, body: Bytes) -> Outcome<Bytes> {
        let socket = self.0.borrow();
        socket.send(&body[..], 0)?;
        Ok(socket.recv_bytes(0)?.into())
    }

    /// The socket blocks, so the requests under way are kept here.
    async fn storm(&self, in_flight: usize, size: usize, progress: &Progress) -> Outcome {
        let (socket, mut payloads) = (self.0.borrow(), Payloads::new(size));
        let (mut pending, mut number, mut message) = (HashMap::new(), 0_u64, Message::new());
        loop {
            while pending.len() < in_flight && !progress.over.load(Ordering::Relaxed) {
                pending.insert(number, Instant::now());
                socket.send(&payloads.next(Word::Counted(number))[..], 0)?;
                number += 1;
            }
            if pending.is_empty() {
                return Ok(());
            }
            socket.recv(&mut message, 0)?;
            let Some(Word::Counted(answered)) = Word::of(&message) else { return check_answer(number, &message) };
            let began = pending.remove(&answered).ok_or("an answer to nothing that was asked")?;
            progress.record(began.elapsed());
        }
    }
}
