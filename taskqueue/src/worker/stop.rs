//! What stops a worker that runs.

use std::sync::Arc;

use tokio::sync::watch;

use crate::Result;

/// Stops a worker that [runs](crate::WorkerBuilder::run). Cheap to clone.
#[derive(Clone, Debug)]
pub struct WorkerStop {
    phase: Arc<watch::Sender<Phase>>,
}

/// How far it is.
#[derive(Clone, Debug)]
enum Phase {
    Runs {
        is_told: bool,
    },
    /// How it ended.
    Over(Result<()>),
}

impl Default for WorkerStop {
    fn default() -> Self {
        Self { phase: Arc::new(watch::Sender::new(Phase::Runs { is_told: false })) }
    }
}

impl WorkerStop {
    /// The worker takes no more, finishes what it has and leaves. Waits until it has; dropping the future waits no longer. A
    /// worker that does not run stops as soon as it does.
    ///
    /// # Errors
    /// As [`WorkerBuilder::run`](crate::WorkerBuilder::run) ends.
    pub async fn stop(&self) -> Result<()> {
        self.phase.send_if_modified(|phase| match phase {
            Phase::Runs { is_told: is_told @ false } => {
                *is_told = true;
                true
            }
            _ => false,
        });
        let mut phase = self.phase.subscribe();
        let over = phase.wait_for(|phase| matches!(phase, Phase::Over(_))).await;
        match over.as_deref() {
            Ok(Phase::Over(result)) => result.clone(),
            _ => Ok(()),
        }
    }

    /// Waits until somebody wants it to stop.
    pub(super) async fn is_told(&self) {
        let told = |phase: &Phase| !matches!(phase, Phase::Runs { is_told: false });
        let _ = self.phase.subscribe().wait_for(told).await;
    }

    pub(super) fn over(&self, result: Result<()>) {
        self.phase.send_replace(Phase::Over(result));
    }
}
