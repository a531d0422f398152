//! Appends until the stream has so many events, says how fast that was, and then goes on and says how far it is, until it
//! is killed or its standard input ends.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::stored::{Appender, engine, growing};
use crate::{Result, process};

/// How far it grows.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The data directory
    #[arg(long)]
    data: PathBuf,
    /// The offset to reach
    #[arg(long)]
    to: u64,
}

/// Events between two words about how far it is: while it grows, and behind that.
const STEP: u64 = 1 << 16;
const STEP_BEHIND: u64 = 1 << 13;

pub(crate) async fn run(options: &Options) -> Result<()> {
    let engine = engine(&options.data)?;
    let mut appender = Appender::new(growing(&engine).await?);
    let (began, first) = (Instant::now(), appender.next());
    let mut told = first;
    while appender.next() < options.to {
        if let Some(acknowledged) = appender.append()?
            && acknowledged >= told + STEP
        {
            process::tell("at", &[acknowledged])?;
            told = acknowledged;
        }
    }
    appender.settle()?;
    let micros = began.elapsed().as_micros() as u64;
    process::tell("grown", &[appender.next() - first, micros])?;
    let is_wanted = Arc::new(AtomicBool::new(true));
    std::thread::spawn({
        let is_wanted = is_wanted.clone();
        move || {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            is_wanted.store(false, Ordering::Relaxed);
        }
    });
    told = appender.next();
    while is_wanted.load(Ordering::Relaxed) {
        if let Some(acknowledged) = appender.append()?
            && acknowledged >= told + STEP_BEHIND
        {
            process::tell("acknowledged", &[acknowledged])?;
            told = acknowledged;
        }
    }
    Ok(())
}
