//! A million keys of the key-value store in a server as users run it: what it takes in memory and on disk, at rest and while
//! all is overwritten, and how soon it serves after a start. `cargo xtask bench store` runs it and writes its tables into
//! `docs/STORE-SIZE.md`.
//!
//! The server is a process of its own, so that its memory is its own; the client is this program. How far it is goes to standard
//! error, the tables to standard output; what was written is removed at the end.

#[cfg(unix)]
mod client;
#[cfg(unix)]
mod run;
#[cfg(unix)]
mod table;

#[cfg(unix)]
fn main() -> std::process::ExitCode {
    use clap::Parser;

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    match runtime.block_on(run::run(&run::Options::parse())) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("store: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

#[cfg(not(unix))]
fn main() {
    eprintln!("store: it kills processes as Unix does; run it there");
    std::process::exit(1);
}

/// Everything fails with a text; nobody matches on it.
#[cfg(unix)]
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;
