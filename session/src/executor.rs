//! Where a session or a server runs.

use std::future::Future;
use std::thread;

use crate::allocator::keep_freed_blocks;
use crate::{Error, Result};

/// Where a session or a server runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Executor {
    /// On a thread of its own with a current-thread runtime. Fastest, asks nothing of the caller, and a busy
    /// application does not look dead.
    #[default]
    Thread,
    /// On the tokio runtime of the caller, which must have IO and time enabled.
    Current,
}

impl Executor {
    /// Starts `task`, which runs until it ends by itself. `ended` is called after that, and where the runtime is the
    /// task's own, after everything on it is gone: the sockets that its transports have left behind, above all.
    pub(crate) fn start(
        self,
        name: &str,
        task: impl Future<Output = ()> + Send + 'static,
        ended: impl FnOnce() + Send + 'static,
    ) -> Result<()> {
        keep_freed_blocks();
        if self == Self::Current {
            tokio::spawn(async move {
                task.await;
                ended();
            });
            return Ok(());
        }
        let failed = |error: std::io::Error| Error::Thread { why: error.to_string() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let thread = thread::Builder::new().name(name.to_owned());
        let run = move || {
            runtime.block_on(task);
            drop(runtime);
            ended();
        };
        thread.spawn(run).map_err(failed)?;
        Ok(())
    }
}
