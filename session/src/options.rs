//! How a client's session connects and behaves.

use sinew_auth::PublicKey;
use sinew_transport_api::{ConnectOptions, Registry, Security};

use crate::Result;
use crate::backoff::Backoff;
use crate::entropy::Entropy;
use crate::executor::Executor;
use crate::limits::SessionLimits;

/// How a session connects and behaves.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// The transports to choose from by scheme.
    pub registry: Registry,
    /// Identity, server key, timeout, limits of the transport.
    pub connect: ConnectOptions,
    /// Other keys that the server may prove instead of `connect.server_key`, tried in turn: it is about to change its key,
    /// or has just done so. Default: none.
    pub server_keys_more: Vec<PublicKey>,
    /// What this client calls itself in the server's log. Default: empty.
    pub client: String,
    /// Limits of the session.
    pub limits: SessionLimits,
    /// Waits between attempts to reconnect.
    pub backoff: Backoff,
    /// Where it runs.
    pub executor: Executor,
    /// Where random numbers come from. Default: the operating system.
    pub entropy: Entropy,
}

impl SessionOptions {
    /// All linked transports and the defaults. `server_key` may be in the endpoint instead.
    ///
    /// # Errors
    /// When two linked transports claim one scheme.
    pub fn new(security: Security, server_key: Option<PublicKey>) -> Result<Self> {
        Ok(Self {
            registry: Registry::linked()?,
            connect: ConnectOptions::new(security, server_key),
            server_keys_more: Vec::new(),
            client: String::new(),
            limits: SessionLimits::default(),
            backoff: Backoff::default(),
            executor: Executor::default(),
            entropy: Entropy::default(),
        })
    }
}
