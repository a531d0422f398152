//! Publishing: one way, with options, confirmed.

use std::time::Duration;

use bytes::Bytes;
use sinew_session::{Error as SessionError, HEADER_BYTES, Header, Request};

use super::{Bus, CALL};
use crate::protocol::{Receipt, SERVICE, flag, message_tail, publish_head, verb};
use crate::{Error, Headers, Result, Subject};

/// What goes with a message beside its payload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublishOptions {
    /// Headers. Default: none.
    pub headers: Headers,
    /// Keep it as the subject's last value, for those who subscribe later. Such a publish is always confirmed. Default:
    /// not kept.
    pub retain: bool,
}

impl Bus {
    /// Publishes. Resolves when the message is packed for sending; waits only while the outbox is full, or while a slow
    /// subscription holds its publishers back. A body below 8 KiB is copied once, a larger one shared. While the
    /// connection is cut it is buffered, up to the outbox's bound. Cancelling before it resolves publishes nothing.
    ///
    /// # Errors
    /// `ReservedSubject`; `Session` with `RecordSize`, `Disconnected` once the buffer is full, or why the session ended.
    /// That the policy does not permit it is told by the next [`flush`](Self::flush).
    #[inline]
    pub async fn publish(&self, subject: &Subject, body: impl Into<Bytes>) -> Result<()> {
        let body = body.into();
        while !self.try_publish(subject, &body)? {
            self.publish_room(record_bytes(subject, None, &body)).await?;
        }
        Ok(())
    }

    /// Publishes if the outbox has room and nobody holds publishers back, without waiting; `false` if not.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    #[inline]
    pub fn try_publish(&self, subject: &Subject, body: &Bytes) -> Result<bool> {
        self.try_pack(subject, None, body)
    }

    /// Publishes with headers, or to be kept as the subject's last value: then it costs a round trip.
    ///
    /// # Errors
    /// As [`publish`](Self::publish); to be kept, as [`publish_confirmed`](Self::publish_confirmed).
    pub async fn publish_with(
        &self,
        subject: &Subject,
        body: impl Into<Bytes>,
        options: &PublishOptions,
    ) -> Result<()> {
        if options.retain {
            return self.publish_confirmed(subject, body, options).await.map(|_| ());
        }
        let body = body.into();
        while !self.try_pack(subject, Some(&options.headers), &body)? {
            self.publish_room(record_bytes(subject, Some(&options.headers), &body)).await?;
        }
        Ok(())
    }

    /// Publishes, and tells what became of it once the server has handed it on. One round trip; it stays in order with
    /// other publishes of the same subject.
    ///
    /// # Errors
    /// Those of [`publish`](Self::publish); `Denied`; `RetainedFull`, and nothing was published; `Session` with
    /// `Timeout` or `OutcomeUnknown` where the answer did not come: it may have been published.
    pub async fn publish_confirmed(
        &self,
        subject: &Subject,
        body: impl Into<Bytes>,
        options: &PublishOptions,
    ) -> Result<Receipt> {
        subject.check_publishable()?;
        let flags = if options.retain { flag::RETAIN } else { 0 };
        let (length, name) = publish_head(subject.as_bytes());
        let tail = message_tail(flags, &options.headers);
        let head = [&length[..], name, &tail, options.headers.as_bytes()];
        let reply = self.call_with_head(verb::CONFIRMED, subject, &head, body.into(), CALL).await;
        Ok(reply.map_err(Error::of_call)?.read()?)
    }

    /// A call that is ordered with the publishes of a subject.
    pub(super) async fn call_with_head(
        &self,
        verb: u8,
        subject: &Subject,
        head: &[&[u8]],
        body: Bytes,
        deadline: Duration,
    ) -> sinew_session::Result<sinew_session::Reply> {
        let request = Request { head: Some(head), ..Request::new(SERVICE, verb, subject.as_bytes(), body, deadline) };
        self.session.call(request).await
    }

    #[inline]
    fn try_pack(&self, subject: &Subject, headers: Option<&Headers>, body: &Bytes) -> Result<bool> {
        subject.check_publishable()?;
        let bytes = record_bytes(subject, headers, body);
        if bytes > self.session.record_bytes_max() {
            return Err(SessionError::RecordSize { bytes, max: self.session.record_bytes_max() }.into());
        }
        let mut packer = self.session.outbox().pack();
        if !packer.has_room() || packer.is_closed() || !self.shared.throttle.allows(bytes) {
            return Ok(false);
        }
        self.shared.throttle.spend(bytes);
        let (length, name) = publish_head(subject.as_bytes());
        let lane = packer.lane(name);
        let header = Header { service: SERVICE, verb: verb::PUBLISH, flags: 0, call: 0 };
        match headers {
            None => packer.push(lane, header, &[&length, name], body),
            Some(headers) => {
                packer.push(lane, header, &[&length, name, &message_tail(0, headers), headers.as_bytes()], body)
            }
        }
        Ok(true)
    }

    /// Waits until a publish of this size may go, or the session ends.
    #[cold]
    async fn publish_room(&self, bytes: usize) -> Result<()> {
        self.session.room().await?;
        if !self.shared.throttle.allows(bytes) {
            let mut state = self.session.state();
            tokio::select! {
                biased;
                () = self.shared.throttle.room(bytes) => {}
                _ = state.wait_for(|state| matches!(state, sinew_session::State::Ended(_))) => {}
            }
        }
        Ok(())
    }
}

/// Bytes of a publish record.
#[inline]
fn record_bytes(subject: &Subject, headers: Option<&Headers>, body: &Bytes) -> usize {
    let extra = headers.map_or(0, |headers| 3 + headers.as_bytes().len());
    HEADER_BYTES + 2 + subject.as_bytes().len() + extra + body.len()
}
