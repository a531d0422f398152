//! The first failure after which the process must end.

use sinew_journal::{Committer, Error as JournalError};
use tokio::sync::watch;

/// The first failure after which the process must end; those that follow from it are not told.
#[derive(Debug)]
pub struct FirstFailure<E>(watch::Sender<Option<E>>);

impl<E> Default for FirstFailure<E> {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl<E: Clone> FirstFailure<E> {
    /// Publishes one, unless there was one.
    pub fn tell(&self, error: &E) {
        self.0.send_if_modified(|first| {
            let is_first = first.is_none();
            first.get_or_insert_with(|| error.clone());
            is_first
        });
    }

    /// What was told, and is told later.
    pub fn told(&self) -> watch::Receiver<Option<E>> {
        self.0.subscribe()
    }

    /// Waits for one, or for one of the committer, which `explain` says in words of this one.
    pub async fn wait(&self, committer: &Committer, explain: impl Fn(&JournalError) -> E) -> E {
        let (mut told, mut committer) = (self.told(), committer.failed());
        loop {
            let first = told.borrow_and_update().clone();
            let of_a_round = committer.borrow_and_update().as_ref().map(&explain);
            if let Some(error) = first.or(of_a_round) {
                return error;
            }
            // Both senders live as long as this does.
            tokio::select! {
                _ = told.changed() => {}
                _ = committer.changed() => {}
            }
        }
    }
}
