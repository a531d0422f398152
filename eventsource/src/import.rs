//! Taking over what the original event source has written: files named by their first offset, `.log` with records of a
//! head of 20 bytes (offset u64, time u64, size u32, little endian) and the payload. The `.index` files beside them say
//! nothing that the records do not say; they are not read.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use sinew_hosting::{Folder, GoOn};
use sinew_journal::{Durability, File, Files, Journal, JournalOptions, OpenMode, PreparedBatch};

use crate::engine::folder::EVENTS;
use crate::engine::host::Host;
use crate::engine::storage;
use crate::engine::stored_stream::KIND_EVENTS;
use crate::{Error, EventBatchBuilder, NewEvent, Progress, Result, StreamConfig};

const HEAD_BYTES: usize = 20;
/// Records of one time that go into one batch, at most.
const BATCH_EVENTS_MAX: u32 = 1_024;
/// Files that are looked at.
const FILES_MAX: usize = 1_000_000;

/// A record of the original.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Record {
    offset: u64,
    time: u64,
    payload: Bytes,
}

/// Writes the events of `source` into the journal of a stream that is being made.
pub(crate) fn import(
    host: &Host,
    folder: &Folder,
    config: &StreamConfig,
    source: &Path,
    go_on: GoOn<'_>,
) -> Result<()> {
    let failed = storage(folder.name());
    let files = find(host.files(), source)?;
    let mut progress = Progress { done: 0, total: files.iter().map(|(_, file)| file.bytes).sum() };
    let options = JournalOptions {
        segment_bytes: config.segment_bytes_max,
        index_interval_bytes: config.index_interval_bytes,
        // Synced at each new segment and at the end: before that the stream is not there.
        durability: Durability::Written,
        first_offset: files.first().map_or(0, |(first, _)| *first),
        ..JournalOptions::default()
    };
    let opened = Journal::open(host.directory.files().clone(), folder.join(EVENTS), options).map_err(&failed)?;
    let mut output = Output { journal: opened.0, builder: EventBatchBuilder::default(), time: 0, folder };
    let mut due = None;
    for (first, mut file) in files {
        if due.is_some_and(|due| due != first) {
            return Err(file.fault(format!("its name says offset {first}, and {} is due", due.unwrap_or(0))));
        }
        let mut next = first;
        while let Some(record) = file.next(next, config.event_bytes_max)? {
            output.push(&record)?;
            next += 1;
            if next % 1_024 == 0 && !go_on(Progress { done: progress.done + file.position, ..progress }) {
                return Err(failed(sinew_journal::Error::Cancelled));
            }
        }
        progress.done += file.bytes;
        due = Some(next);
    }
    output.flush()?;
    go_on(progress);
    output.journal.close().map_err(&failed)
}

/// The files in the order of their offsets.
fn find(files: &dyn Files, source: &Path) -> Result<Vec<(u64, LogFile)>> {
    let refused = |why: String| Error::MalformedImport { path: source.display().to_string(), at: 0, why };
    let names = files.list(source).map_err(|cause| refused(format!("it cannot be listed: {cause}")))?;
    let first = |name: &String| name.strip_suffix(".log").and_then(|digits| digits.parse::<u64>().ok());
    let mut found: Vec<_> = names.iter().filter_map(|name| Some((first(name)?, source.join(name)))).collect();
    if found.is_empty() || found.len() > FILES_MAX {
        return Err(refused(format!("{} files are named like `0.log`; 1 to {FILES_MAX} can be imported", found.len())));
    }
    found.sort_unstable();
    let open = |(first, path): (u64, PathBuf)| {
        let opened = files.open(&path, OpenMode::Read).and_then(|file| Ok((file.len()?, file)));
        let (bytes, file) = opened.map_err(|cause| Error::MalformedImport {
            path: path.display().to_string(),
            at: 0,
            why: format!("it cannot be read: {cause}"),
        })?;
        Ok((first, LogFile { path, file, bytes, position: 0 }))
    };
    found.into_iter().map(open).collect()
}

/// A file of the original.
struct LogFile {
    path: PathBuf,
    file: Arc<dyn File>,
    bytes: u64,
    /// Where the next record begins.
    position: u64,
}

impl LogFile {
    fn fault(&self, why: impl Into<String>) -> Error {
        Error::MalformedImport { path: self.path.display().to_string(), at: self.position, why: why.into() }
    }

    /// The next record, which must have this offset; `None` at the end.
    fn next(&mut self, offset: u64, bytes_max: u32) -> Result<Option<Record>> {
        let rest = self.bytes - self.position;
        if rest == 0 {
            return Ok(None);
        }
        if rest < HEAD_BYTES as u64 {
            return Err(self.fault(format!("a record's head has {HEAD_BYTES} bytes, and {rest} are left")));
        }
        let head = self.read(self.position, HEAD_BYTES)?;
        let u64_at = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("eight bytes"));
        let (found, time) = (u64_at(0), u64_at(8));
        let size = u32::from_le_bytes(head[16..].try_into().expect("four bytes"));
        if found != offset {
            return Err(self.fault(format!("the record has offset {found}, and {offset} is due")));
        }
        if u64::from(size) > rest - HEAD_BYTES as u64 {
            let left = rest - HEAD_BYTES as u64;
            return Err(self.fault(format!("the record has {size} bytes, and {left} are left")));
        }
        if size > bytes_max.saturating_sub(crate::RECORD_HEAD_BYTES as u32) {
            return Err(self.fault(format!("the record has {size} bytes; raise `event_bytes_max` of the stream")));
        }
        let payload = self.read(self.position + HEAD_BYTES as u64, size as usize)?;
        self.position += HEAD_BYTES as u64 + u64::from(size);
        Ok(Some(Record { offset, time, payload: payload.into() }))
    }

    fn read(&self, mut position: u64, bytes: usize) -> Result<Vec<u8>> {
        let (mut buffer, mut done) = (vec![0; bytes], 0);
        while done < bytes {
            match self.file.read_at(&mut buffer[done..], position) {
                Ok(0) => return Err(self.fault("the file got shorter while it was read")),
                Ok(count) => (done, position) = (done + count, position + count as u64),
                Err(cause) if cause.kind() == ErrorKind::Interrupted => {}
                Err(cause) => return Err(self.fault(format!("it cannot be read: {cause}"))),
            }
        }
        Ok(buffer)
    }
}

/// The journal that is written, with the records of one time that wait.
struct Output<'a> {
    journal: Journal,
    builder: EventBatchBuilder,
    time: u64,
    folder: &'a Folder,
}

impl Output<'_> {
    fn push(&mut self, record: &Record) -> Result<()> {
        let is_full = self.builder.count() >= BATCH_EVENTS_MAX || self.builder.len() > 1 << 20;
        if record.time != self.time || is_full {
            self.flush()?;
        }
        self.time = record.time;
        Ok(self.builder.push(&NewEvent::new(record.payload.clone()))?)
    }

    fn flush(&mut self) -> Result<()> {
        let events = std::mem::take(&mut self.builder).finish();
        if events.count() == 0 {
            return Ok(());
        }
        let failed = storage(self.folder.name());
        let batch = PreparedBatch::new(events.body().clone(), events.count(), events.count()).map_err(&failed)?;
        self.journal.commit(&mut [batch.kind(KIND_EVENTS)], self.time).map_err(&failed).map(drop)
    }
}
