//! Between async callers and work that may wait: blocking threads, and cancelling.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sinew_session::{Progress, ProgressSink};

use crate::Error;

/// Told how far it is; says whether to go on.
pub type GoOn<'a> = &'a mut dyn FnMut(Progress) -> bool;

/// A lock that is held for what cannot fail half way.
pub fn locked<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs what may wait on one of tokio's threads for that. Dropping the future lets it run on, its answer unheard.
///
/// # Errors
/// What `work` says; `Storage` when the runtime ends before it began.
pub async fn blocking<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: From<Error> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Error::storage("*", "the program is ending").into()),
        },
    }
}

/// The same for what takes long: it tells how far it is, and dropping the future ends it at the next look.
///
/// # Errors
/// As [`blocking`].
pub async fn cancellable<T, E>(
    progress: ProgressSink,
    work: impl FnOnce(GoOn<'_>) -> Result<T, E> + Send + 'static,
) -> Result<T, E>
where
    T: Send + 'static,
    E: From<Error> + Send + 'static,
{
    let wanted = Wanted(Arc::new(AtomicBool::new(true)));
    let is_wanted = wanted.0.clone();
    blocking(move || {
        work(&mut |how_far: Progress| {
            progress(how_far);
            is_wanted.load(Ordering::Relaxed)
        })
    })
    .await
}

/// Whether somebody still waits.
struct Wanted(Arc<AtomicBool>);

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}
