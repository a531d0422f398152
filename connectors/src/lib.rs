//! Connectors: items move between the bus, the event log, files and standard streams.
//!
//! What is published is recorded, and played again:
//!
//! ```
//! use sinew_connectors::{replay_file, stream_from_file, stream_to_file};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! # let (_server, bus) = sinew_testkit::memory::bus().await;
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("rooms.jsonl.gz");
//! let recording = stream_to_file(&bus, &"room.*".parse()?, &path).await?; // records from here on
//! bus.publish(&"room.lamp".parse()?, "on").await?;
//! bus.flush().await?;
//! recording.watch().wait_for(|progress| progress.moved == 1).await?;
//! recording.stop().await?; // what was heard is on the disk
//!
//! for message in stream_from_file(&path) {
//!     assert_eq!(message?.payload, "on");
//! }
//! replay_file(&bus, &path, None).await?;
//! # Ok(())
//! # }
//! # sinew_testkit::memory::run(example());
//! ```
//!
//! In general a [`Connection`] moves batches from a [`Source`] to a [`Sink`], found by their [`Address`] in a [`Registry`]:
//! with back-pressure, a batch of memory, and a mark from which it goes on after a restart. What each pair guarantees is in
//! `docs/CONNECTORS.md`.

mod address;
pub use address::{ADDRESS_BYTES_MAX, Address};
mod item;
pub use item::{
    BATCH_BYTES_MAX, BATCH_ITEMS_MAX, Batch, BatchLimits, Extent, Item, Lost, MARK_BYTES_MAX, Mark, Position, Standing,
};
mod contract;
pub use contract::{Sink, Source};
mod registry;
pub use registry::{Context, MakeSink, MakeSource, Plugin, Registry};
mod progress;
pub use progress::{Phase, Progress, Stop};
mod pace;
pub use pace::{PACE_GAP_MAX, Speed};
mod connection;
pub use connection::{Connection, ConnectionOptions};
mod config;
pub use config::{CONFIG_BYTES_MAX, CONNECTORS_MAX, ConnectorConfig, parse_config};
pub use sinew_eventsource::{parse_rfc3339, rfc3339};
mod format;
mod record;
mod worker;
pub use record::LINE_BYTES_MAX;
mod bus;
mod file;
mod log;
mod recording;
mod stamp;
mod stream;
pub use recording::{Messages, Recording, replay_file, stream_from_file, stream_to_file};
pub mod blocking;
mod error;
pub use error::{Error, Result};

#[doc(hidden)]
pub use inventory;

/// The examples of the guide are tests.
#[cfg(doctest)]
#[doc = include_str!("../../docs/CONNECTORS.md")]
struct Guide;

/// What this crate brings itself.
const BUILT_IN: &[Plugin] = &[
    Plugin {
        scheme: "bus",
        about: "messages of the bus: bus:PATTERN?group&overflow&retained; to it: bus: or bus:SUBJECT?stamp",
        source: Some(bus::source::make),
        sink: Some(bus::sink::make),
    },
    Plugin {
        scheme: "file",
        about: "lines of a file, gzip when it ends in .gz: file:PATH?format&subject&subject_field&key_field&from&follow; \
                to it: file:PATH?format; format is record, object or raw",
        source: Some(file::source::make),
        sink: Some(file::sink::make),
    },
    Plugin {
        scheme: "log",
        about: "events of a stream: log:STREAM?from&to&filter&key&follow; to it: log:STREAM?create&stamp",
        source: Some(log::source::make),
        sink: Some(log::sink::make),
    },
    Plugin {
        scheme: "stdin",
        about: "lines of standard input: stdin:?format&subject&subject_field&key_field",
        source: Some(stream::make_source),
        sink: None,
    },
    Plugin {
        scheme: "stdout",
        about: "lines to standard output: stdout:?format",
        source: None,
        sink: Some(stream::make_sink),
    },
];
