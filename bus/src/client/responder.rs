//! Answering requests.

use std::time::Duration;

use bytes::Bytes;
use sinew_session::Header;

use super::Bus;
use crate::protocol::{SERVICE, answer_head, verb};
use crate::reader::Event;
use crate::{Error, Headers, Message, Result, Subscription};

/// Answers requests whose subject matches its pattern. Each request goes to one responder, in rotation among those that
/// match; plain subscriptions do not count. Dropping it ends it at the server, and those who wait for it are told.
#[derive(Debug)]
pub struct Responder {
    subscription: Subscription,
    bus: Bus,
    missed: u64,
}

impl Responder {
    pub(super) fn new(subscription: Subscription, bus: Bus) -> Self {
        Self { subscription, bus, missed: 0 }
    }

    /// The next request; `None` once the session has ended, then [`end`](Self::end) says why. Cancel-safe.
    pub async fn next(&mut self) -> Option<Asked> {
        loop {
            match self.subscription.next_event().await? {
                Event::Asked { message, token, deadline } => {
                    let reply = Reply { bus: self.bus.clone(), number: self.subscription.inbox.number, token };
                    return Some(Asked { message, deadline, reply: Some(reply) });
                }
                Event::Lagged(count) | Event::Gap(crate::Gap::Exact(count)) => self.missed += count,
                Event::Gap(crate::Gap::Unknown) | Event::Message(_) => {}
            }
        }
    }

    /// Requests that never reached it, because it was too slow or its connection was cut. Those who asked were told.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// Why nothing more comes.
    pub fn end(&self) -> Option<Error> {
        self.subscription.end()
    }

    /// Takes no new requests, and still gives out those that wait; then [`next`](Self::next) gives `None`. One round
    /// trip.
    ///
    /// # Errors
    /// `Session` if the server could not be asked.
    pub async fn drain(&mut self) -> Result<()> {
        self.subscription.drain().await
    }
}

/// A request. Answer it; dropped unanswered, it tells the requester so.
#[derive(Debug)]
pub struct Asked {
    /// What is asked.
    pub message: Message,
    /// How long the requester waits, counted from its asking.
    pub deadline: Duration,
    reply: Option<Reply>,
}

#[derive(Debug)]
struct Reply {
    bus: Bus,
    number: u32,
    token: u64,
}

impl Asked {
    /// Answers. Waits only while the outbox is full.
    ///
    /// # Errors
    /// `Session` with `RecordSize`, or why the session ended.
    pub async fn answer(self, body: impl Into<Bytes>) -> Result<()> {
        self.answer_with(body, &Headers::default()).await
    }

    /// Answers with headers.
    ///
    /// # Errors
    /// As [`answer`](Self::answer).
    pub async fn answer_with(mut self, body: impl Into<Bytes>, headers: &Headers) -> Result<()> {
        let body = body.into();
        let session = self.reply.as_ref().expect("answered once").bus.session().clone();
        let bytes = sinew_session::HEADER_BYTES + 11 + headers.as_bytes().len() + body.len();
        if bytes > session.record_bytes_max() {
            return Err(sinew_session::Error::RecordSize { bytes, max: session.record_bytes_max() }.into());
        }
        session.room().await?;
        let reply = self.reply.take().expect("answered once");
        reply.send(self.message.subject.as_bytes(), false, headers, &body);
        Ok(())
    }

    /// Says that it cannot be done, and why: the requester gets [`Error::ResponderFailed`].
    pub fn fail(mut self, reason: &str) {
        let reply = self.reply.take().expect("answered once");
        reply.send(
            self.message.subject.as_bytes(),
            true,
            &Headers::default(),
            &Bytes::copy_from_slice(reason.as_bytes()),
        );
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if let Some(reply) = self.reply.take() {
            let reason = Bytes::from_static(b"it dropped the request without an answer");
            reply.send(self.message.subject.as_bytes(), true, &Headers::default(), &reason);
        }
    }
}

impl Reply {
    fn send(self, subject: &[u8], failed: bool, headers: &Headers, body: &Bytes) {
        let header = Header { service: SERVICE, verb: verb::ANSWER, flags: 0, call: self.number };
        let mut packer = self.bus.session().outbox().pack();
        let lane = packer.lane(subject);
        packer.push(lane, header, &[&answer_head(self.token, failed, headers), headers.as_bytes()], body);
    }
}
