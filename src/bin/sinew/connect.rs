//! `sinew connect`: moves items between the bus, the event log, files and standard streams, in the foreground; and shows
//! the connectors of the server.

use std::io::Write;
use std::time::Instant;

use clap::{Args, Subcommand};
use sinew::connectors::{Address, Connection, ConnectionOptions, Context, Error, Progress, Registry, Speed, Stop};
use sinew::{Home, ResourceName};

use crate::connection::ConnectionOptions as ServerOptions;
use crate::failure::Outcome;
use crate::signals::Signals;

mod bar;
pub(crate) mod status;

/// Move items between the bus, the event log, files and standard streams
///
/// Ends when the source does; with --follow, and where the source has no end, on SIGINT or SIGTERM: then what was moved is
/// confirmed and remembered. A second signal ends it at once.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "\
Examples:
  sinew connect 'bus:room.>' file:rooms.jsonl.gz              record what is published
  sinew connect file:rooms.jsonl.gz bus: --speed 1            play it again as it was
  sinew connect 'bus:room.>' 'log:rooms?create' --name rooms  record it into a stream
  sinew connect log:rooms stdout: --from 2026-11-25T16:00:00Z | jq .payload
  seq 1000 | sinew connect 'stdin:?format=raw&subject=n' 'log:numbers?create'
  sinew connect schemes                                       what there is, with its options

With --name it goes on where it was: each item goes into a stream once, however often it is started again. Into a file a
stream goes once without a name, since the file says where it was. What is guaranteed is in docs/CONNECTORS.md."
)]
pub(crate) struct Connect {
    #[command(subcommand)]
    command: Option<Show>,
    /// Where items come from: scheme:target?option=value
    #[arg(required = true, value_name = "FROM")]
    source: Option<Address>,
    /// Where they go
    #[arg(required = true, value_name = "TO")]
    sink: Option<Address>,
    /// Remember under this name how far it is, and go on there
    #[arg(long, value_name = "NAME")]
    name: Option<ResourceName>,
    /// Play items as far apart as they were (1), or so many times as fast
    #[arg(long, value_name = "FACTOR", value_parser = parse_speed)]
    speed: Option<Speed>,
    /// Begin here: start, end, an offset or a time; of a file, so many records behind its start
    #[arg(long, value_name = "PLACE")]
    from: Option<String>,
    /// Go on with what comes later
    #[arg(long)]
    follow: bool,
    /// End where the source ends now (which is so without --follow)
    #[arg(long, conflicts_with = "follow")]
    once: bool,
    /// At the end, write what was done as JSON: to standard output, to standard error where items go to the former
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerOptions,
}

#[derive(Debug, Subcommand)]
enum Show {
    /// List what a connection can be made of, with the options
    Schemes {
        /// Write JSON, one object a line
        #[arg(long)]
        json: bool,
    },
    /// List the connectors that `connectors.toml` in SINEW_HOME has for the server
    List {
        /// Write JSON, one object a line
        #[arg(long)]
        json: bool,
    },
    /// Tell what the connectors of the server of this account do
    Status {
        /// Write JSON, one object a line
        #[arg(long)]
        json: bool,
    },
}

/// Schemes that need no server.
const WITHOUT_SERVER: &[&str] = &["file", "stdin", "stdout"];

fn parse_speed(text: &str) -> Result<Speed, String> {
    let factor = text.parse().map_err(|_| "write a number, as in 1 or 2.5".to_owned())?;
    Speed::new(factor).map_err(|error| error.to_string())
}

impl Connect {
    pub(crate) fn run(self) -> Outcome {
        match self.command {
            Some(Show::Schemes { json }) => status::schemes(json),
            Some(Show::List { json }) => status::list(&Home::open()?, json),
            Some(Show::Status { json }) => status::status(&Home::open()?, json),
            None => {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                let outcome = runtime.block_on(self.connect());
                // A thread may stand at standard input.
                runtime.shutdown_background();
                outcome
            }
        }
    }

    async fn connect(self) -> Outcome {
        let mut signals = Signals::listen()?;
        let (mut from, to) = (self.source.clone().expect("required"), self.sink.clone().expect("required"));
        if let Some(place) = &self.from {
            from = from.with_default("from", place);
        }
        if self.follow {
            from = from.with_default("follow", "true");
        }
        let client = if [&from, &to].iter().all(|end| WITHOUT_SERVER.contains(&end.scheme())) {
            None
        } else {
            Some(tokio::select! {
                client = self.server.connect() => client?,
                () = signals.next() => return Ok(()),
            })
        };
        let context = Context {
            name: self.name.clone(),
            bus: client.as_ref().map(|client| client.bus().clone()),
            log: client.as_ref().map(|client| client.log().clone()),
        };
        let options = ConnectionOptions { speed: self.speed, ..ConnectionOptions::default() };
        let connection = Connection::between(&Registry::linked()?, &from, &to, &context, options)?;
        let (stop, progress, began) = (connection.stopper(), connection.progress(), Instant::now());
        let told = tokio::spawn(bar::show(progress.clone()));
        let outcome = tokio::select! {
            outcome = connection.run() => outcome,
            () = stopped(&mut signals, stop) => Err(Error::Outside {
                what: "ended by a second signal".into(),
                why: "what was moved last may not be confirmed".into(),
                retryable: false,
            }),
        };
        let _ = told.await;
        if let Some(client) = client {
            let _ = tokio::time::timeout(std::time::Duration::from_secs(1), client.close()).await;
        }
        let done = progress.borrow().clone();
        if outcome.is_ok() || done.moved > 0 {
            self.summary(&done, began, to.scheme() == "stdout")?;
        }
        match outcome {
            // Nobody reads any more: that is an end as any other.
            Err(Error::File { cause, .. }) if cause.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            outcome => outcome.map(drop).map_err(Into::into),
        }
    }

    fn summary(&self, done: &Progress, began: Instant, stdout_taken: bool) -> Outcome {
        if self.json {
            let line = serde_json::to_string(done)? + "\n";
            if stdout_taken {
                std::io::stderr().write_all(line.as_bytes())?;
            } else {
                std::io::stdout().write_all(line.as_bytes())?;
            }
            return Ok(());
        }
        if let Some(notice) = &done.notice {
            eprintln!("note: {notice}");
        }
        let lost = match (done.lost, done.uncounted) {
            (0, 0) => String::new(),
            (lost, 0) => format!(", {lost} lost"),
            (0, _) => ", and nobody knows what was missed before".into(),
            (lost, _) => format!(", {lost} lost, and nobody knows what was missed before"),
        };
        eprintln!("moved {} in {:.1} s{lost}", bar::amount(done), began.elapsed().as_secs_f64());
        Ok(())
    }
}

/// Stops it with the first signal, and ends with the second.
async fn stopped(signals: &mut Signals, stop: Stop) {
    signals.next().await;
    stop.stop();
    signals.next().await;
}
