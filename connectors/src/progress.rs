//! What a connection has done so far, and how to stop it.

use serde::Serialize;
use tokio::sync::watch;

/// What a connection is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// It asks where its ends stand.
    #[default]
    Starting,
    /// It moves items, or waits for some.
    Moving,
    /// It waits to try again what failed; the text says what and why.
    Retrying(String),
    /// It has come to its end, was stopped, or has failed.
    Ended,
}

/// What a connection has done so far. Counts are of this run, unless they say otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// What it is doing.
    pub phase: Phase,
    /// Items that the sink has taken.
    pub moved: u64,
    /// Bytes of them: payloads, keys, subjects, headers.
    pub bytes: u64,
    /// Items that were counted as lost.
    pub lost: u64,
    /// How often items may have been lost and nobody has counted.
    pub uncounted: u64,
    /// How often something was tried again.
    pub retries: u64,
    /// Items in all runs under this name, up to what was last confirmed.
    pub confirmed: u64,
    /// How far the source has come: events of a log, bytes of a file.
    pub done: u64,
    /// All there is, where it has an end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// Where the source stands.
    pub position: String,
    /// Things that a person should know, so far.
    pub notices: u64,
    /// The last of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notice: Option<String>,
}

impl Progress {
    /// What is there and not given yet, where the source knows.
    pub fn lag(&self) -> Option<u64> {
        self.total.map(|total| total.saturating_sub(self.done))
    }
}

/// Stops a connection in order: what was taken is confirmed and remembered. A clone stops the same one.
#[derive(Clone, Debug)]
pub struct Stop(watch::Sender<bool>);

impl Default for Stop {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Stop {
    /// Stops it, now or as soon as it begins.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is to stop. Cancel-safe.
    pub(crate) async fn stopped(&self) {
        // The sender is here, so it does not go.
        let _ = self.0.subscribe().wait_for(|stopped| *stopped).await;
    }
}
