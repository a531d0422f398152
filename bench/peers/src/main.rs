//! Sinew beside NATS, zenoh, raw libzmq and Redis: same machine, same run, interleaved, clients apart from the servers.
//!
//! `cargo xtask bench peers` builds and starts this. Started as `run` it is the orchestrator; for each measurement it
//! starts a server, then itself once more as `client`, in a process apart, and stops the server by its process id.

mod payload;
mod place;
mod workload;

mod gate;
mod measure;
mod peer;
mod process;
mod system;

mod provide;
mod server;

mod machine;
mod orchestrate;
mod results;

mod chart;
mod page;
mod targets;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use measure::Order;
use system::System;

/// Every failure is a text for the person at the terminal, or goes into the results as one.
type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[derive(Parser)]
#[command(bin_name = "cargo xtask bench peers", about = "Compare Sinew with NATS, zenoh, raw libzmq and Redis")]
struct Arguments {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Measure everything that was asked for
    Run(orchestrate::Options),
    /// One measurement's client; its order comes as JSON
    #[command(hide = true)]
    Client { system: String, order: String },
    /// The proxies of raw libzmq
    #[command(hide = true)]
    RawProxy {
        #[arg(long)]
        curve: bool,
    },
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().role {
        Role::Run(options) => orchestrate::run(&options),
        Role::Client { system, order } => client(&system, &order),
        Role::RawProxy { curve } => peer::proxy(curve),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints the figures as one line. Threads that answer for ever end with the process.
fn client(system: &str, order: &str) -> Outcome {
    let order: Order = serde_json::from_str(order)?;
    let figures = System::named(system)?.measure(&order)?;
    println!("{}", serde_json::to_string(&figures)?);
    Ok(())
}
