//! The thread that runs callbacks, and what it shares with those who register them. The promises are in `callbacks.rs`.

use std::any::Any;
use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::{self, ThreadId};

use sinew_session::{Error as SessionError, State, block_on};
use tokio::sync::watch;

use crate::combined::{Combined, Next};
use crate::loss::{Losses, sift};
use crate::{Bus, CallbackCounts, Delivery, Error, Message, Result, Subscription, blocking};

/// A callback of any form.
pub(crate) type Call = Box<dyn FnMut(Message, &blocking::Bus) + Send>;

/// A callback, and whether it still is one.
pub(crate) struct Entry {
    pub(crate) call: Call,
    pub(crate) registered: Arc<AtomicBool>,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("registered", &self.registered).finish_non_exhaustive()
    }
}

/// What the thread shares.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    changes: Mutex<Changes>,
    losses: Mutex<Losses>,
    called: AtomicU64,
    panicked: AtomicU64,
    running: watch::Sender<bool>,
    thread: OnceLock<ThreadId>,
}

/// What the thread is to look at.
#[derive(Debug, Default)]
struct Changes {
    new: Vec<(Subscription, Entry)>,
    unregistered: bool,
    stop: bool,
    waker: Option<Waker>,
}

impl Shared {
    /// Hands a callback to the thread, which is started for the first.
    pub(crate) fn add(self: &Arc<Self>, bus: &Bus, member: (Subscription, Entry)) -> Result<()> {
        let mut changes = self.changes();
        if changes.stop {
            return Err(Error::CallbacksEnded);
        }
        if self.thread.get().is_none() {
            self.start(bus.clone())?;
        }
        changes.new.push(member);
        wake(changes);
        Ok(())
    }

    fn start(self: &Arc<Self>, bus: Bus) -> Result<()> {
        let shared = self.clone();
        self.running.send_replace(true);
        let started = thread::Builder::new().name("sinew-callbacks".into()).spawn(move || shared.run(bus));
        match started {
            Ok(handle) => drop(self.thread.set(handle.thread().id())),
            Err(error) => {
                self.running.send_replace(false);
                return Err(SessionError::Thread { why: error.to_string() }.into());
            }
        }
        Ok(())
    }

    pub(crate) fn stop(&self) {
        let mut changes = self.changes();
        changes.stop = true;
        wake(changes);
    }

    /// Something was unregistered.
    pub(crate) fn tidy(&self) {
        let mut changes = self.changes();
        changes.unregistered = true;
        wake(changes);
    }

    pub(crate) fn counts(&self) -> CallbackCounts {
        CallbackCounts {
            called: self.called.load(Ordering::Relaxed),
            panicked: self.panicked.load(Ordering::Relaxed),
            lost: self.losses().counts(),
        }
    }

    pub(crate) fn losses(&self) -> MutexGuard<'_, Losses> {
        self.losses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_own_thread(&self) -> bool {
        self.thread.get() == Some(&thread::current().id())
    }

    /// Resolves when no thread runs.
    pub(crate) async fn ended(&self) {
        // It cannot fail: the sender is here.
        let _ = self.running.subscribe().wait_for(|running| !running).await;
    }

    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread.
    fn run(&self, bus: Bus) {
        let mut state = bus.session().state();
        let over = Box::pin(async move { drop(state.wait_for(|state| matches!(state, State::Ended(_))).await) });
        let mut members = Members { combined: Combined::default(), over: Some(over) };
        let bus = blocking::Bus::new(bus);
        let ended = block_on(async {
            while let Some(next) = poll_fn(|cx| members.poll_next(self, cx)).await {
                match next {
                    Next::Delivery(place, delivery) => self.call(members.combined.member(place), delivery, &bus),
                    Next::Ended(place) => tell_end(&members.combined.remove(place).0),
                }
            }
        });
        debug_assert!(ended.is_ok(), "a thread of its own is in no runtime");
        // Whoever registers from now on is told; what was handed over just now ends with the rest.
        let late = self.close();
        drop((members, late));
        self.running.send_replace(false);
    }

    fn close(&self) -> Vec<(Subscription, Entry)> {
        let mut changes = self.changes();
        changes.stop = true;
        std::mem::take(&mut changes.new)
    }

    /// Gives a member what came for it.
    fn call(&self, (subscription, entry): &mut (Subscription, Entry), delivery: Delivery, bus: &blocking::Bus) {
        if !entry.registered.load(Ordering::Acquire) {
            return;
        }
        let outcome = match sift(subscription.pattern(), delivery) {
            Ok(message) => {
                self.called.fetch_add(1, Ordering::Relaxed);
                catch_unwind(AssertUnwindSafe(|| (entry.call)(message, bus)))
            }
            Err(loss) => {
                let tell = self.losses().count(loss);
                catch_unwind(AssertUnwindSafe(tell))
            }
        };
        if let Err(panic) = outcome {
            self.panicked.fetch_add(1, Ordering::Relaxed);
            let pattern = subscription.pattern();
            tracing::error!(pattern, "a callback panicked: {}", words_of(&*panic));
        }
    }
}

/// The thread's own: who is called, and whether the session is over.
struct Members {
    combined: Combined<Entry>,
    over: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Members {
    /// The next thing to do; `None` once there will be none.
    fn poll_next(&mut self, shared: &Shared, cx: &mut Context<'_>) -> Poll<Option<Next>> {
        if !self.take_changes(&mut shared.changes(), cx) {
            return Poll::Ready(None);
        }
        if self.over.as_mut().is_some_and(|over| over.as_mut().poll(cx).is_ready()) {
            self.over = None;
        }
        if self.combined.is_empty() && self.over.is_none() {
            return Poll::Ready(None);
        }
        self.combined.poll_next(cx).map(Some)
    }

    /// `false`: it is to end.
    fn take_changes(&mut self, changes: &mut Changes, cx: &mut Context<'_>) -> bool {
        changes.waker.get_or_insert_with(|| cx.waker().clone()).clone_from(cx.waker());
        changes.new.drain(..).for_each(|(subscription, entry)| self.combined.push(subscription, entry));
        if std::mem::take(&mut changes.unregistered) {
            self.combined.retain(|(_, entry)| entry.registered.load(Ordering::Acquire));
        }
        !changes.stop
    }
}

fn wake(mut changes: MutexGuard<'_, Changes>) {
    let waker = changes.waker.take();
    drop(changes);
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// The session's end ends every callback, and is said once, by the session; one that ends alone says so here.
fn tell_end(subscription: &Subscription) {
    let pattern = subscription.pattern();
    match subscription.end() {
        Some(Error::Session(SessionError::Closed)) | None => {}
        Some(error) => tracing::error!(pattern, "a callback hears nothing any more: {error}"),
    }
}

/// What the callback said when it panicked.
fn words_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it did not say why")
}
