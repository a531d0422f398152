//! `sinew log append`: one event, or a line of standard input each, with many in flight.

use std::collections::VecDeque;
use std::io::{BufRead, Read, Write};

use bytes::Bytes;
use clap::Args;
use sinew::{
    AppendOptions, AppendTicket, Appended, EventBatch, EventBatchBuilder, Log, NewEvent, Producer, ResourceName,
    Subject,
};
use tokio::sync::mpsc;

use super::shown::object_line;
use crate::failure::Outcome;
use crate::options::{Options, name};
use crate::payload;

/// Append an event, or one for each line of standard input
///
/// Ends once everything is stored as its stream promises: on disk, by default. Writes the offset of each event.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sinew log append orders 'two cups of tea'
  sinew log append orders - --subject orders.paid --key table-7 < order.json
  sinew log append orders 'the third' --expected-offset 2
  tail -F app.log | sinew log append app --lines --json
  sinew log append app --lines --producer host-1 --resume < app.log    again after a failure: each line once

Objects of --json, one for each event:
  {\"offset\":7,\"timestamp\":1764089999000000000,\"level\":\"fsynced\",\"duplicate\":false}

Exit codes beside 0, 1 and 2:
  5  no answer in time: it may be stored or not; with --producer and --resume it can be done again
  6  the server's policy does not permit it
  9  --expected-offset: somebody else was faster, and nothing was appended")]
pub(super) struct Append {
    /// To which stream
    #[arg(value_parser = name)]
    stream: ResourceName,
    /// The payload; `-` reads it from standard input, up to its end. Default: empty
    #[arg(default_value = "", hide_default_value = true, allow_hyphen_values = true)]
    payload: String,
    /// Each line of standard input is an event
    #[arg(long, conflicts_with_all = ["payload", "expected_offset"])]
    lines: bool,
    /// What it is about; readers filter by it
    #[arg(long)]
    subject: Option<Subject>,
    /// What it replaces when the stream is compacted, and what groups may order by
    #[arg(long)]
    key: Option<String>,
    /// A header beside the payload; may be given again
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = payload::parse_header)]
    headers: Vec<(String, String)>,
    /// Only if it gets this offset
    #[arg(long, value_name = "OFFSET", conflicts_with = "producer")]
    expected_offset: Option<u64>,
    /// Store each event once, through cuts, as the producer of this name; whoever had the name is fenced
    #[arg(long, value_name = "NAME", value_parser = name)]
    producer: Option<ResourceName>,
    /// With --producer and --lines: leave out as many lines as the producer has stored before
    #[arg(long, requires = "producer", requires = "lines")]
    resume: bool,
    #[command(flatten)]
    options: Options,
}

/// Batches that are not acknowledged at one time.
const IN_FLIGHT_MAX: usize = 32;
/// Lines that go in one batch, which is stored in whole or not: those that are there already. Nobody waits for more.
const BATCH_LINES_MAX: usize = 512;
/// Bytes of lines in one batch.
const BATCH_BYTES_MAX: usize = 256 << 10;
/// The longest line.
const LINE_BYTES_MAX: u64 = 8 << 20;
/// Lines that wait to be sent.
const LINES_MAX: usize = 1_024;

impl Append {
    pub(super) async fn run(self) -> Outcome {
        let event = self.event()?;
        let client = self.options.client().await?;
        let to = match &self.producer {
            Some(name) => To::Producer(client.log().producer(&self.stream, name).await?),
            None => To::Stream(client.log().clone(), self.stream.clone()),
        };
        let outcome = if self.lines { self.append_lines(event, &to).await } else { self.append_one(event, &to).await };
        outcome?;
        client.close().await?;
        Ok(())
    }

    /// The event, or what each has beside its line.
    fn event(&self) -> Outcome<NewEvent> {
        let headers = payload::headers(&self.headers)?;
        let payload = if self.lines { Bytes::new() } else { payload::read(&self.payload)? };
        let key = self.key.clone().map(Bytes::from);
        Ok(NewEvent { subject: self.subject.clone(), key, headers, payload, tombstone: false })
    }

    async fn append_one(&self, event: NewEvent, to: &To) -> Outcome {
        let mut batch = EventBatchBuilder::default();
        batch.push(&event)?;
        let options = AppendOptions { expected_next: self.expected_offset, ..AppendOptions::default() };
        let appended = to.start(batch.finish(), &options).await?.await?;
        self.tell(&appended)
    }

    async fn append_lines(&self, like: NewEvent, to: &To) -> Outcome {
        let mut lines = read_lines();
        let mut skip = match to {
            To::Producer(producer) if self.resume => producer.grant().sequence,
            _ => 0,
        };
        let mut in_flight: VecDeque<AppendTicket> = VecDeque::new();
        let mut open = true;
        while open || !in_flight.is_empty() {
            tokio::select! {
                batch = next_batch(&mut lines, &like, &mut skip), if open && in_flight.len() < IN_FLIGHT_MAX => {
                    match batch? {
                        Some(batch) => in_flight.push_back(to.start(batch, &AppendOptions::default()).await?),
                        None => open = false,
                    }
                }
                appended = async { in_flight.front_mut().expect("it is not empty").await }, if !in_flight.is_empty() => {
                    in_flight.pop_front();
                    self.tell(&appended?)?;
                }
            }
        }
        Ok(())
    }

    /// The offsets of a stored batch, a line each.
    fn tell(&self, appended: &Appended) -> Outcome {
        let mut out = String::new();
        for offset in appended.first..appended.first + u64::from(appended.count) {
            out += &match self.options.json {
                true => object_line(&serde_json::json!({
                    "offset": offset,
                    "timestamp": appended.timestamp,
                    "level": appended.level,
                    "duplicate": appended.duplicate,
                })),
                false => format!("{offset}\n"),
            };
        }
        match std::io::stdout().write_all(out.as_bytes()) {
            // Nobody wants to know; the events are to be stored all the same.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            written => Ok(written?),
        }
    }
}

/// Where events go.
enum To {
    Stream(Log, ResourceName),
    Producer(Producer),
}

impl To {
    async fn start(&self, batch: EventBatch, options: &AppendOptions) -> Outcome<AppendTicket> {
        match self {
            Self::Stream(log, stream) => {
                log.session().room().await?;
                Ok(log.append_start(stream, batch, options))
            }
            Self::Producer(producer) => Ok(producer.append_start(batch).await?),
        }
    }
}

/// The lines that are there, at least one; `None` at the end. Cancel-safe: it waits for the first one alone.
async fn next_batch(
    lines: &mut mpsc::Receiver<Outcome<Bytes>>,
    like: &NewEvent,
    skip: &mut u64,
) -> Outcome<Option<EventBatch>> {
    let mut batch = EventBatchBuilder::default();
    loop {
        let line = match batch.is_empty() {
            true => lines.recv().await,
            false => lines.try_recv().ok(),
        };
        match line {
            Some(line) => {
                let line = line?;
                if *skip > 0 {
                    *skip -= 1;
                    continue;
                }
                batch.push(&NewEvent { payload: line, ..like.clone() })?;
                if batch.len() >= BATCH_BYTES_MAX || batch.count() as usize >= BATCH_LINES_MAX {
                    return Ok(Some(batch.finish()));
                }
            }
            None if batch.is_empty() => return Ok(None),
            None => return Ok(Some(batch.finish())),
        }
    }
}

/// Lines of standard input, without what ends them, from a thread of its own.
fn read_lines() -> mpsc::Receiver<Outcome<Bytes>> {
    let (lines, receiver) = mpsc::channel(LINES_MAX);
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        loop {
            let line = next_line(&mut input);
            let is_last = matches!(line, Ok(None) | Err(_));
            let sent = line.transpose().is_none_or(|line| lines.blocking_send(line).is_ok());
            if is_last || !sent {
                return;
            }
        }
    });
    receiver
}

fn next_line(input: &mut impl BufRead) -> Outcome<Option<Bytes>> {
    let mut line = Vec::new();
    let read = input.take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut line)?;
    if read as u64 > LINE_BYTES_MAX {
        return Err(format!("a line has more than {LINE_BYTES_MAX} bytes, the most that an event can have").into());
    }
    if read == 0 {
        return Ok(None);
    }
    let end = [&b"\r\n"[..], b"\n"].into_iter().find_map(|end| line.strip_suffix(end)).map(<[u8]>::len);
    line.truncate(end.unwrap_or(line.len()));
    Ok(Some(line.into()))
}

#[cfg(test)]
mod tests {
    use super::next_line;

    #[test]
    fn lines() {
        let mut input = &b"a\r\n\nb\rc\nlast"[..];
        let mut lines = Vec::new();
        while let Some(line) = next_line(&mut input).unwrap() {
            lines.push(line);
        }
        assert_eq!(lines, [&b"a"[..], b"", b"b\rc", b"last"]);
    }
}
