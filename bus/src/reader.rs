//! From the records of a subscription to what the application sees: parsed in the application's own thread.

use std::time::Duration;

use bytes::Bytes;
use sinew_session::{Record, Run};

use crate::protocol::{MessageHead, flag, subject_of, verb};
use crate::{Gap, Headers, Subject};

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it is about.
    pub subject: Subject,
    /// Its headers. They share a receive buffer: copy what is kept for long.
    pub headers: Headers,
    /// Its payload. It shares a receive buffer: copy what is kept for long.
    pub body: Bytes,
    /// Whether it is the subject's kept value, published before the subscription began.
    pub retained: bool,
    /// Whether it is a copy of a request, which somebody else answers.
    pub request: bool,
}

impl Message {
    /// A live message without headers.
    #[inline]
    pub fn new(subject: Subject, body: impl Into<Bytes>) -> Self {
        Self { subject, headers: Headers::default(), body: body.into(), retained: false, request: false }
    }

    /// A kept value, with the message head that it was published with.
    pub(crate) fn kept(subject: Subject, head: &Bytes, body: Bytes) -> Self {
        let headers = MessageHead::read(head).map(|read| Headers::received(head.slice(read.headers.0..read.headers.1)));
        Self { headers: headers.unwrap_or_default(), retained: true, ..Self::new(subject, body) }
    }
}

/// What comes on a subscription of any kind.
#[derive(Debug)]
pub(crate) enum Event {
    Message(Message),
    /// To be answered.
    Asked {
        message: Message,
        token: u64,
        deadline: Duration,
    },
    Lagged(u64),
    Gap(Gap),
}

/// Records that came in one piece, and how far they were read.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    records: Bytes,
    at: usize,
    /// The subject of the last one: mostly that of the next as well.
    subject: Option<Subject>,
}

impl Reader {
    /// Goes on with another piece.
    pub(crate) fn feed(&mut self, records: Bytes) {
        (self.records, self.at) = (records, 0);
    }

    /// The next record, and the bytes read for it, those of records that make no sense included.
    #[inline]
    pub(crate) fn next(&mut self, consumed: &mut u64) -> Option<Event> {
        loop {
            let record = Run::resume(&self.records, self.at)?.next()?;
            let subject = subject_of(&record).unwrap_or_default();
            if self.subject.as_ref().is_none_or(|last| last.as_bytes() != subject) {
                self.subject = Subject::try_from(Bytes::copy_from_slice(subject)).ok();
            }
            self.at += record.size();
            *consumed += record.size() as u64;
            // Our servers check subjects. What another one sends under none is left out, and what follows is not.
            if let Some(subject) = self.subject.clone()
                && let Some(event) = event(&record, subject)
            {
                return Some(event);
            }
        }
    }
}

#[inline]
fn event(record: &Record<'_>, subject: Subject) -> Option<Event> {
    let message = Message::new(subject, record.body_shared());
    let plain = record.head().len() == 2 + message.subject.as_bytes().len();
    if plain && record.header.verb == verb::DELIVER {
        return Some(Event::Message(message));
    }
    event_with_more(record, message)
}

#[cold]
fn event_with_more(record: &Record<'_>, message: Message) -> Option<Event> {
    let head = MessageHead::read(record.head())?;
    let headers = Headers::received(record.head_shared(head.headers.0..head.headers.1));
    let retained = record.header.verb == verb::KEPT;
    let asked = record.header.verb == verb::ASKED;
    let request = !asked && head.flags & flag::REQUEST != 0;
    let message = Message { headers, retained, request, ..message };
    if !asked {
        return Some(Event::Message(message));
    }
    let deadline = Duration::from_millis(head.deadline_ms()?.into());
    Some(Event::Asked { message, token: head.token()?, deadline })
}
