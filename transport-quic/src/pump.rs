//! The task of a connection: writes what `try_send` left over, takes the peer's streams and words, notices the end.
//!
//! Blocks do not pass through it: they are written in `try_send` and read in `recv`.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use quinn::{ConnectionError, ReadError, ReadExactError, RecvStream};

use crate::connection::{Shared, lock};
use crate::ending::Ending;
use crate::frames::{WORDS, Word, WordReader};

/// Bytes of words read at once; there are rarely more than six.
const WORDS_READ_BYTES: usize = 64;

type Waiting<T> = Pin<Box<dyn Future<Output = T> + Send>>;

pub(crate) struct Pump {
    shared: Arc<Shared>,
    closed: Waiting<ConnectionError>,
    next_stream: Waiting<Result<RecvStream, ConnectionError>>,
    /// Streams whose number has not come yet: no more than the peer may open.
    unnumbered: Vec<RecvStream>,
    words: Option<(RecvStream, WordReader)>,
    confirmation: Confirmation,
}

/// How far the word `delivered` has come.
enum Confirmation {
    /// Not everything up to the peer's goodbye was given out.
    NotYet,
    /// Said; quinn had sent that many datagrams before, and the pump may look that often whether there are more.
    Said(u64, u32),
    /// On its way.
    Sent,
}

/// How often the pump looks whether the word has left, before it lets the receiver go without being sure: quinn sends it
/// as soon as its own task has had a turn, unless the network is congested.
const TURNS_MAX: u32 = 64;

impl Pump {
    pub(crate) fn new(shared: Arc<Shared>, words: Option<(RecvStream, WordReader)>) -> Self {
        let quic = shared.quic.clone();
        let closed = Box::pin(async move { quic.closed().await });
        let next_stream = next_stream(&shared);
        Self { shared, closed, next_stream, unnumbered: Vec::new(), words, confirmation: Confirmation::NotYet }
    }

    /// Takes new streams, and gives those whose number is here to their place.
    fn take_streams(&mut self, cx: &mut Context<'_>) -> Result<(), Ending> {
        while let Poll::Ready(stream) = self.next_stream.as_mut().poll(cx) {
            self.next_stream = next_stream(&self.shared);
            self.unnumbered.push(stream.map_err(|error| Ending::of(&error))?);
        }
        let mut at = 0;
        while at < self.unnumbered.len() {
            let mut number = [0];
            let read = pin!(self.unnumbered[at].read_exact(&mut number)).poll(cx);
            match read {
                Poll::Pending => at += 1,
                Poll::Ready(Ok(())) => {
                    let stream = self.unnumbered.swap_remove(at);
                    self.place(number[0], stream)?;
                }
                Poll::Ready(Err(ReadExactError::ReadError(ReadError::ConnectionLost(error)))) => {
                    return Err(Ending::of(&error));
                }
                Poll::Ready(Err(_)) => return Err(Ending::Fault("it opened a stream without a number".to_owned())),
            }
        }
        Ok(())
    }

    fn place(&mut self, number: u8, stream: RecvStream) -> Result<(), Ending> {
        match (number, &self.words) {
            (WORDS, None) => self.words = Some((stream, WordReader::default())),
            (WORDS, Some(_)) => return Err(Ending::Fault("it opened two streams for words".to_owned())),
            (lane, _) => lock(&self.shared.inbound).add(lane, stream)?,
        }
        Ok(())
    }

    /// Hears what the peer says.
    fn hear(&mut self, cx: &mut Context<'_>) -> Result<(), Ending> {
        let Some((stream, reader)) = &mut self.words else { return Ok(()) };
        loop {
            while let Some(word) = reader.take().map_err(Ending::Fault)? {
                match word {
                    // The client hears the first one before there is a pump; another changes nothing.
                    Word::Admitted => {}
                    Word::Goodbye(lanes) => {
                        lock(&self.shared.inbound).goodbye(lanes)?;
                        self.shared.signals.listen();
                        self.shared.signals.wake_receiver();
                    }
                    Word::Delivered => {
                        self.shared.delivered.store(true, Ordering::Release);
                        self.shared.wake_all();
                    }
                }
            }
            let mut bytes = [0; WORDS_READ_BYTES];
            let read = pin!(stream.read(&mut bytes)).poll(cx);
            match read {
                Poll::Pending | Poll::Ready(Ok(None)) => return Ok(()),
                Poll::Ready(Ok(Some(count))) => reader.feed(&bytes[..count]).map_err(Ending::Fault)?,
                Poll::Ready(Err(ReadError::ConnectionLost(error))) => return Err(Ending::of(&error)),
                Poll::Ready(Err(_)) => return Err(Ending::Fault("it broke off its words".to_owned())),
            }
        }
    }

    /// Confirms the peer's goodbye once everything before it was given out, and tells the receiver of the end once the
    /// word has left: the program may end right after that, and the peer would wait in vain.
    fn confirm(&mut self, cx: &mut Context<'_>) -> Result<(), Ending> {
        let shared = &self.shared;
        let datagrams = || shared.quic.stats().udp_tx.datagrams;
        match &mut self.confirmation {
            Confirmation::NotYet => {
                if !lock(&shared.inbound).is_at_end()? {
                    return Ok(());
                }
                lock(&shared.outbound).say(&shared.quic, Word::Delivered)?;
                self.confirmation = Confirmation::Said(datagrams(), TURNS_MAX);
                cx.waker().wake_by_ref();
            }
            Confirmation::Said(before, turns) if *turns > 0 && datagrams() == *before => {
                *turns -= 1;
                cx.waker().wake_by_ref();
            }
            Confirmation::Said(..) => {
                self.confirmation = Confirmation::Sent;
                shared.at_end.store(true, Ordering::Release);
                shared.wake_all();
            }
            Confirmation::Sent => {}
        }
        Ok(())
    }

    fn write(&mut self, cx: &mut Context<'_>) -> Result<(), Ending> {
        let mut outbound = lock(&self.shared.outbound);
        outbound.pump_is(cx.waker());
        let waiter = match outbound.drive(&self.shared.quic, cx)? {
            true => outbound.take_waiter(),
            false => None,
        };
        drop(outbound);
        waiter.into_iter().for_each(std::task::Waker::wake);
        Ok(())
    }

    fn step(&mut self, cx: &mut Context<'_>) -> Result<(), Ending> {
        self.shared.signals.pump_waits(cx.waker());
        self.take_streams(cx)?;
        self.hear(cx)?;
        self.confirm(cx)?;
        self.write(cx)
    }
}

fn next_stream(shared: &Shared) -> Waiting<Result<RecvStream, ConnectionError>> {
    let quic = shared.quic.clone();
    Box::pin(async move { quic.accept_uni().await })
}

impl Future for Pump {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // What arrived before the end is looked at first.
        if let Err(ending) = self.step(cx) {
            self.shared.end(ending);
        }
        match self.closed.as_mut().poll(cx) {
            Poll::Ready(error) => {
                self.shared.end(Ending::of(&error));
                Poll::Ready(())
            }
            Poll::Pending => Poll::Pending,
        }
    }
}
