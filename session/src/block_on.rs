//! Waiting on the caller's own thread: what the blocking facades stand on. It needs no runtime, since sessions run on
//! threads of their own and keep their deadlines there.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crate::{Error, Result};

/// Waits for `future` on this thread, which sleeps meanwhile. One allocation.
///
/// # Errors
/// `InsideRuntime` where the thread belongs to an async runtime, its blocking pool included: the two cannot be told
/// apart, and on the others it would hold up everything.
pub fn block_on<T>(future: impl Future<Output = T>) -> Result<T> {
    Ok(wait(future, None)?.expect("without a deadline it waits to the end"))
}

/// The same for at most `timeout`; `None` once it is over. The future is dropped then: give one that is cancel-safe.
///
/// # Errors
/// As [`block_on`].
pub fn block_on_for<T>(future: impl Future<Output = T>, timeout: Duration) -> Result<Option<T>> {
    // One that is beyond the clock's end never comes.
    wait(future, Instant::now().checked_add(timeout))
}

fn wait<T>(future: impl Future<Output = T>, deadline: Option<Instant>) -> Result<Option<T>> {
    if tokio::runtime::Handle::try_current().is_ok() {
        return Err(Error::InsideRuntime);
    }
    let alarm = Arc::new(Alarm { thread: thread::current(), rung: AtomicBool::new(false) });
    let waker = Waker::from(alarm.clone());
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Ok(Some(output));
        }
        while !alarm.rung.swap(false, Ordering::Acquire) {
            match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => thread::park(),
                Some(Duration::ZERO) => return Ok(None),
                Some(left) => thread::park_timeout(left),
            }
        }
    }
}

/// Wakes a thread. Whether it has rung is kept apart from the thread's own token, which any code on the thread may use.
struct Alarm {
    thread: Thread,
    rung: AtomicBool,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn it_waits_for_another_thread() {
        let (sender, receiver) = oneshot::channel();
        let thread = thread::spawn(move || block_on_for(receiver, LONG).unwrap());
        sender.send(7).unwrap();
        assert_eq!(thread.join().unwrap().unwrap().unwrap(), 7);
    }

    #[test]
    fn what_is_ready_needs_no_time_and_what_never_comes_ends() {
        assert_eq!(block_on_for(std::future::ready(7), Duration::ZERO).unwrap(), Some(7));
        assert_eq!(block_on_for(std::future::pending::<()>(), Duration::from_millis(1)).unwrap(), None);
    }

    #[test]
    fn a_timeout_beyond_the_clock_is_none() {
        let (sender, receiver) = oneshot::channel();
        let thread = thread::spawn(move || block_on_for(receiver, Duration::MAX).unwrap());
        sender.send(7).unwrap();
        assert_eq!(thread.join().unwrap().unwrap().unwrap(), 7);
    }

    #[test]
    fn a_future_that_parks_the_thread_itself_loses_no_wake_up() {
        let mut polls = 0;
        let parks = std::future::poll_fn(|cx| {
            polls += 1;
            // It wakes the thread, and takes the token for itself.
            cx.waker().wake_by_ref();
            thread::park();
            if polls == 3 { Poll::Ready(()) } else { Poll::Pending }
        });
        assert_eq!(block_on_for(parks, LONG).unwrap(), Some(()));
    }

    #[tokio::test]
    async fn inside_a_runtime_it_is_refused() {
        assert!(matches!(block_on(std::future::ready(())), Err(Error::InsideRuntime)));
        let pool = tokio::task::spawn_blocking(|| block_on(std::future::ready(()))).await.unwrap();
        assert!(matches!(pool, Err(Error::InsideRuntime)));
        let own = thread::spawn(|| block_on(std::future::ready(7))).join().unwrap();
        assert_eq!(own.unwrap(), 7);
    }
}
