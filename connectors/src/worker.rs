//! Work that waits for a disk or a pipe, on a thread of the runtime's blocking pool: what it works on goes there and comes
//! back.

use tokio::task::{JoinHandle, spawn_blocking};

/// Something that is worked on, here or there.
#[derive(Debug)]
pub(crate) struct Worker<T, R> {
    here: Option<T>,
    there: Option<JoinHandle<(T, R)>>,
}

impl<T: Send + 'static, R: Send + 'static> Worker<T, R> {
    pub(crate) fn new(thing: T) -> Self {
        Self { here: Some(thing), there: None }
    }

    /// Does `work` and gives its result. Cancel-safe in this sense: if the future is dropped the work goes on, and the
    /// next call gives its result instead of beginning its own.
    pub(crate) async fn run(&mut self, work: impl FnOnce(&mut T) -> R + Send + 'static) -> R {
        if let Some(mut thing) = self.here.take() {
            self.there = Some(spawn_blocking(move || {
                let result = work(&mut thing);
                (thing, result)
            }));
        }
        let there = self.there.as_mut().expect("it is here or there");
        match there.await {
            Ok((thing, result)) => {
                (self.here, self.there) = (Some(thing), None);
                result
            }
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The runtime ends, and this future with it.
            Err(_) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_on_its_way_is_given_by_the_next_call() {
        let mut worker = Worker::new(7);
        let (go, wait) = std::sync::mpsc::channel::<()>();
        {
            let mut first = std::pin::pin!(worker.run(move |number| {
                wait.recv().unwrap();
                *number += 1;
                *number
            }));
            let begun = std::future::poll_fn(|cx| std::task::Poll::Ready(first.as_mut().poll(cx).is_pending())).await;
            assert!(begun);
        }
        go.send(()).unwrap();
        assert_eq!(worker.run(|_| unreachable!("the first one comes before")).await, 8);
        assert_eq!(worker.run(|number| *number * 2).await, 16);
    }
}
