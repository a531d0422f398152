//! Where a server is and how a client gets in: what the orchestrator tells the client program.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Everything a client of any system needs. What a system has no use for is empty.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Where to connect to: a URL, or `host:port`.
    pub(crate) address: String,
    /// A raw proxy has one address for those who speak and one for those who listen or answer.
    pub(crate) back: String,
    /// Where those who ask go, and those who answer, at a raw proxy.
    pub(crate) requests: String,
    /// As `requests`.
    pub(crate) answers: String,
    /// Sinew's home directory, with the client's key.
    pub(crate) home: Option<PathBuf>,
    /// Certificate that the server's is checked against.
    pub(crate) authority: Option<PathBuf>,
    /// The Python that has Celery.
    pub(crate) python: Option<PathBuf>,
    /// The server's CURVE key, Z85.
    pub(crate) curve_key: Option<String>,
}

impl Place {
    /// Just an address.
    pub(crate) fn at(address: impl Into<String>) -> Self {
        Self { address: address.into(), ..Self::default() }
    }
}
