//! The signals that ask a program to end, and a thread that watches for the end of standard input.

use std::io::Read;

use tokio::sync::oneshot;

/// SIGINT and SIGTERM, from the moment this is made.
pub(crate) struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    pub(crate) fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for one. Cancel-safe.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
impl Signals {
    pub(crate) fn listen() -> std::io::Result<Self> {
        Ok(Self {})
    }

    /// Waits for one. Cancel-safe.
    pub(crate) async fn next(&mut self) {
        // Where it cannot be waited for, the system's own way to end a program stays in force.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}

/// Resolves when standard input has ended: whoever started this process is gone, however it ended. The thread that waits
/// is left behind, since a read of standard input cannot be cancelled.
pub(crate) fn end_of_stdin() -> oneshot::Receiver<()> {
    let (ended, end) = oneshot::channel();
    std::thread::spawn(move || {
        let mut rest = [0; 256];
        let mut input = std::io::stdin().lock();
        while !matches!(input.read(&mut rest), Ok(0) | Err(_)) {}
        let _ = ended.send(());
    });
    end
}
