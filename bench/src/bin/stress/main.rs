//! What the server does under stress, over ZeroMQ and over QUIC: `cargo xtask bench stress` runs it and prints its table.
//!
//! Real processes: `sinew serve` as users run it, and clients apart from it, which are this program again in another role.
//! Every scenario measures the undisturbed figures first, in the same run; what it promises stands beside what it found.

mod crowd;
mod flood;
mod latency;
mod load;
mod process;
mod report;
mod scenarios;
mod stalled;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Every role fails with a text; nobody matches on it.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[derive(Parser)]
#[command(about = "Slow subscribers, idle connections with overload, and hostile peers, against a real server")]
struct Arguments {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Run all scenarios and print the table
    All(scenarios::Options),
    /// Subscribers and a publisher, with the latency between them
    Load(load::Options),
    /// A subscriber that stops reading when it is told to
    Stalled(stalled::Options),
    /// Publishers that send as fast as they can
    Flood(flood::Options),
    /// Connections that do nothing, or harm
    Crowd(crowd::Options),
}

/// Where the server is, for all roles.
#[derive(Clone, Debug, clap::Args)]
struct Server {
    /// The server's URL, with its key
    #[arg(long)]
    url: String,
    /// The directory with the keys
    #[arg(long)]
    home: PathBuf,
}

impl Server {
    async fn connect(&self) -> Result<sinew::Client> {
        let home = sinew::Home::at(&self.home)?;
        let builder = sinew::Client::builder(&self.url).home(home).executor(sinew::Executor::Current);
        Ok(builder.connect().await?)
    }
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let result = match Arguments::parse().role {
        Role::All(options) => scenarios::run(&options),
        Role::Load(options) => runtime.block_on(load::run(options)),
        Role::Stalled(options) => runtime.block_on(stalled::run(options)),
        Role::Flood(options) => runtime.block_on(flood::run(options)),
        Role::Crowd(options) => runtime.block_on(crowd::run(options)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stress: {error}");
            ExitCode::FAILURE
        }
    }
}
