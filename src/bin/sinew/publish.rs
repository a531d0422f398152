//! `sinew pub`: publishes one message, and ends when the server has routed it.

use clap::Args;
use sinew::{PublishOptions, Receipt, Subject};

use crate::connection::ConnectionOptions;
use crate::failure::Outcome;
use crate::payload;

/// Publish a message
///
/// Ends once the server has taken it in and handed it to the subscribers' connections; exit code 0 says so.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sinew pub news.today 'it rains'
  sinew pub camera.door - < picture.jpg
  sinew pub lamp.status on --retain --header by=me
  sinew pub news.today 'it rains' --confirm
  sinew pub news.today hello --url zmq://KEY@192.168.1.7:7463")]
pub(crate) struct Publish {
    /// What it is about: tokens joined by dots, such as `orders.eu.new`
    subject: Subject,
    /// The payload; `-` reads it from standard input, up to its end. Default: empty
    #[arg(default_value = "", hide_default_value = true, allow_hyphen_values = true)]
    payload: String,
    /// A header beside the payload; may be given again
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = payload::parse_header)]
    headers: Vec<(String, String)>,
    /// Have the server keep it as the subject's last value, for those who subscribe later
    #[arg(long)]
    retain: bool,
    /// Write how many subscribers got it
    #[arg(long)]
    confirm: bool,
    /// Write that as a JSON object
    #[arg(long, requires = "confirm")]
    json: bool,
    #[command(flatten)]
    connection: ConnectionOptions,
}

impl Publish {
    pub(crate) fn run(self) -> Outcome {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.publish())
    }

    async fn publish(self) -> Outcome {
        // Before anything is sent or made: a subject that only the server may use.
        self.subject.check_publishable()?;
        let options = PublishOptions { headers: payload::headers(&self.headers)?, retain: self.retain };
        let payload = payload::read(&self.payload)?;
        let client = self.connection.connect().await?;
        if self.confirm {
            let receipt = client.bus().publish_confirmed(&self.subject, payload, &options).await?;
            println!("{}", self.shown(&receipt));
        } else {
            client.bus().publish_with(&self.subject, payload, &options).await?;
        }
        // The bus's own: it tells what was refused.
        client.bus().close().await?;
        Ok(())
    }

    fn shown(&self, receipt: &Receipt) -> String {
        if self.json {
            return serde_json::to_string(receipt).expect("numbers can be written into memory");
        }
        let kept = if receipt.retained { ", and kept" } else { "" };
        let Receipt { delivered, queued, dropped, .. } = receipt;
        format!("delivered to {delivered}, queued for {queued}, dropped for {dropped}{kept}")
    }
}
