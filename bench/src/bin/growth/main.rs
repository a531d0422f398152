//! One stream of the event log as it grows: rates, the time to open it after a close and after a kill, and what its
//! indexes take in memory; and durable appends over more and more streams. `cargo xtask bench log` runs it and writes
//! its tables into `docs/LOG-GROWTH.md`.
//!
//! The engine as the server uses it, without a connection in between. Whatever opens or writes the stream is this program
//! again, in a process of its own, so that a kill is a kill and nothing is left in memory from before. Tables go to
//! standard output, how far it is to standard error; it can be stopped at any time, and removes what it wrote.

#[cfg(unix)]
mod disk;
#[cfg(unix)]
mod grow;
#[cfg(unix)]
mod open;
#[cfg(unix)]
mod process;
#[cfg(unix)]
mod run;
#[cfg(unix)]
mod stored;
#[cfg(unix)]
mod streams;
#[cfg(unix)]
mod table;

#[cfg(unix)]
fn main() -> std::process::ExitCode {
    roles::main()
}

#[cfg(not(unix))]
fn main() {
    eprintln!("growth: it kills processes as Unix does; run it there");
    std::process::exit(1);
}

/// Every role fails with a text; nobody matches on it.
#[cfg(unix)]
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[cfg(unix)]
mod roles {
    //! What this program is started as.

    use std::process::ExitCode;

    use clap::{Parser, Subcommand};

    use crate::{grow, open, run, streams};

    #[derive(Parser)]
    #[command(about = "One stream of the event log as it grows, and appends over many")]
    struct Arguments {
        #[command(subcommand)]
        role: Role,
    }

    #[derive(Subcommand)]
    enum Role {
        /// Run everything and print the tables
        Run(run::Options),
        /// Append until the stream has so many events
        Grow(grow::Options),
        /// Open the stream, read all of it, and close it
        Open(open::Options),
        /// Append to many streams at once
        Streams(streams::Options),
    }

    pub(crate) fn main() -> ExitCode {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let result = runtime.block_on(async {
            match Arguments::parse().role {
                Role::Run(options) => run::run(&options).await,
                Role::Grow(options) => grow::run(&options).await,
                Role::Open(options) => open::run(&options).await,
                Role::Streams(options) => streams::run(&options).await,
            }
        });
        match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("growth: {error}");
                ExitCode::FAILURE
            }
        }
    }
}
