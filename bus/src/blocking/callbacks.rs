//! Callbacks, for callers that wait.

use sinew_session::block_on;

use crate::{Callback, CallbackCounts, Loss, Pattern, Registration, Result, SubscribeOptions};

/// Callbacks of a bus, on a thread of their own. See [`Callbacks`](crate::Callbacks). Dropping it shuts it down.
#[derive(Debug)]
pub struct Callbacks {
    inner: crate::Callbacks,
}

impl Callbacks {
    pub(crate) fn new(inner: crate::Callbacks) -> Self {
        Self { inner }
    }

    /// As [`Callbacks::register`](crate::Callbacks::register).
    ///
    /// # Errors
    /// As [`Callbacks::register`](crate::Callbacks::register); `Session(InsideRuntime)`.
    pub fn register<A>(&self, pattern: &Pattern, callback: impl Callback<A>) -> Result<Registration> {
        block_on(self.inner.register(pattern, callback))?
    }

    /// As [`Callbacks::register_with`](crate::Callbacks::register_with).
    ///
    /// # Errors
    /// As [`register`](Self::register).
    pub fn register_with<A>(
        &self,
        pattern: &Pattern,
        options: SubscribeOptions,
        callback: impl Callback<A>,
    ) -> Result<Registration> {
        block_on(self.inner.register_with(pattern, options, callback))?
    }

    /// As [`Callbacks::on_loss`](crate::Callbacks::on_loss).
    pub fn on_loss(&self, handler: impl Fn(Loss) + Send + Sync + 'static) {
        self.inner.on_loss(handler);
    }

    /// As [`Callbacks::counts`](crate::Callbacks::counts).
    pub fn counts(&self) -> CallbackCounts {
        self.inner.counts()
    }

    /// As [`Callbacks::shutdown`](crate::Callbacks::shutdown).
    pub fn shutdown(&self) {
        self.inner.shutdown();
    }

    /// Waits until they have ended. As [`Callbacks::wait`](crate::Callbacks::wait).
    ///
    /// # Errors
    /// `InsideCallback`, where it would wait for itself; `Session(InsideRuntime)`.
    pub fn wait(&self) -> Result<()> {
        block_on(self.inner.wait())?
    }
}
