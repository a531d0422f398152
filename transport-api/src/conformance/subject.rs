//! What a plug-in's author tells the kit about the transport under test.

use std::fmt;
use std::io;
use std::sync::Arc;

use async_trait::async_trait;

use crate::{Endpoint, Transport};

/// A transport under test, in one of its modes. One value serves one case; the macro makes it anew for each.
#[async_trait]
pub trait Subject: Send + Sync + 'static {
    /// The transport.
    fn transport(&self) -> Arc<dyn Transport>;

    /// An endpoint where nothing listens, another one at each call: port 0, a path or a name that is used once.
    fn endpoint(&self) -> Endpoint;

    /// Whether connections are secured.
    fn mode(&self) -> Mode;

    /// The bytes that may stand between a full sender and a reader that does not read, on top of
    /// [`Limits::queue_bytes_max`](crate::Limits::queue_bytes_max) at each end: buffers of the operating system.
    /// Default 16 MiB; a transport without any says 0.
    fn slack_bytes(&self) -> usize {
        16 * 1024 * 1024
    }

    /// Connects a peer that does not keep to the protocol, so that the kit can throw garbage at the listener.
    /// `None`, the default, skips those cases.
    async fn raw(&self, endpoint: &Endpoint, stage: Stage) -> Option<Box<dyn RawPeer>> {
        let _ = (endpoint, stage);
        None
    }
}

/// Whether a subject's connections are secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// [`Security::Plaintext`](crate::Security::Plaintext).
    Plaintext,
    /// [`Security::Identity`](crate::Security::Identity).
    Identity,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plaintext => "plaintext",
            Self::Identity => "secured",
        })
    }
}

/// How far a raw peer goes before it stops keeping to the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Connected as a socket is, not a byte sent.
    BeforeHandshake,
    /// Admitted: a peer whose key is known, or an anonymous one, that goes wrong later.
    AfterHandshake,
}

/// A peer that sends what it likes.
#[async_trait]
pub trait RawPeer: Send {
    /// Sends bytes below the transport's protocol. An error means that the listener has cut it off, which is its right.
    async fn send(&mut self, bytes: &[u8]) -> io::Result<()>;
}
