//! `sinew demo`: a server and its clients in processes of their own, and what they reach. The steps are in `steps.rs`, the
//! processes in `children.rs`, what the client processes do in `client.rs` and the rooms behind it.

use std::time::{Duration, Instant};

use clap::Args;

use crate::failure::{Outcome, chain};
use crate::signals::Signals;

mod append;
mod children;
mod client;
mod load;
mod ping_pong;
#[cfg(feature = "zmq")]
mod raw;
mod report;
mod steps;
mod store;
mod table;
mod tasks;
mod words;

pub(crate) use client::DemoClient;

/// Show what it does, in less than a minute
///
/// Starts a server and client processes of its own, with their own keys, on free ports, and leaves nothing behind: a
/// ping-pong over ZeroMQ, over QUIC and across the two, then throughput, then an event log whose every event is on disk
/// before it is acknowledged, a bucket of the key-value store that is watched while it is written, and tasks that two workers
/// do, one of them each; all of it encrypted and authenticated. Beside it messages with libzmq alone, in plaintext, through a
/// proxy process. Fails if a single message, event, change or task is lost.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Write the results as one JSON object instead of a table
    #[arg(long)]
    json: bool,
    /// Leave out the comparison with libzmq alone
    #[arg(long)]
    no_compare: bool,
    /// Stop after so many seconds at the latest, with shorter measurements if that is needed
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(5..=60))]
    deadline: u64,
    /// Measure next to nothing: shows that everything works.
    #[arg(long, hide = true)]
    brief: bool,
}

/// What is left of the deadline for ending everything.
const END: Duration = Duration::from_secs(2);

impl Demo {
    pub(crate) fn run(self) -> Outcome {
        let began = Instant::now();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.demonstrate(began))
    }

    async fn demonstrate(self, began: Instant) -> Outcome {
        let mut signals = Signals::listen()?;
        let deadline = Duration::from_secs(self.deadline);
        let plan = steps::Plan {
            began,
            deadline: deadline - 2 * END,
            compare: cfg!(feature = "zmq") && !self.no_compare,
            brief: self.brief,
        };
        let mut report = report::Report::default();
        // Dropping the steps kills every child.
        let outcome = tokio::select! {
            outcome = tokio::time::timeout(deadline - END, steps::run(&plan, &mut report)) => {
                outcome.unwrap_or_else(|_| Err(format!("not done within {} seconds", self.deadline).into()))
            }
            () = signals.next() => return Err("stopped by a signal; every process it started was ended".into()),
        };
        if let Err(error) = outcome {
            report.failures.push(chain(&*error));
        }
        report.seconds = began.elapsed().as_secs_f64();
        if self.json {
            println!("{}", serde_json::to_string_pretty(&report)?);
        } else {
            print!("{}", table::render(&report));
        }
        match report.failures.len() {
            0 => Ok(()),
            count => Err(format!("{count} of the steps failed: {}", report.failures.join("; ")).into()),
        }
    }
}
