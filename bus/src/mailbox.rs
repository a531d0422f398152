//! One place where everything comes that its owner has subscribed to: the bus as scripts like it.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use crate::combined::{Combined, Next};
use crate::loss::{Losses, sift};
use crate::{Bus, Delivery, Error, Loss, LossCounts, Message, Pattern, Result, SubscribeOptions, Tally};

/// Subscriptions that are read as one. Order holds within each of them. A message that several of its patterns match
/// comes once for each.
///
/// ```
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// # let (_server, bus) = sinew_testkit::memory::bus().await;
/// let mut mailbox = bus.mailbox();
/// mailbox.subscribe(&"room.*".parse()?).await?;
/// mailbox.subscribe(&"hall".parse()?).await?;
/// bus.publish(&"hall".parse()?, "dark").await?;
/// let message = mailbox.receive().await?;
/// assert_eq!((message.subject.as_str(), &message.body[..]), ("hall", &b"dark"[..]));
/// # Ok(())
/// # }
/// # sinew_testkit::memory::run(example());
/// ```
///
/// As a [`Stream`] it gives losses too, in their places; [`receive`](Self::receive) gives messages alone, and tells
/// losses to [`on_loss`](Self::on_loss)'s handler, or else logs them. They are counted either way.
pub struct Mailbox {
    bus: Bus,
    subscriptions: Combined<()>,
    losses: Losses,
}

impl Bus {
    /// An empty mailbox. Costs nothing.
    pub fn mailbox(&self) -> Mailbox {
        Mailbox { bus: self.clone(), subscriptions: Combined::default(), losses: Losses::default() }
    }
}

impl Mailbox {
    /// The bus it is on.
    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    /// Subscribes as well. Resolves when the server has registered it. Changes nothing where it is subscribed to exactly
    /// this pattern already.
    ///
    /// # Errors
    /// As [`Bus::subscribe`].
    pub async fn subscribe(&mut self, pattern: &Pattern) -> Result<()> {
        self.subscribe_with(pattern, SubscribeOptions::default()).await
    }

    /// The same with options.
    ///
    /// # Errors
    /// As [`Bus::subscribe_with`].
    pub async fn subscribe_with(&mut self, pattern: &Pattern, options: SubscribeOptions) -> Result<()> {
        if self.subscriptions.place_of(pattern.as_str()).is_none() {
            self.subscriptions.push(self.bus.subscribe_with(pattern, options).await?, ());
        }
        Ok(())
    }

    /// Subscribes to every subject but those of the server (`$…`): to the pattern `>`.
    ///
    /// # Errors
    /// As [`Bus::subscribe`].
    pub async fn subscribe_all(&mut self) -> Result<()> {
        self.subscribe(&everything()).await
    }

    /// Ends the subscription to exactly this pattern; what has come of it and was not received is given up. One round
    /// trip.
    ///
    /// # Errors
    /// `NotSubscribed`; `Session` if the server could not be asked: it is ended here all the same.
    pub async fn unsubscribe(&mut self, pattern: &Pattern) -> Result<Tally> {
        let place = self.subscriptions.place_of(pattern.as_str());
        let place = place.ok_or_else(|| Error::NotSubscribed { pattern: pattern.clone() })?;
        self.subscriptions.remove(place).0.unsubscribe().await
    }

    /// Ends all of them. A round trip for each.
    ///
    /// # Errors
    /// The first of [`unsubscribe`](Self::unsubscribe); all are ended all the same.
    pub async fn unsubscribe_all(&mut self) -> Result<()> {
        let mut outcome = Ok(());
        for subscription in self.subscriptions.take_all() {
            outcome = outcome.and(subscription.unsubscribe().await.map(|_| ()));
        }
        outcome
    }

    /// The next message of any of them, with its subject. Cancel-safe.
    ///
    /// # Errors
    /// `NothingSubscribed`; or why a subscription has ended, once for each, after which the others go on.
    pub async fn receive(&mut self) -> Result<Message> {
        poll_fn(|cx| self.poll_message(cx)).await
    }

    /// Calls `handler` with what was lost, in its place among the messages of [`receive`](Self::receive), instead of
    /// logging it.
    pub fn on_loss(&mut self, handler: impl Fn(Loss) + Send + Sync + 'static) {
        self.losses.handle_by(handler);
    }

    /// What [`receive`](Self::receive) came across.
    pub fn losses(&self) -> LossCounts {
        self.losses.counts()
    }

    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message>> {
        while !self.subscriptions.is_empty() {
            match std::task::ready!(self.subscriptions.poll_next(cx)) {
                Next::Ended(place) => return Poll::Ready(Err(self.ended(place))),
                Next::Delivery(place, delivery) => {
                    let pattern = self.subscriptions.member(place).0.pattern();
                    match sift(pattern, delivery) {
                        Ok(message) => return Poll::Ready(Ok(message)),
                        Err(loss) => self.losses.count(loss)(),
                    }
                }
            }
        }
        Poll::Ready(Err(Error::NothingSubscribed))
    }

    /// Takes out one that has ended, and says why.
    fn ended(&mut self, place: usize) -> Error {
        let (subscription, ()) = self.subscriptions.remove(place);
        subscription.end().unwrap_or(Error::NothingSubscribed)
    }
}

/// The pattern of all subjects.
fn everything() -> Pattern {
    Pattern::try_from(">").expect("a wildcard is a pattern")
}

impl Stream for Mailbox {
    /// A message or a loss, or why a subscription has ended. Ends when nothing is subscribed.
    type Item = Result<Delivery>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.subscriptions.is_empty() {
            return Poll::Ready(None);
        }
        Poll::Ready(Some(match std::task::ready!(self.subscriptions.poll_next(cx)) {
            Next::Delivery(_, delivery) => Ok(delivery),
            Next::Ended(place) => Err(self.ended(place)),
        }))
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").field("subscriptions", &self.subscriptions).field("losses", &self.losses).finish()
    }
}
