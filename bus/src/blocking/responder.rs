//! Answering requests, for callers that wait.

use std::time::Duration;

use bytes::Bytes;
use sinew_session::{Error as SessionError, block_on, block_on_for};

use crate::{Error, Headers, Message, Result};

/// Answers requests. See [`Responder`](crate::Responder). Dropping it ends it at the server, and those who wait for it
/// are told.
///
/// As an iterator it waits for each request, and ends with the session; then [`end`](Self::end) says why.
///
/// ```
/// # let (_server, bus) = sinew_testkit::memory::bus_of_its_own();
/// # let bus = sinew_bus::blocking::Bus::new(bus);
/// let mut responder = bus.respond(&"lamp.*".parse()?)?;
/// let asker = bus.clone();
/// let asking = std::thread::spawn(move || asker.request(&"lamp.hall".parse()?, "state"));
/// if let Some(asked) = responder.next() {
///     asked?.answer("on")?;
/// }
/// assert_eq!(asking.join().expect("no panic")?.body, "on");
/// # Ok::<(), sinew_bus::Error>(())
/// ```
#[derive(Debug)]
pub struct Responder {
    inner: crate::Responder,
}

impl Responder {
    pub(crate) fn new(inner: crate::Responder) -> Self {
        Self { inner }
    }

    /// The next request, if it comes within `timeout`; `None` if none does.
    ///
    /// # Errors
    /// Why nothing more comes; `Session(InsideRuntime)`.
    pub fn next_within(&mut self, timeout: Duration) -> Result<Option<Asked>> {
        match block_on_for(self.inner.next(), timeout)? {
            Some(None) => Err(self.end().unwrap_or(Error::Session(SessionError::Closed))),
            came => Ok(came.flatten().map(|inner| Asked { inner })),
        }
    }

    /// Why nothing more comes.
    pub fn end(&self) -> Option<Error> {
        self.inner.end()
    }

    /// As [`Responder::drain`](crate::Responder::drain).
    ///
    /// # Errors
    /// As [`Responder::drain`](crate::Responder::drain).
    pub fn drain(&mut self) -> Result<()> {
        block_on(self.inner.drain())?
    }
}

impl Iterator for Responder {
    type Item = Result<Asked>;

    fn next(&mut self) -> Option<Result<Asked>> {
        let next = block_on(self.inner.next()).map_err(Error::from).transpose()?;
        Some(next.map(|inner| Asked { inner }))
    }
}

/// A request. Answer it; dropped unanswered, it tells the requester so.
#[derive(Debug)]
pub struct Asked {
    inner: crate::Asked,
}

impl Asked {
    /// What is asked.
    pub fn message(&self) -> &Message {
        &self.inner.message
    }

    /// How long the requester waits, counted from its asking.
    pub fn deadline(&self) -> Duration {
        self.inner.deadline
    }

    /// Answers. Waits only while the outbox is full.
    ///
    /// # Errors
    /// As [`Asked::answer`](crate::Asked::answer); `Session(InsideRuntime)`.
    pub fn answer(self, body: impl Into<Bytes>) -> Result<()> {
        block_on(self.inner.answer(body))?
    }

    /// Answers with headers.
    ///
    /// # Errors
    /// As [`answer`](Self::answer).
    pub fn answer_with(self, body: impl Into<Bytes>, headers: &Headers) -> Result<()> {
        block_on(self.inner.answer_with(body, headers))?
    }

    /// Says that it cannot be done, and why.
    pub fn fail(self, reason: &str) {
        self.inner.fail(reason);
    }
}
