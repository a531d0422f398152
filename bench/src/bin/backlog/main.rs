//! Tasks that wait, more and more of them, in a server as users run it: what each takes in memory and on disk, and whether
//! submitting, handing out and working off get slower. `cargo xtask bench tasks` runs it and writes its tables into
//! `docs/TASK-BACKLOG.md`.
//!
//! The server is a process of its own, a new one for each step, so that its memory is its own; clients and worker are this
//! program. How far it is goes to standard error, the tables to standard output; what was written is removed at the end.

#[cfg(unix)]
mod client;
#[cfg(unix)]
mod run;
#[cfg(unix)]
mod table;
#[cfg(unix)]
mod worker;

#[cfg(unix)]
fn main() -> std::process::ExitCode {
    use clap::Parser;

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    match runtime.block_on(run::run(&run::Options::parse())) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("backlog: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

#[cfg(not(unix))]
fn main() {
    eprintln!("backlog: it ends processes as Unix does; run it there");
    std::process::exit(1);
}

/// Everything fails with a text; nobody matches on it.
#[cfg(unix)]
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;
