//! Payloads as values of the user's types, by serde, in CBOR. The bytes are always there beside them.

use std::any::type_name;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sinew_session::{from_value, to_value};

use crate::{Bus, Delivery, Error, Message, Pattern, Result, Subject, SubscribeOptions, Subscription, Tally};

impl Bus {
    /// Publishes `value` in CBOR. As [`publish`](Self::publish), with one buffer for the encoded value.
    ///
    /// # Errors
    /// `Unencodable` if the value's own `Serialize` fails, and as [`publish`](Self::publish).
    pub async fn publish_value<T: Serialize + ?Sized>(&self, subject: &Subject, value: &T) -> Result<()> {
        self.publish(subject, encode(subject, value)?).await
    }

    /// Subscribes to values in CBOR. See [`subscribe`](Self::subscribe).
    ///
    /// ```
    /// use serde::{Deserialize, Serialize};
    /// use sinew_bus::Delivery;
    ///
    /// #[derive(Debug, PartialEq, Serialize, Deserialize)]
    /// struct Reading {
    ///     celsius: f64,
    /// }
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (_server, bus) = sinew_testkit::memory::bus().await;
    /// let mut readings = bus.subscribe_typed::<Reading>(&"room.*".parse()?).await?;
    /// bus.publish_value(&"room.1".parse()?, &Reading { celsius: 21.5 }).await?;
    /// match readings.next().await {
    ///     Some(Ok(Delivery::Message(typed))) => assert_eq!(typed.value, Reading { celsius: 21.5 }),
    ///     other => panic!("{other:?}"),
    /// }
    /// # Ok(())
    /// # }
    /// # sinew_testkit::memory::run(example());
    /// ```
    ///
    /// # Errors
    /// As [`subscribe`](Self::subscribe).
    pub async fn subscribe_typed<T: DeserializeOwned>(&self, pattern: &Pattern) -> Result<TypedSubscription<T>> {
        self.subscribe_typed_with(pattern, SubscribeOptions::default()).await
    }

    /// The same with options. See [`subscribe_with`](Self::subscribe_with).
    ///
    /// # Errors
    /// As [`subscribe_with`](Self::subscribe_with).
    pub async fn subscribe_typed_with<T: DeserializeOwned>(
        &self,
        pattern: &Pattern,
        options: SubscribeOptions,
    ) -> Result<TypedSubscription<T>> {
        Ok(self.subscribe_with(pattern, options).await?.typed())
    }
}

/// A value as a payload for `subject`.
pub(crate) fn encode<T: Serialize + ?Sized>(subject: &Subject, value: &T) -> Result<Bytes> {
    let given = type_name::<T>();
    match to_value(&value) {
        Ok(bytes) => Ok(bytes.into()),
        Err(error) => Err(Error::Unencodable { subject: subject.clone(), given, why: error.why }),
    }
}

impl Message {
    /// The payload, read as a value in CBOR: at most 64 levels deep, unknown fields skipped, nothing left over. The
    /// `body` is there whatever comes of it.
    ///
    /// # Errors
    /// `Undecodable`, which says what is wrong.
    pub fn value<T: DeserializeOwned>(&self) -> Result<T> {
        from_value(&self.body).map_err(|error| Error::Undecodable {
            subject: self.subject.clone(),
            expected: type_name::<T>(),
            why: error.why,
            bytes: self.body.len(),
        })
    }
}

/// A message and the value in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypedMessage<T> {
    /// Its payload as a value.
    pub value: T,
    /// The message as it came: subject, payload, and whatever else it has.
    pub message: Message,
}

/// A subscription to values. Dropping it ends it at the server, without waiting.
#[derive(Debug)]
pub struct TypedSubscription<T> {
    inner: Subscription,
    value: PhantomData<fn() -> T>,
}

impl Subscription {
    /// This subscription, with its payloads read as values in CBOR.
    pub fn typed<T: DeserializeOwned>(self) -> TypedSubscription<T> {
        TypedSubscription { inner: self, value: PhantomData }
    }
}

impl<T: DeserializeOwned> TypedSubscription<T> {
    /// The next message or loss, as [`Subscription::next`] gives it. A payload that is no `T` is `Undecodable`, and what
    /// follows it comes all the same. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<Delivery<TypedMessage<T>>>> {
        self.inner.next().await.map(decode)
    }
}

impl<T> TypedSubscription<T> {
    /// Why nothing more comes. As [`Subscription::end`].
    pub fn end(&self) -> Option<Error> {
        self.inner.end()
    }

    /// The subscription to the payloads as they are.
    pub fn into_inner(self) -> Subscription {
        self.inner
    }

    /// As [`Subscription::unsubscribe`].
    ///
    /// # Errors
    /// As [`Subscription::unsubscribe`].
    pub async fn unsubscribe(self) -> Result<Tally> {
        self.inner.unsubscribe().await
    }
}

impl<T: DeserializeOwned> Stream for TypedSubscription<T> {
    type Item = Result<Delivery<TypedMessage<T>>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let delivery = ready!(Pin::new(&mut self.inner).poll_next(cx));
        Poll::Ready(delivery.map(decode))
    }
}

fn decode<T: DeserializeOwned>(delivery: Delivery) -> Result<Delivery<TypedMessage<T>>> {
    Ok(match delivery {
        Delivery::Message(message) => Delivery::Message(TypedMessage { value: message.value()?, message }),
        Delivery::Lagged(count) => Delivery::Lagged(count),
        Delivery::Gap(gap) => Delivery::Gap(gap),
    })
}
