//! `sinew kv import`: what a file has into a bucket, many puts at a time.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use sinew::ResourceName;
use sinew::kvstore::{
    ExchangeError, Expected, ExportReader, FileEntry, Progress, ProgressSink, TextValues, read_pickledb,
};
use tokio::sync::mpsc;

use super::export::told;
use super::puts::{Imported, Puts};
use crate::failure::Outcome;
use crate::log::object_line;
use crate::options::{Options, name};
use crate::progress::Bar;

/// Put what a file has into a bucket
///
/// The file is read to its end before anything is written, so that one with a mistake changes nothing; standard input cannot
/// be read twice, and what stands before a mistake is written. Keys that are not in the file stay as they are.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sinew kv import config config.jsonl
  sinew kv import config defaults.jsonl --absent
  sinew kv import parameters keyvalue.db --format pickledb

A line needs a key and a value; times to live are kept, and what is over is left out:
  {\"key\":\"limits\",\"value\":\"30\"}

--format pickledb is the file of the original's store, one JSON object. Values are stored as the JSON that stands there.
Keys may be any text: what cannot stand in a key here is written as %XX, a byte of UTF-8 each.")]
pub(super) struct Import {
    /// Into which bucket; it is made where there is none
    #[arg(value_parser = name)]
    bucket: ResourceName,
    /// The file; `-` is standard input
    file: PathBuf,
    /// What it is
    #[arg(long, value_enum, default_value_t = Format::Export)]
    format: Format,
    /// With --format pickledb: store texts without quotation marks
    #[arg(long)]
    plain: bool,
    /// Write only keys that are not there
    #[arg(long)]
    absent: bool,
    #[command(flatten)]
    options: Options,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// As `export` writes it
    Export,
    /// As the original's store keeps it
    Pickledb,
}

/// Entries that were read and wait to be put.
const ENTRIES_MAX: usize = 64;
impl Import {
    pub(super) async fn run(self) -> Outcome {
        if self.file.as_os_str() != "-" {
            // To its end, before anything is written.
            self.read_file(Arc::new(|_| ()), |_| ControlFlow::Continue(()))?;
        }
        let client = self.options.client().await?;
        let mut puts = Puts::new(client.kv().bucket(&self.bucket), self.absent.then_some(Expected::Absent));
        let import = Arc::new(self);
        let (bar, progress) = Bar::new(&format!("import {}", import.bucket));
        let put = import.clone().put(&mut puts, progress).await;
        drop(bar);
        let Imported { put: done, kept, expired } = puts.done();
        if let Err(error) = put {
            eprintln!("at least {done} keys were put before this:");
            return Err(error);
        }
        match import.options.json {
            true => print!("{}", object_line(puts.done())),
            false => println!("{done} keys were put, {kept} were there already, {expired} had expired"),
        }
        Ok(client.close().await?)
    }

    async fn put(self: Arc<Self>, puts: &mut Puts, progress: ProgressSink) -> Outcome {
        let mut entries = self.entries(progress);
        let mut read = Ok(());
        while let Some(entry) = entries.recv().await {
            match entry {
                Ok(entry) => puts.begin(entry).await?,
                Err(error) => read = Err(error),
            }
        }
        puts.finish().await?;
        read
    }

    /// Gives every entry of the input to `each`.
    fn read(&self, input: impl Read, mut each: impl FnMut(FileEntry) -> ControlFlow<()>) -> Outcome {
        let input = BufReader::new(input);
        let read = match (self.format, self.plain) {
            (Format::Pickledb, true) => read_pickledb(input, TextValues::Plain, each),
            (Format::Pickledb, false) => read_pickledb(input, TextValues::Json, each),
            (Format::Export, _) => read_lines(input, &mut each),
        };
        read.map_err(|error| told(&self.file, &error))
    }

    fn read_file(&self, progress: ProgressSink, each: impl FnMut(FileEntry) -> ControlFlow<()>) -> Outcome {
        let file = File::open(&self.file).map_err(|error| told(&self.file, &error))?;
        self.read(Counted::new(file, progress), each)
    }

    /// The entries, read on a thread of its own: a file may be slow, and standard input may not end.
    fn entries(self: Arc<Self>, progress: ProgressSink) -> mpsc::Receiver<Outcome<FileEntry>> {
        let (entries, receiver) = mpsc::channel(ENTRIES_MAX);
        std::thread::spawn(move || {
            let each = |entry| match entries.blocking_send(Ok(entry)) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            };
            let read = match self.file.to_str() {
                Some("-") => self.read(io::stdin().lock(), each),
                _ => self.read_file(progress, each),
            };
            if let Err(error) = read {
                // Nobody waits for it where the other end has failed.
                let _ = entries.blocking_send(Err(error));
            }
        });
        receiver
    }
}

fn read_lines(input: impl BufRead, each: &mut impl FnMut(FileEntry) -> ControlFlow<()>) -> Result<(), ExchangeError> {
    for entry in ExportReader::new(input) {
        if each(entry?).is_break() {
            break;
        }
    }
    Ok(())
}

/// A file, and how far it was read.
struct Counted {
    file: File,
    progress: ProgressSink,
    now: Progress,
}

impl Counted {
    fn new(file: File, progress: ProgressSink) -> Self {
        // The length is for the bar alone.
        let total = file.metadata().map_or(0, |metadata| metadata.len());
        Self { file, progress, now: Progress { done: 0, total } }
    }
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.now.done += read as u64;
        (self.progress)(self.now);
        Ok(read)
    }
}
