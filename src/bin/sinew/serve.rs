//! `sinew serve`: the server of this account. What it prints at start is in `greeting.rs`, where it may listen in
//! `listeners.rs`.

use std::time::Duration;

use clap::{ArgAction, Args};
use sinew::{Home, HomeClaim, Server};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

use crate::failure::{Outcome, StorageFailed};
use crate::signals::{Signals, end_of_stdin};

mod connectors;
mod greeting;
mod initial;
mod listeners;
mod memory;
mod open_files;

/// Run a server: ZeroMQ (TCP) and QUIC (UDP) on one port number, secured
///
/// Keys are made at the first start. Clients of this account on this machine need no configuration; others need the
/// URL with the server's key, as it is printed at start, and their key in the allowlist. SIGINT and SIGTERM end it in
/// order: what waits for clients is sent first.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sinew serve                                          on this machine alone
  sinew serve --host 0.0.0.0                           on every address of this machine
  sinew serve --listen zmq+ipc:///run/sinew.sock --listen 'quic://0.0.0.0:7463?preset=wan'")]
pub(crate) struct Serve {
    /// The port, for all transports; 0 picks a free one
    #[arg(long, default_value_t = 7463)]
    port: u16,
    /// The address to listen on
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    host: String,
    /// Listen here instead of --host and --port; may be given more than once
    #[arg(long, value_name = "URL", conflicts_with_all = ["port", "host"])]
    listen: Vec<String>,
    /// Where streams of the event log and buckets of the key-value store are kept; one server has the directory at a time. Default: `data` in SINEW_HOME
    #[arg(long, value_name = "PATH")]
    data: Option<std::path::PathBuf>,
    /// Values that the key-value store begins with, written only where the key is absent: {"BUCKET": {"KEY": VALUE}}
    #[arg(long, value_name = "FILE")]
    kv_initial: Option<std::path::PathBuf>,
    /// Neither encrypt nor ask for keys: whoever reaches a listener can use it
    #[arg(long)]
    insecure: bool,
    /// Log connections (-v) or everything (-vv) on standard error, not only what goes wrong, is refused or denied
    #[arg(long, short, action = ArgAction::Count)]
    verbose: u8,
    /// End when standard input ends, however who started it has ended.
    #[arg(long, hide = true)]
    until_stdin_ends: bool,
}

/// The longest that a drain can take, and a little more.
const END_TIMEOUT: Duration = Duration::from_secs(15);

impl Serve {
    pub(crate) fn run(self) -> Outcome {
        self.start_log();
        open_files::raise();
        memory::give_back_when_quiet();
        // One thread: routing runs where a block arrives, and an idle server costs next to nothing.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.serve())
    }

    async fn serve(self) -> Outcome {
        let mut signals = Signals::listen()?;
        let home = Home::open()?;
        let claim = home.claim()?;
        let connectors = connectors::read(&home)?;
        let initial = initial::read(self.kv_initial.as_deref())?;
        let own_clients = !connectors.is_empty() || !initial.is_empty();
        let server = listeners::start(&self, &home, own_clients).await?;
        initial::put(initial, &server).await?;
        claim.announce(server.urls())?;
        // A closed standard output is no reason to stop serving.
        let _ = greeting::print(&server, &home, self.insecure);
        let connectors = connectors::start(connectors, &server, &home).await?;
        let stdin_ended =
            async { if self.until_stdin_ends { drop(end_of_stdin().await) } else { std::future::pending().await } };
        tokio::select! {
            () = signals.next() => {}
            () = stdin_ended => {}
            error = server.failed() => {
                // Nothing more can be acknowledged; what is on disk, the next start finds out.
                drop(claim);
                server.abort().await;
                return Err(StorageFailed(error).into());
            }
        }
        if let Some(connectors) = connectors {
            tokio::select! {
                () = connectors.stop() => {}
                () = signals.next() => {}
            }
        }
        end(server, claim, &mut signals).await
    }

    fn start_log(&self) {
        let level = match self.verbose {
            0 => LevelFilter::WARN,
            1 => LevelFilter::INFO,
            _ => LevelFilter::DEBUG,
        };
        let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_filter(
            Targets::new()
                .with_default(level)
                // Refusals, denials, changes of the policy: what a person should see. Not each who comes.
                .with_target("sinew::audit", level.max(LevelFilter::INFO))
                .with_target("sinew::audit::connect", level),
        );
        tracing_subscriber::registry().with(lines).init();
    }
}

async fn end(server: Server, claim: HomeClaim, signals: &mut Signals) -> Outcome {
    // From here on nobody is to find it.
    drop(claim);
    tokio::select! {
        drained = tokio::time::timeout(END_TIMEOUT, server.drain()) => {
            drained.map_err(|_| format!("the listeners did not close within {END_TIMEOUT:?}"))??;
            Ok(())
        }
        () = signals.next() => Err("ended by a second signal; what waited for clients was not sent".into()),
    }
}
