//! Between async callers and work that may wait: blocking threads, cancelling, and errors that name the bucket.

use std::error::Error as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sinew_journal::Error as JournalError;
use sinew_session::ResourceName;

use crate::{Error, Progress, ProgressSink, Result};

/// Told how far it is; says whether to go on.
pub(crate) type GoOn<'a> = &'a mut dyn FnMut(Progress) -> bool;

/// A lock that is held for what cannot fail half way.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An error of the journal as one of the bucket.
pub(crate) fn storage(name: &ResourceName) -> impl Fn(JournalError) -> Error + use<> {
    let name = name.clone();
    move |error| explain(name.as_str(), error)
}

/// The same by name; `*` where it is about all buckets.
pub(crate) fn explain(bucket: &str, error: JournalError) -> Error {
    if let JournalError::NoSpace { .. } = error {
        return Error::NoSpace { bucket: bucket.to_owned() };
    }
    let mut why = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        why = format!("{why}: {cause}");
        source = cause.source();
    }
    storage_of(bucket, why)
}

pub(crate) fn storage_of(bucket: &str, why: impl Into<String>) -> Error {
    Error::Storage { bucket: bucket.to_owned(), why: why.into() }
}

/// Runs what may wait on one of tokio's threads for that. Dropping the future lets it run on, its answer unheard.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(storage_of("*", "the program is ending")),
        },
    }
}

/// The same for what takes long: it tells how far it is, and dropping the future ends it at the next look.
pub(crate) async fn cancellable<T: Send + 'static>(
    progress: ProgressSink,
    work: impl FnOnce(GoOn<'_>) -> Result<T> + Send + 'static,
) -> Result<T> {
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
