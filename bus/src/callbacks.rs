//! Callbacks, on a thread of their own: one after the other, each with its own subscription.
//!
//! **Invariants.** The thread holds no lock while a callback runs, so that a callback may register, unregister and shut
//! down. A callback that has panicked stays registered, and the others go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::callback_thread::{Entry, Shared};
use crate::{Bus, Callback, Error, Loss, LossCounts, Message, Pattern, Result, SubscribeOptions, blocking};

/// Callbacks of a bus. They run one after the other on one thread, which begins with the first; for callbacks that are
/// not to wait for one another make several of these. Dropping it shuts it down.
///
/// ```
/// use sinew_bus::{Message, Subject, blocking};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// # let (_server, bus) = sinew_testkit::memory::bus().await;
/// let mut pongs = bus.subscribe(&"pongs".parse()?).await?;
/// let callbacks = bus.callbacks();
/// let pong: Subject = "pongs".parse()?;
/// let answer = move |_: Message, _: Subject, bus: &blocking::Bus| bus.publish(&pong, "pong").expect("it is packed");
/// let registration = callbacks.register(&"pings".parse()?, answer).await?;
///
/// bus.publish(&"pings".parse()?, "ping").await?;
/// assert!(pongs.next().await.is_some());
///
/// registration.unregister()?;
/// callbacks.shutdown();
/// callbacks.wait().await?;
/// # Ok(())
/// # }
/// # sinew_testkit::memory::run(example());
/// ```
#[derive(Debug)]
pub struct Callbacks {
    bus: Bus,
    shared: Arc<Shared>,
}

impl Bus {
    /// Callbacks of this bus: none yet, and no thread.
    pub fn callbacks(&self) -> Callbacks {
        Callbacks { bus: self.clone(), shared: Arc::default() }
    }
}

/// What has become of callbacks so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallbackCounts {
    /// Messages that a callback was called with.
    pub called: u64,
    /// How many of these calls panicked.
    pub panicked: u64,
    /// Messages that did not come.
    pub lost: LossCounts,
}

impl Callbacks {
    /// Subscribes, and calls `callback` with each message. Resolves when the server has registered it. Dropping the
    /// registration changes nothing.
    ///
    /// # Errors
    /// `CallbacksEnded` after [`shutdown`](Self::shutdown), and as [`Bus::subscribe`]; `Session` with `Thread` if there
    /// can be no thread.
    pub async fn register<A>(&self, pattern: &Pattern, callback: impl Callback<A>) -> Result<Registration> {
        self.register_with(pattern, SubscribeOptions::default(), callback).await
    }

    /// The same with options for the subscription.
    ///
    /// # Errors
    /// As [`register`](Self::register).
    pub async fn register_with<A>(
        &self,
        pattern: &Pattern,
        options: SubscribeOptions,
        mut callback: impl Callback<A>,
    ) -> Result<Registration> {
        let subscription = self.bus.subscribe_with(pattern, options).await?;
        let registered = Arc::new(AtomicBool::new(true));
        let call = Box::new(move |message: Message, bus: &blocking::Bus| callback.call(message, bus));
        self.shared.add(&self.bus, (subscription, Entry { call, registered: registered.clone() }))?;
        Ok(Registration { pattern: pattern.clone(), registered, shared: self.shared.clone() })
    }

    /// Calls `handler` with what was lost, in its place among the calls, instead of logging it.
    pub fn on_loss(&self, handler: impl Fn(Loss) + Send + Sync + 'static) {
        self.shared.losses().handle_by(handler);
    }

    /// What has become of them so far.
    pub fn counts(&self) -> CallbackCounts {
        self.shared.counts()
    }

    /// Ends all of them after the call that is under way; what waits for them is given up. May be called in a callback.
    pub fn shutdown(&self) {
        self.shared.stop();
    }

    /// Waits until they have ended: after [`shutdown`](Self::shutdown), or once the session has ended and what came
    /// before was heard; not at all if there never was one. Cancel-safe.
    ///
    /// # Errors
    /// `InsideCallback`, where it would wait for itself.
    pub async fn wait(&self) -> Result<()> {
        if self.shared.is_own_thread() {
            return Err(Error::InsideCallback);
        }
        self.shared.ended().await;
        Ok(())
    }
}

impl Drop for Callbacks {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

/// One callback. Dropping this leaves it registered.
#[derive(Clone, Debug)]
pub struct Registration {
    pattern: Pattern,
    registered: Arc<AtomicBool>,
    shared: Arc<Shared>,
}

impl Registration {
    /// What the callback hears.
    pub fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// Unregisters exactly this callback: a call that is under way ends, and no other begins. Does not wait, and may be
    /// called in a callback.
    ///
    /// # Errors
    /// `NotRegistered` the second time.
    pub fn unregister(&self) -> Result<()> {
        if !self.registered.swap(false, Ordering::AcqRel) {
            return Err(Error::NotRegistered { pattern: self.pattern.clone() });
        }
        self.shared.tidy();
        Ok(())
    }
}
