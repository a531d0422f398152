//! The mailbox, for callers that wait.

use std::time::Duration;

use sinew_session::{block_on, block_on_for};

use crate::{Loss, LossCounts, Message, Pattern, Result, SubscribeOptions, Tally};

/// Subscriptions that are read as one. See [`Mailbox`](crate::Mailbox).
///
/// ```
/// # let (_server, bus) = sinew_testkit::memory::bus_of_its_own();
/// # let bus = sinew_bus::blocking::Bus::new(bus);
/// let mut mailbox = bus.mailbox();
/// mailbox.subscribe_all()?;
/// bus.publish(&"hall".parse()?, "dark")?;
/// let message = mailbox.receive()?;
/// assert_eq!((message.subject.as_str(), &message.body[..]), ("hall", &b"dark"[..]));
/// # Ok::<(), sinew_bus::Error>(())
/// ```
#[derive(Debug)]
pub struct Mailbox {
    inner: crate::Mailbox,
}

impl Mailbox {
    pub(crate) fn new(inner: crate::Mailbox) -> Self {
        Self { inner }
    }

    /// As [`Mailbox::subscribe`](crate::Mailbox::subscribe).
    ///
    /// # Errors
    /// As [`Bus::subscribe`](crate::Bus::subscribe).
    pub fn subscribe(&mut self, pattern: &Pattern) -> Result<()> {
        block_on(self.inner.subscribe(pattern))?
    }

    /// As [`Mailbox::subscribe_with`](crate::Mailbox::subscribe_with).
    ///
    /// # Errors
    /// As [`Bus::subscribe_with`](crate::Bus::subscribe_with).
    pub fn subscribe_with(&mut self, pattern: &Pattern, options: SubscribeOptions) -> Result<()> {
        block_on(self.inner.subscribe_with(pattern, options))?
    }

    /// As [`Mailbox::subscribe_all`](crate::Mailbox::subscribe_all).
    ///
    /// # Errors
    /// As [`Bus::subscribe`](crate::Bus::subscribe).
    pub fn subscribe_all(&mut self) -> Result<()> {
        block_on(self.inner.subscribe_all())?
    }

    /// As [`Mailbox::unsubscribe`](crate::Mailbox::unsubscribe).
    ///
    /// # Errors
    /// As [`Mailbox::unsubscribe`](crate::Mailbox::unsubscribe).
    pub fn unsubscribe(&mut self, pattern: &Pattern) -> Result<Tally> {
        block_on(self.inner.unsubscribe(pattern))?
    }

    /// As [`Mailbox::unsubscribe_all`](crate::Mailbox::unsubscribe_all).
    ///
    /// # Errors
    /// As [`Mailbox::unsubscribe_all`](crate::Mailbox::unsubscribe_all).
    pub fn unsubscribe_all(&mut self) -> Result<()> {
        block_on(self.inner.unsubscribe_all())?
    }

    /// The next message, when it comes.
    ///
    /// # Errors
    /// As [`Mailbox::receive`](crate::Mailbox::receive); `Session(InsideRuntime)`.
    pub fn receive(&mut self) -> Result<Message> {
        block_on(self.inner.receive())?
    }

    /// The next message, if it comes within `timeout`; `None` if none does.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub fn receive_within(&mut self, timeout: Duration) -> Result<Option<Message>> {
        block_on_for(self.inner.receive(), timeout)?.transpose()
    }

    /// As [`Mailbox::on_loss`](crate::Mailbox::on_loss).
    pub fn on_loss(&mut self, handler: impl Fn(Loss) + Send + Sync + 'static) {
        self.inner.on_loss(handler);
    }

    /// As [`Mailbox::losses`](crate::Mailbox::losses).
    pub fn losses(&self) -> LossCounts {
        self.inner.losses()
    }
}
