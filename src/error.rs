//! What can go wrong before a session stands, named for what the caller can do about it.

use std::io;
use std::path::PathBuf;

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The session could not be made, or its transport.
    #[error(transparent)]
    Session(#[from] sinew_session::Error),
    /// The bus could not do it.
    #[cfg(feature = "bus")]
    #[error(transparent)]
    Bus(#[from] sinew_bus::Error),
    /// The data directory cannot be used.
    #[cfg(any(feature = "eventsource", feature = "kvstore", feature = "taskqueue"))]
    #[error(transparent)]
    Data(#[from] sinew_journal::Error),
    /// The event log could not do it.
    #[cfg(feature = "eventsource")]
    #[error(transparent)]
    Log(#[from] sinew_eventsource::Error),
    /// The key-value store could not do it.
    #[cfg(feature = "kvstore")]
    #[error(transparent)]
    Kv(#[from] sinew_kvstore::Error),
    /// The task queue could not do it.
    #[cfg(feature = "taskqueue")]
    #[error(transparent)]
    Tasks(#[from] sinew_taskqueue::Error),
    /// The URL cannot be read.
    #[error(transparent)]
    Endpoint(#[from] sinew_transport_api::EndpointError),
    /// A key file or an allowlist cannot be used.
    #[error(transparent)]
    File(#[from] sinew_auth::FileError),
    /// The scheme's transport is one of ours, and was left out of this build.
    #[error("no transport for `{endpoint}`: this program knows {}; build with --features {feature}", known.join(", "))]
    FeatureOff {
        /// What was asked for.
        endpoint: String,
        /// The schemes there are.
        known: Vec<String>,
        /// The feature that brings it.
        feature: &'static str,
    },
    /// A server was to start without a listener.
    #[error("the server has nothing to listen on; give it at least one URL")]
    NothingToListenOn,
    /// A secured connection to somewhere else, and no key to know the server by.
    #[error(
        "the key of the server at {endpoint} is not known{}; trust it with `sinew auth trust scheme://KEY@host:port`, or connect to that URL, as the server prints it at start",
        found.map(|found| format!(": who answers there proves {found}")).unwrap_or_default()
    )]
    NoServerKey {
        /// The server.
        endpoint: String,
        /// The fingerprint that it proves, where the transport shows it to somebody who does not know it.
        found: Option<sinew_auth::Fingerprint>,
    },
    /// A server that is known proved another key.
    #[error(
        "{cause}; its keys in `known_servers` or in this account's own directory do not fit: compare the fingerprint with what `sinew keys show --server` prints there, and only if they agree trust it with `sinew auth trust scheme://KEY@{authority}`"
    )]
    ServerKeyChanged {
        /// Host and port.
        authority: String,
        /// What the transport said, fingerprints included.
        #[source]
        cause: sinew_session::Error,
    },
    /// A line of `known_servers` cannot be read.
    #[error("{}, line {line}: {why}", path.display())]
    KnownServers {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong and what is expected.
        why: String,
    },
    /// Nothing to write into `known_servers`.
    #[error(
        "`{endpoint}` names no key or no port; write it as scheme://KEY@host:port, as the server prints it at start"
    )]
    NoKeyToTrust {
        /// What was given.
        endpoint: String,
    },
    /// A rotation was to be finished that was not begun.
    #[error("there is no {}; begin with `sinew keys rotate`", path.display())]
    NoNextKey {
        /// Where the next key would be.
        path: PathBuf,
    },
    /// This account's own key was to be revoked.
    #[error(
        "{key} is the key that this account's own clients use, {}; change it with `sinew keys rotate`, then revoke it",
        path.display()
    )]
    OwnKey {
        /// Its fingerprint.
        key: sinew_auth::Fingerprint,
        /// Its file.
        path: PathBuf,
    },
    /// No server of this account runs.
    #[error("no server runs for {}; start one with `sinew serve`, or name one by its URL", home.display())]
    NoServer {
        /// The home directory that was looked at.
        home: PathBuf,
    },
    /// The server of this account has no listener of the kind, or of a scheme that this build has.
    #[error("the server that runs for {} has no {wanted} listener that this program can use; it listens on {}", home.display(), listens.join(", "))]
    NoFittingListener {
        /// The home directory.
        home: PathBuf,
        /// `secured` or `plaintext`.
        wanted: &'static str,
        /// Where it listens.
        listens: Vec<String>,
    },
    /// The server was not told that it has clients of its own.
    #[error("this server has no clients of its own: build it with `own_clients()`")]
    NoOwnClients,
    /// There is no place for the keys.
    #[error("there is no home directory for keys: HOME is not set; set SINEW_HOME to a directory of your own")]
    NoHome,
    /// The directory is not ours alone.
    #[error("{} {why}", path.display())]
    HomeUnsafe {
        /// The directory.
        path: PathBuf,
        /// What is wrong, and what to do.
        why: &'static str,
    },
    /// Another server holds the home directory.
    #[error(
        "a server{} runs for {} already{}; stop it first, or give this one its own SINEW_HOME and --port",
        pid.map(|pid| format!(" (process {pid})")).unwrap_or_default(),
        home.display(),
        if listens.is_empty() { String::new() } else { format!(", at {}", listens.join(", ")) }
    )]
    HomeInUse {
        /// The directory.
        home: PathBuf,
        /// The other server's process, where known.
        pid: Option<u32>,
        /// Where it listens.
        listens: Vec<String>,
    },
    /// The operating system said no.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

impl Error {
    /// The transport's error, where that is what it is.
    pub fn transport(&self) -> Option<&sinew_transport_api::Error> {
        match self {
            Self::Session(sinew_session::Error::Transport(error)) => Some(error),
            #[cfg(feature = "bus")]
            Self::Bus(sinew_bus::Error::Session(sinew_session::Error::Transport(error))) => Some(error),
            #[cfg(feature = "eventsource")]
            Self::Log(sinew_eventsource::Error::Session(sinew_session::Error::Transport(error))) => Some(error),
            #[cfg(feature = "kvstore")]
            Self::Kv(sinew_kvstore::Error::Session(sinew_session::Error::Transport(error))) => Some(error),
            #[cfg(feature = "taskqueue")]
            Self::Tasks(sinew_taskqueue::Error::Session(sinew_session::Error::Transport(error))) => Some(error),
            _ => None,
        }
    }
}

/// Names what was tried, and on what.
pub(crate) fn failed(what: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> Error {
    move |cause| Error::Io { what, path: path.into(), cause }
}
