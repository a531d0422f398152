//! `sinew pub`: publishes one message, and ends when the server has routed it.

use std::io::Read;

use bytes::Bytes;
use clap::Args;
use sinew::Subject;

use crate::connection::ConnectionOptions;
use crate::failure::Outcome;

/// Publish a message
///
/// Ends once the server has taken it in and handed it to the subscribers' connections; exit code 0 says so.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sinew pub news.today 'it rains'
  sinew pub camera.door - < picture.jpg
  sinew pub news.today hello --url zmq://KEY@192.168.1.7:7463")]
pub(crate) struct Publish {
    /// What it is about: tokens joined by dots, such as `orders.eu.new`
    subject: Subject,
    /// The payload; `-` reads it from standard input, up to its end. Default: empty
    #[arg(default_value = "", hide_default_value = true, allow_hyphen_values = true)]
    payload: String,
    #[command(flatten)]
    connection: ConnectionOptions,
}

/// The largest payload read from standard input: what a session carries in one record.
const PAYLOAD_BYTES_MAX: u64 = 8 << 20;

impl Publish {
    pub(crate) fn run(self) -> Outcome {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.publish())
    }

    async fn publish(self) -> Outcome {
        // Before anything is sent or made: a subject that only the server may use.
        self.subject.check_publishable()?;
        let payload = self.read_payload()?;
        let client = self.connection.connect().await?;
        client.bus().publish(&self.subject, payload).await?;
        client.close().await?;
        Ok(())
    }

    fn read_payload(&self) -> Outcome<Bytes> {
        if self.payload != "-" {
            return Ok(self.payload.clone().into());
        }
        let mut payload = Vec::new();
        std::io::stdin().lock().take(PAYLOAD_BYTES_MAX + 1).read_to_end(&mut payload)?;
        if payload.len() as u64 > PAYLOAD_BYTES_MAX {
            let why =
                format!("standard input has more than {PAYLOAD_BYTES_MAX} bytes, the most that a message can have");
            return Err(format!("{why}; send it in parts").into());
        }
        Ok(payload.into())
    }
}
