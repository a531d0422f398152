//! What commands have in common that ask a server and answer with a text.

use clap::Args;
use sinew::{Client, ResourceName};

use crate::connection::ConnectionOptions;
use crate::failure::Outcome;

/// Whom to ask, and how to say what it answers.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Write JSON, one object a line
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) connection: ConnectionOptions,
}

impl Options {
    /// Connects.
    pub(crate) async fn client(&self) -> Outcome<Client> {
        self.connection.connect().await
    }
}

/// A name of a stream, a bucket, a group or a producer.
pub(crate) fn name(text: &str) -> Result<ResourceName, String> {
    ResourceName::try_from(text).map_err(|error| error.to_string())
}
