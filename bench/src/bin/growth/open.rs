//! Opens the stream with nothing of it in memory, reads an event of each segment so that all indexes are there, reads
//! everything from the first event to the last, and closes it.

use std::path::PathBuf;
use std::time::Instant;

use sinew_eventsource::{Engine, ReadLimits};

use crate::stored::{engine, growing, is_right};
use crate::{Result, disk, process};

/// What is done.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The data directory
    #[arg(long)]
    data: PathBuf,
    /// Read everything, too
    #[arg(long)]
    replay: bool,
}

/// Bytes that are read at one time.
const PAGE_BYTES: usize = 1 << 20;
/// Pages between two words about how far it is.
const STEP: u64 = 256;

pub(crate) async fn run(options: &Options) -> Result<()> {
    disk::forget(&options.data)?;
    let began = Instant::now();
    let engine = engine(&options.data)?;
    let stream = growing(&engine).await?;
    let micros = began.elapsed().as_micros() as u64;
    let range = *stream.range().borrow();
    process::tell("opened", &[micros, range.first, range.next])?;
    let info = stream.info().await?;
    // Events are of one size, so each of these is in another segment, and in the last part of it or the first.
    let one = ReadLimits { bytes_max: 1, events_max: 1 };
    for part in 0..2 * info.segments {
        stream.read(range.first + (range.next - range.first) * part / (2 * info.segments), one).await?;
    }
    let indexes = sinew_journal::Resources::shared().index_bytes() as u64;
    process::tell("indexes", &[indexes, info.bytes, info.segments])?;
    if options.replay {
        let (began, mut events, mut pages, mut at) = (Instant::now(), 0, 0, range.first);
        let limits = ReadLimits { bytes_max: PAGE_BYTES, events_max: usize::MAX };
        while at < range.next {
            let page = stream.read(at, limits).await?;
            for batch in &page.batches {
                for event in batch.events.events(batch.first, batch.timestamp) {
                    if event.offset != range.first + events || !is_right(&event) {
                        return Err(format!("event {} is not the one that was appended", event.offset).into());
                    }
                    events += 1;
                }
            }
            (at, pages) = (page.next, pages + 1);
            if pages % STEP == 0 {
                process::tell("at", &[events])?;
            }
        }
        process::tell("replayed", &[events, began.elapsed().as_micros() as u64, disk::resident()?])?;
    }
    drop(stream);
    let began = Instant::now();
    engine.close().await?;
    process::tell("closed", &[began.elapsed().as_micros() as u64])
}
