//! Asking somebody on the bus, and waiting for the answer.

use std::time::Duration;

use bytes::Bytes;
use sinew_session::Error as SessionError;

use super::Bus;
use crate::protocol::{flag, message_tail, publish_head, reply_headers, verb};
use crate::{Error, Headers, Message, Result, Subject};

/// How long a request waits unless told otherwise.
const DEADLINE_DEFAULT: Duration = Duration::from_secs(5);

/// How a request is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestOptions {
    /// Headers. Default: none.
    pub headers: Headers,
    /// How long to wait for the answer; the responder is told. Default 5 s.
    pub deadline: Duration,
}

impl Default for RequestOptions {
    fn default() -> Self {
        Self { headers: Headers::default(), deadline: DEADLINE_DEFAULT }
    }
}

impl Bus {
    /// Asks, and waits up to 5 s for the answer. See [`request_with`](Self::request_with).
    ///
    /// # Errors
    /// As [`request_with`](Self::request_with).
    pub async fn request(&self, subject: &Subject, body: impl Into<Bytes>) -> Result<Message> {
        self.request_with(subject, body, &RequestOptions::default()).await
    }

    /// Asks one [`Responder`](crate::Responder) whose pattern matches, and waits for its answer: four hops, two of them
    /// in the server. Nobody else can answer. Plain subscribers hear a copy. Dropping the future cancels the request.
    ///
    /// # Errors
    /// `NoResponders` at once where nobody answers (while one is cut, or shortly after a restart of the server, it waits
    /// for that one to return); `ResponderLost` once it has left or could not take the request; `ResponderFailed` with
    /// its words; `Denied`, `Limit`; `Session` with `Timeout`, or `OutcomeUnknown` if our own connection was cut.
    pub async fn request_with(
        &self,
        subject: &Subject,
        body: impl Into<Bytes>,
        options: &RequestOptions,
    ) -> Result<Message> {
        subject.check_publishable()?;
        let (length, name) = publish_head(subject.as_bytes());
        let tail = message_tail(flag::REQUEST, &options.headers);
        let deadline_ms = u32::try_from(options.deadline.as_millis()).unwrap_or(u32::MAX).to_le_bytes();
        let head = [&length[..], name, &tail, options.headers.as_bytes(), &deadline_ms];
        let reply = self.call_with_head(verb::REQUEST, subject, &head, body.into(), options.deadline).await;
        let reply = reply.map_err(|error| Error::of_request(subject, error))?;
        Ok(Message { headers: reply_headers(&reply.head), ..Message::new(subject.clone(), reply.body) })
    }

    /// The kept value of a subject; `None` if there is none. One round trip.
    ///
    /// # Errors
    /// `Denied`; `Session` if the server cannot be asked.
    pub async fn last_value(&self, subject: &Subject) -> Result<Option<Message>> {
        let (length, name) = publish_head(subject.as_bytes());
        let head = [&length[..], name];
        match self.call_with_head(verb::LAST, subject, &head, Bytes::new(), super::CALL).await {
            Ok(reply) => Ok(Some(Message::kept(subject.clone(), &reply.head, reply.body))),
            Err(SessionError::Failed(failure)) if failure.code == "not-found" => Ok(None),
            Err(error) => Err(Error::of_call(error)),
        }
    }
}
