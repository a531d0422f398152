//! The project's own chores, run as `cargo xtask …`; one file for each of them.
//!
//! `ci` is what CI runs, in the same order, so that green here is green there.
//! Nothing in here is part of what users get.

mod backlog;
mod bench;
mod ci;
mod coverage;
mod growth;
mod outside;
mod peers;
mod tidy;

mod metadata;
mod step;
mod store_size;
mod tools;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xshell::Shell;

/// Every chore fails with a text for the person at the terminal; nobody matches on it.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[derive(Parser)]
#[command(bin_name = "cargo xtask", about = "The project's own chores")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Run every check that CI runs, in the same order, and print how long each took
    Ci(ci::Options),
    /// Measure which lines the tests of the whole workspace reach: HTML, lcov and a table by crate
    Coverage(coverage::Options),
    /// Compare transports, presets and payload sizes with the bare libraries, in one run, as a Markdown table
    Bench(bench::Options),
    /// Build and run the projects outside the workspace that depend on it as users do
    Outside,
    /// Check what the compiler cannot: arrows between crates, file headers, names, the README's table
    Tidy,
}

fn main() -> ExitCode {
    match run(Arguments::parse().chore) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(chore: Chore) -> Result<()> {
    let shell = Shell::new()?;
    shell.change_dir(metadata::root());
    match chore {
        Chore::Ci(options) => ci::run(&shell, &options),
        Chore::Coverage(options) => coverage::run(&shell, &options),
        Chore::Bench(options) => bench::run(&shell, &options),
        Chore::Outside => outside::run(&shell).map(|_| ()),
        Chore::Tidy => tidy::run(&metadata::root()),
    }
}
