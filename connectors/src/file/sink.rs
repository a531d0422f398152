//! Items into a file, appended: one line each, gzip members of up to 1 MiB of lines when the name ends in `.gz`.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::member::{MEMBER_BYTES_MAX, compress};
use super::reader::is_gzip;
use super::tail::{mend, sync_folder};
use crate::error::failed;
use crate::format::{Lines, SINK_OPTIONS};
use crate::worker::Worker;
use crate::{Address, Batch, Context, Error, Result, Sink, Standing};

/// A file that is appended to. What was written before a flush that succeeded is synced to disk.
#[derive(Debug)]
pub(crate) struct FileSink {
    appender: Worker<Appender, Result<Standing>>,
}

/// Makes one.
pub(crate) fn make(address: &Address, _: &Context) -> Result<Box<dyn Sink>> {
    address.only(SINK_OPTIONS)?;
    if address.target().is_empty() {
        return Err(address.target_fault("name the file, as in file:events.jsonl"));
    }
    Ok(Box::new(FileSink::new(Path::new(address.target()), Lines::of_sink(address)?)))
}

impl FileSink {
    pub(crate) fn new(path: &Path, lines: Lines) -> Self {
        Self { appender: Worker::new(Appender::new(path, lines)) }
    }
}

#[async_trait]
impl Sink for FileSink {
    async fn standing(&mut self) -> Result<Standing> {
        self.appender.run(Appender::open).await
    }

    async fn write(&mut self, batch: &Batch) -> Result<()> {
        let batch = batch.clone();
        self.appender.run(move |appender| appender.write(&batch).map(|()| Standing::default())).await.map(drop)
    }

    async fn flush(&mut self) -> Result<()> {
        self.appender.run(|appender| appender.flush().map(|()| Standing::default())).await.map(drop)
    }
}

#[derive(Debug)]
struct Appender {
    path: PathBuf,
    lines: Lines,
    file: Option<File>,
    /// What the file has of whole lines. Whatever is behind it was not written to its end, and is written over.
    bytes: u64,
    /// Lines that wait to be a member.
    gathered: Vec<u8>,
    is_synced: bool,
}

impl Appender {
    fn new(path: &Path, lines: Lines) -> Self {
        Self { path: path.into(), lines, file: None, bytes: 0, gathered: Vec::new(), is_synced: true }
    }

    fn open(&mut self) -> Result<Standing> {
        let is_new = !self.path.exists();
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&self.path).map_err(failed("open", &self.path))?;
        lock(&self.path, &file)?;
        if is_new {
            sync_folder(&self.path)?;
        }
        let tail = mend(&self.path, &mut file, &self.lines)?;
        (self.bytes, self.file) = (tail.bytes, Some(file));
        if tail.needs_line_feed {
            self.append(b"\n")?;
        }
        Ok(Standing { last_offset: tail.last_offset, notice: tail.notice, ..Standing::default() })
    }

    fn write(&mut self, batch: &Batch) -> Result<()> {
        let before = self.gathered.len();
        self.lines.write(batch, &mut self.gathered);
        let written = if !is_gzip(&self.path) || self.gathered.len() >= MEMBER_BYTES_MAX {
            self.append_gathered()
        } else {
            Ok(())
        };
        if written.is_err() {
            self.gathered.truncate(before);
        }
        written
    }

    fn flush(&mut self) -> Result<()> {
        self.append_gathered()?;
        if !self.is_synced {
            self.file().sync_data().map_err(failed("sync", &self.path))?;
            self.is_synced = true;
        }
        Ok(())
    }

    fn append_gathered(&mut self) -> Result<()> {
        if !self.gathered.is_empty() {
            let gathered = std::mem::take(&mut self.gathered);
            let appended = self.append(&gathered);
            self.gathered = gathered;
            appended?;
            self.gathered.clear();
        }
        Ok(())
    }

    /// Whole lines, all or nothing.
    fn append(&mut self, lines: &[u8]) -> Result<()> {
        let member = is_gzip(&self.path).then(|| compress(lines));
        let bytes = member.as_deref().unwrap_or(lines);
        let at = self.bytes;
        self.is_synced = false;
        let mut file = self.file();
        file.seek(SeekFrom::Start(at)).map_err(failed("write", &self.path))?;
        if let Err(cause) = file.write_all(bytes) {
            // Half a line must not stand there, whoever reads meanwhile. If that fails too, it is mended when it is opened.
            let _ = file.set_len(at);
            return Err(failed("write", &self.path)(cause));
        }
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn file(&self) -> &File {
        self.file.as_ref().expect("`standing` comes first")
    }
}

#[cfg(unix)]
fn lock(path: &Path, file: &File) -> Result<()> {
    use rustix::fs::FlockOperation;

    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::FileInUse { path: path.into() }),
        locked => locked.map_err(|error| failed("lock", path)(error.into())),
    }
}

/// Elsewhere two that write to one file are not told apart.
#[cfg(not(unix))]
fn lock(_path: &Path, _file: &File) -> Result<()> {
    Ok(())
}
