//! `sinew log verify`, `compact`, `backup`, `restore` and `import`: through the server, or, where none runs, on its data
//! directory.

use std::path::{Path, PathBuf};

use clap::Args;
use sinew::{Client, JournalEngine, LogEngine, LogEngineOptions, ResourceName, StreamConfig, Verified};

use super::shown::object_line;
use super::streams::{Wishes, text};
use crate::failure::{DamageFound, Outcome};
use crate::options::{Options, name};
use crate::progress::Bar;
use crate::units::size;

/// What commands have that also work without a server.
#[derive(Debug, Args)]
struct Place {
    /// Work on this data directory instead of asking a server; none may run on it
    #[arg(long, value_name = "PATH", conflicts_with_all = ["url", "key_file", "insecure"])]
    data: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
}

/// Who does it.
enum Keeper {
    Server(Client),
    Directory(JournalEngine),
}

impl Place {
    async fn keeper(&self, makes: bool) -> Outcome<Keeper> {
        let Some(path) = &self.data else { return Ok(Keeper::Server(self.options.client().await?)) };
        if !makes && !path.is_dir() {
            return Err(format!("there is no data directory {}", path.display()).into());
        }
        Ok(Keeper::Directory(JournalEngine::open(path, LogEngineOptions::default())?))
    }

    fn print(&self, object: &impl serde::Serialize, text: &str) {
        match self.options.json {
            true => print!("{}", object_line(object)),
            false => print!("{text}"),
        }
    }
}

impl Keeper {
    async fn close(self) -> Outcome {
        match self {
            Self::Server(client) => Ok(client.close().await?),
            Self::Directory(engine) => Ok(engine.close().await?),
        }
    }

    async fn names(&self) -> Outcome<Vec<ResourceName>> {
        match self {
            Self::Server(client) => Ok(client.log().list().await?),
            Self::Directory(engine) => Ok(engine.names(None, usize::MAX).await?),
        }
    }
}

/// A path as the server is told it, which may stand in another directory.
pub(crate) fn whole(path: &Path) -> Outcome<String> {
    let path = std::path::absolute(path)?;
    match path.into_os_string().into_string() {
        Ok(path) => Ok(path),
        Err(path) => {
            Err(format!("{} is no UTF-8 text and cannot be told to a server; use --data", path.display()).into())
        }
    }
}

/// Read everything that is stored and check it
///
/// Changes nothing. Appends and reads go on meanwhile.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sinew log verify
  sinew log verify orders --json
  sinew log verify --data /var/lib/sinew/data          without a server

Exit code 8: damage was found.")]
pub(super) struct Verify {
    /// Which streams. Default: all
    #[arg(value_parser = name)]
    streams: Vec<ResourceName>,
    #[command(flatten)]
    place: Place,
}

impl Verify {
    pub(super) async fn run(self) -> Outcome {
        let keeper = self.place.keeper(false).await?;
        let streams = if self.streams.is_empty() { keeper.names().await? } else { self.streams.clone() };
        let mut damaged = 0;
        for stream in streams {
            let (bar, progress) = Bar::new(&format!("verify {stream}"));
            let found = match &keeper {
                Keeper::Server(client) => client.log().verify(&stream, progress).await?,
                Keeper::Directory(engine) => engine.stream(&stream).await?.verify(progress).await?,
            };
            drop(bar);
            let holds = found.damaged.is_empty() && found.problems.is_empty();
            damaged += usize::from(!holds);
            let mut object = serde_json::to_value(&found)?;
            object["stream"] = stream.as_str().into();
            self.place.print(&object, &verified(&stream, &found));
        }
        keeper.close().await?;
        if damaged > 0 { Err(DamageFound { kind: "stream", count: damaged }.into()) } else { Ok(()) }
    }
}

fn verified(stream: &ResourceName, found: &Verified) -> String {
    let Verified { first, next, events, bytes, damaged, problems } = found;
    let verdict = if damaged.is_empty() && problems.is_empty() { "whole" } else { "DAMAGED" };
    let mut text = format!("{stream}: {verdict}; {events} events from {first} up to {next}, {}\n", size(*bytes));
    damaged.iter().for_each(|(from, to)| text += &format!("  offsets {from} to {to} cannot be read\n"));
    problems.iter().for_each(|problem| text += &format!("  {problem}\n"));
    text
}

/// Apply compaction by key and retention now
#[derive(Debug, Args)]
pub(super) struct Compact {
    /// Which stream
    #[arg(value_parser = name)]
    stream: ResourceName,
    #[command(flatten)]
    options: Options,
}

impl Compact {
    pub(super) async fn run(self) -> Outcome {
        let client = self.options.client().await?;
        let (bar, progress) = Bar::new(&format!("compact {}", self.stream));
        let done = client.log().compact(&self.stream, progress).await?;
        drop(bar);
        match self.options.json {
            true => print!("{}", object_line(&done)),
            false => println!(
                "{} events were superseded, {} files expired; {} before, {} now",
                done.events_superseded,
                done.segments_expired,
                size(done.bytes_before),
                size(done.bytes_after)
            ),
        }
        Ok(())
    }
}

/// Copy a stream as it is at one moment, with producers, cursors and groups
///
/// Appends and reads go on meanwhile. The server writes the copy: the directory is one of its machine, must not be there yet,
/// or be empty.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sinew log backup orders /backups/orders-monday
  sinew log backup orders /backups/orders-monday --data /var/lib/sinew/data     without a server")]
pub(super) struct Backup {
    /// Which stream
    #[arg(value_parser = name)]
    stream: ResourceName,
    /// Where to
    directory: PathBuf,
    #[command(flatten)]
    place: Place,
}

impl Backup {
    pub(super) async fn run(self) -> Outcome {
        let target = whole(&self.directory)?;
        let keeper = self.place.keeper(false).await?;
        let (bar, progress) = Bar::new(&format!("back up {}", self.stream));
        let done = match &keeper {
            Keeper::Server(client) => client.log().backup(&self.stream, &target, progress).await?,
            Keeper::Directory(engine) => engine.stream(&self.stream).await?.backup(target.as_ref(), progress).await?,
        };
        drop(bar);
        let told = format!("offsets {} up to {} are in {target}, {}\n", done.first, done.next, size(done.bytes));
        self.place.print(&done, &told);
        keeper.close().await
    }
}

/// Make a stream from a backup
///
/// A stream is never overwritten. The directory is one of the server's machine.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sinew log restore /backups/orders-monday orders
  sinew log restore /backups/orders                                  the stream is called as the directory is
  sinew log restore /backups/orders orders --data /var/lib/sinew/data     without a server")]
pub(super) struct Restore {
    /// What `backup` has written
    directory: PathBuf,
    /// What to call the stream. Default: as the directory is called
    #[arg(value_parser = name)]
    stream: Option<ResourceName>,
    #[command(flatten)]
    place: Place,
}

impl Restore {
    pub(super) async fn run(self) -> Outcome {
        let source = whole(&self.directory)?;
        let stream = match self.stream {
            Some(stream) => stream,
            None => called_as(source.as_ref())?,
        };
        let keeper = self.place.keeper(true).await?;
        let (bar, progress) = Bar::new(&format!("restore {stream}"));
        let info = match &keeper {
            Keeper::Server(client) => client.log().restore(&stream, &source, progress).await?,
            Keeper::Directory(engine) => engine.restore(&stream, source.as_ref(), progress).await?,
        };
        drop(bar);
        self.place.print(&info, &text(&info));
        keeper.close().await
    }
}

/// What a directory's name makes of a stream or a bucket.
pub(crate) fn called_as(directory: &Path) -> Outcome<ResourceName> {
    let called = directory.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name(called).map_err(|error| format!("{error}; say what to call it").into())
}

/// Make a stream from the files of the original event source
///
/// PATH is the directory of its `.log` files, on the server's machine. Offsets and times stay; nothing in it is changed.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sinew log import orders /old/orders
  sinew log import orders /old/orders --data /var/lib/sinew/data     without a server")]
pub(super) struct Import {
    /// What to call the stream
    #[arg(value_parser = name)]
    stream: ResourceName,
    /// Where its files are
    path: PathBuf,
    #[command(flatten)]
    wishes: Wishes,
    #[command(flatten)]
    place: Place,
}

impl Import {
    pub(super) async fn run(self) -> Outcome {
        let mut config = StreamConfig::default();
        self.wishes.apply(&mut config)?;
        let source = whole(&self.path)?;
        let keeper = self.place.keeper(true).await?;
        let (bar, progress) = Bar::new(&format!("import {}", self.stream));
        let info = match &keeper {
            Keeper::Server(client) => client.log().import(&self.stream, &config, &source, progress).await?,
            Keeper::Directory(engine) => engine.import(&self.stream, &config, source.as_ref(), progress).await?,
        };
        drop(bar);
        self.place.print(&info, &text(&info));
        keeper.close().await
    }
}
