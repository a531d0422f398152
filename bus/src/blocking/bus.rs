//! The bus itself, for callers that wait.

use bytes::Bytes;
use serde::Serialize;
use sinew_session::block_on;

use crate::blocking::{Callbacks, Mailbox, Publisher, Responder, Subscription};
use crate::{
    Accounting, Kept, Message, Pattern, PublishOptions, Receipt, RequestOptions, Result, Subject, SubscribeOptions,
};

/// The bus. Cheap to clone.
///
/// ```
/// use std::time::Duration;
/// use sinew_bus::{Delivery, blocking};
///
/// # let (_server, bus) = sinew_testkit::memory::bus_of_its_own();
/// let bus = blocking::Bus::new(bus);
/// let mut heard = bus.subscribe(&"room.*".parse()?)?;
/// bus.publish(&"room.lamp".parse()?, "on")?;
/// for delivery in &mut heard {
///     match delivery? {
///         Delivery::Message(message) => assert_eq!(&message.body[..], b"on"),
///         lost => eprintln!("{lost:?}"),
///     }
///     break;
/// }
/// assert_eq!(heard.next_within(Duration::from_millis(1))?, None);
/// # Ok::<(), sinew_bus::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Bus {
    inner: crate::Bus,
}

impl Bus {
    /// The same bus, for callers that wait. Its session must run on a thread of its own, as it does by default.
    pub fn new(inner: crate::Bus) -> Self {
        Self { inner }
    }

    /// The same bus, for callers that await.
    pub fn inner(&self) -> &crate::Bus {
        &self.inner
    }

    /// As [`Bus::publish`](crate::Bus::publish).
    ///
    /// # Errors
    /// As [`Bus::publish`](crate::Bus::publish).
    pub fn publish(&self, subject: &Subject, body: impl Into<Bytes>) -> Result<()> {
        block_on(self.inner.publish(subject, body))?
    }

    /// As [`Bus::publish_value`](crate::Bus::publish_value).
    ///
    /// # Errors
    /// As [`Bus::publish_value`](crate::Bus::publish_value).
    pub fn publish_value<T: Serialize + ?Sized>(&self, subject: &Subject, value: &T) -> Result<()> {
        block_on(self.inner.publish_value(subject, value))?
    }

    /// As [`Bus::publish_with`](crate::Bus::publish_with).
    ///
    /// # Errors
    /// As [`Bus::publish_with`](crate::Bus::publish_with).
    pub fn publish_with(&self, subject: &Subject, body: impl Into<Bytes>, options: &PublishOptions) -> Result<()> {
        block_on(self.inner.publish_with(subject, body, options))?
    }

    /// As [`Bus::publish_confirmed`](crate::Bus::publish_confirmed).
    ///
    /// # Errors
    /// As [`Bus::publish_confirmed`](crate::Bus::publish_confirmed).
    pub fn publish_confirmed(
        &self,
        subject: &Subject,
        body: impl Into<Bytes>,
        options: &PublishOptions,
    ) -> Result<Receipt> {
        block_on(self.inner.publish_confirmed(subject, body, options))?
    }

    /// As [`Bus::request`](crate::Bus::request).
    ///
    /// # Errors
    /// As [`Bus::request`](crate::Bus::request).
    pub fn request(&self, subject: &Subject, body: impl Into<Bytes>) -> Result<Message> {
        block_on(self.inner.request(subject, body))?
    }

    /// As [`Bus::request_with`](crate::Bus::request_with).
    ///
    /// # Errors
    /// As [`Bus::request_with`](crate::Bus::request_with).
    pub fn request_with(&self, subject: &Subject, body: impl Into<Bytes>, options: &RequestOptions) -> Result<Message> {
        block_on(self.inner.request_with(subject, body, options))?
    }

    /// As [`Bus::respond`](crate::Bus::respond).
    ///
    /// # Errors
    /// As [`Bus::respond`](crate::Bus::respond).
    pub fn respond(&self, pattern: &Pattern) -> Result<Responder> {
        Ok(Responder::new(block_on(self.inner.respond(pattern))??))
    }

    /// As [`Bus::last_value`](crate::Bus::last_value).
    ///
    /// # Errors
    /// As [`Bus::last_value`](crate::Bus::last_value).
    pub fn last_value(&self, subject: &Subject) -> Result<Option<Message>> {
        block_on(self.inner.last_value(subject))?
    }

    /// As [`Bus::retained`](crate::Bus::retained).
    ///
    /// # Errors
    /// As [`Bus::retained`](crate::Bus::retained).
    pub fn retained(&self, pattern: &Pattern) -> Result<Vec<Kept>> {
        block_on(self.inner.retained(pattern))?
    }

    /// As [`Bus::clear_retained`](crate::Bus::clear_retained).
    ///
    /// # Errors
    /// As [`Bus::clear_retained`](crate::Bus::clear_retained).
    pub fn clear_retained(&self, pattern: &Pattern) -> Result<u64> {
        block_on(self.inner.clear_retained(pattern))?
    }

    /// As [`Bus::accounting`](crate::Bus::accounting).
    ///
    /// # Errors
    /// As [`Bus::accounting`](crate::Bus::accounting).
    pub fn accounting(&self, pattern: Option<&Pattern>) -> Result<Accounting> {
        block_on(self.inner.accounting(pattern))?
    }

    /// As [`Bus::publisher`](crate::Bus::publisher).
    ///
    /// # Errors
    /// As [`Bus::publisher`](crate::Bus::publisher).
    pub fn publisher(&self, subject: &Subject) -> Result<Publisher> {
        Ok(Publisher::new(self.inner.publisher(subject)?))
    }

    /// An empty mailbox. Costs nothing.
    pub fn mailbox(&self) -> Mailbox {
        Mailbox::new(self.inner.mailbox())
    }

    /// Callbacks of this bus: none yet, and no thread.
    pub fn callbacks(&self) -> Callbacks {
        Callbacks::new(self.inner.callbacks())
    }

    /// As [`Bus::subscribe`](crate::Bus::subscribe).
    ///
    /// # Errors
    /// As [`Bus::subscribe`](crate::Bus::subscribe).
    pub fn subscribe(&self, pattern: &Pattern) -> Result<Subscription> {
        self.subscribe_with(pattern, SubscribeOptions::default())
    }

    /// As [`Bus::subscribe_with`](crate::Bus::subscribe_with).
    ///
    /// # Errors
    /// As [`Bus::subscribe_with`](crate::Bus::subscribe_with).
    pub fn subscribe_with(&self, pattern: &Pattern, options: SubscribeOptions) -> Result<Subscription> {
        Ok(Subscription::new(block_on(self.inner.subscribe_with(pattern, options))??))
    }

    /// As [`Bus::flush`](crate::Bus::flush).
    ///
    /// # Errors
    /// As [`Bus::flush`](crate::Bus::flush).
    pub fn flush(&self) -> Result<()> {
        block_on(self.inner.flush())?
    }

    /// As [`Bus::close`](crate::Bus::close).
    ///
    /// # Errors
    /// As [`Bus::close`](crate::Bus::close).
    pub fn close(&self) -> Result<()> {
        block_on(self.inner.close())?
    }
}
