//! `sinew request`: asks somebody on the bus, and writes the answer to standard output.

use std::io::Write;
use std::time::Duration;

use clap::Args;
use sinew::{Message, RequestOptions, Subject};

use crate::connection::ConnectionOptions;
use crate::failure::Outcome;
use crate::format::Format;
use crate::payload;

/// Ask on the bus, and write the answer to standard output
///
/// One of those who respond to the subject answers (`sinew reply`, or a program). Its payload is written as one line, with
/// what is not printable escaped.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sinew request math.add '1 + 1'
  sinew request camera.door.picture --raw > picture.jpg
  sinew request math.add '1 + 1' --timeout 0.5 || echo \"nobody: $?\"

Exit codes beside 0, 1 and 2:
  3  nobody responds to this subject; known at once
  4  the responder failed, or was lost with the request
  5  no answer in time")]
pub(crate) struct Request {
    /// Whom to ask
    subject: Subject,
    /// The payload; `-` reads it from standard input, up to its end. Default: empty
    #[arg(default_value = "", hide_default_value = true, allow_hyphen_values = true)]
    payload: String,
    /// A header beside the payload; may be given again
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = payload::parse_header)]
    headers: Vec<(String, String)>,
    /// How long to wait for the answer
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    timeout: Duration,
    /// Write the answer as a JSON object, with its headers
    #[arg(long, conflicts_with = "raw")]
    json: bool,
    /// Write the answer's payload as it is, and nothing else
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    connection: ConnectionOptions,
}

impl Request {
    pub(crate) fn run(self) -> Outcome {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let answer = runtime.block_on(self.ask())?;
        let mut out = Vec::new();
        match (self.json, self.raw) {
            (false, false) => Format::payload_line(&answer, &mut out),
            (json, raw) => Format::new(json, raw, false).message(&answer, &mut out),
        }
        std::io::stdout().write_all(&out)?;
        Ok(())
    }

    async fn ask(&self) -> Outcome<Message> {
        self.subject.check_publishable()?;
        let headers = payload::headers(&self.headers)?;
        let payload = payload::read(&self.payload)?;
        let client = self.connection.connect().await?;
        let options = RequestOptions { headers, deadline: self.timeout };
        Ok(client.bus().request_with(&self.subject, payload, &options).await?)
    }
}

/// A positive number of seconds, such as 0.5.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().map_err(|_| "write a number of seconds, such as 0.5")?;
    let duration = Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?;
    if duration.is_zero() { Err("an answer takes longer than that".into()) } else { Ok(duration) }
}
