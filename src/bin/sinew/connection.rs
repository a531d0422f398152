//! How the client commands connect: the options they share.

use std::path::PathBuf;

use clap::Args;
use sinew::{Client, ClientBuilder, TransportError};

use crate::failure::Outcome;

/// Where to connect to, and as whom.
#[derive(Debug, Args)]
pub(crate) struct ConnectionOptions {
    /// The server, as it prints it at start: scheme://KEY@host:port
    ///
    /// Schemes: zmq, quic, and zmq+ipc with a path. The key may be left out for a server of this account on this
    /// machine. Without a URL the server that runs for SINEW_HOME is found by itself.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Connect under the identity in this file instead of the account's own (see `sinew keys`)
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    key_file: Option<PathBuf>,
    /// Connect in plaintext, to a server that was started with --insecure
    #[arg(long)]
    insecure: bool,
}

impl ConnectionOptions {
    /// A client that is not connected yet.
    pub(crate) fn builder(&self) -> ClientBuilder {
        let builder = self.url.as_ref().map_or_else(Client::local, Client::builder);
        let builder = builder.name(concat!("sinew-cli/", env!("CARGO_PKG_VERSION")));
        match &self.key_file {
            Some(path) => builder.key_file(path),
            None if self.insecure => builder.plaintext(),
            None => builder,
        }
    }

    /// Connects.
    pub(crate) async fn connect(&self) -> Outcome<Client> {
        self.builder().connect().await.map_err(|error| match error.transport() {
            Some(TransportError::Unreachable { .. }) => {
                format!("{} (`sinew serve` starts one)", crate::failure::chain(&error)).into()
            }
            _ => error.into(),
        })
    }
}
