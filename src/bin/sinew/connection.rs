//! How the client commands connect: the options they share.

use std::path::PathBuf;

use clap::Args;
use sinew::{Client, ClientBuilder, State, TransportError};

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

/// Says on standard error when the connection is cut and when it is back. Never ends.
pub(crate) async fn tell_cuts(client: &Client) {
    let mut state = client.session().state();
    let mut cut = false;
    while state.changed().await.is_ok() {
        let now = state.borrow_and_update().clone();
        match now {
            State::Reconnecting if !cut => eprintln!("the connection was cut; trying again"),
            State::Connected if cut => eprintln!("connected again"),
            _ => {}
        }
        cut = matches!(now, State::Reconnecting);
    }
    std::future::pending().await
}

/// Where it is connected to, without the key.
pub(crate) fn shown(client: &Client) -> String {
    let endpoint = client.endpoint();
    match endpoint.key() {
        Some(key) => endpoint.to_string().replacen(&format!("{key}@"), "", 1),
        None => endpoint.to_string(),
    }
}
