//! Items out of a file, line by line; at its end it stops, or follows it as it grows.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;

use super::reader::{Cut, Found, LineReader, Place};
use crate::error::failed;
use crate::format::{Lines, SOURCE_OPTIONS};
use crate::record::Entry;
use crate::worker::Worker;
use crate::{Address, Batch, BatchLimits, Context, Error, Extent, Item, Lost, Position, Result, Source, Standing};

/// How often a file that is followed is looked at.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(100);

/// Lines of a file. It keeps nothing: the sink's standing decides where it begins.
#[derive(Debug)]
pub(crate) struct FileSource {
    origin: String,
    reading: Worker<Reading, Result<Read>>,
    follow: bool,
}

/// Makes one.
pub(crate) fn make(address: &Address, _: &Context) -> Result<Box<dyn Source>> {
    address.only(&[SOURCE_OPTIONS, &["from", "follow"]].concat())?;
    if address.target().is_empty() {
        return Err(address.target_fault("name the file, as in file:events.jsonl"));
    }
    let from = match address.option("from") {
        Some("start") => 0,
        _ => address.parsed("from", "`start`, or how many records to pass over")?.unwrap_or(0),
    };
    let path = Path::new(address.target());
    // The name alone says nothing when another program looks at it from another folder.
    let path = std::path::absolute(path).map_err(failed("look at", path))?;
    let origin = address.origin(&path.to_string_lossy());
    let reading = Reading::new(path, Lines::of_source(address)?, from);
    Ok(Box::new(FileSource { origin, reading: Worker::new(reading), follow: address.switch("follow")? }))
}

impl FileSource {
    /// All records of a file as it is now.
    pub(crate) fn new(path: &Path) -> Result<Self> {
        let path = std::path::absolute(path).map_err(failed("look at", path))?;
        let origin = format!("file:{}", path.display());
        Ok(Self { origin, reading: Worker::new(Reading::new(path, Lines::default(), 0)), follow: false })
    }
}

#[async_trait]
impl Source for FileSource {
    fn origin(&self) -> String {
        self.origin.clone()
    }

    async fn start(&mut self, standing: &Standing) -> Result<Position> {
        let standing = standing.clone();
        self.reading.run(move |reading| reading.start(&standing).map(|()| Read::Waiting)).await?;
        // The beginning, which needs no words.
        Ok(Position::default())
    }

    async fn next(&mut self, limits: BatchLimits) -> Result<Option<Batch>> {
        let follow = self.follow;
        loop {
            match self.reading.run(move |reading| reading.next(limits, follow)).await? {
                Read::Batch(batch) => return Ok(Some(batch)),
                Read::Ended => return Ok(None),
                Read::Waiting => tokio::time::sleep(FOLLOW_INTERVAL).await,
            }
        }
    }
}

/// What became of a look into the file.
#[derive(Debug)]
enum Read {
    Batch(Batch),
    Ended,
    Waiting,
}

/// The file, and how far it was read.
#[derive(Debug)]
pub(crate) struct Reading {
    path: PathBuf,
    lines: Lines,
    /// Records that the option `from` passes over.
    from: u64,
    /// Items that are still to be passed over.
    skip: u64,
    /// The sink has some of these: a file with fewer is not the one that it has them from.
    skips_moved: bool,
    /// Items of this offset and below are passed over.
    last_offset: Option<u64>,
    /// The record that was read last, from 1, since the place where reading began.
    record: u64,
    reader: LineReader,
    /// A line that was read and not given, since the batch was full or ended with what was lost before it.
    held: Option<Entry>,
    line: Vec<u8>,
    /// What the file had when its end was seen.
    seen_bytes: Option<u64>,
    told_cut: Option<Cut>,
}

impl Reading {
    pub(crate) fn new(path: PathBuf, lines: Lines, from: u64) -> Self {
        Self {
            reader: LineReader::new(&path, Place::default()),
            path,
            lines,
            from,
            skip: from,
            skips_moved: false,
            last_offset: None,
            record: 0,
            held: None,
            line: Vec::new(),
            seen_bytes: None,
            told_cut: None,
        }
    }

    fn start(&mut self, standing: &Standing) -> Result<()> {
        let (position, skip) = standing.resume()?;
        let place = position.map(|position| read_position(position, &self.path)).transpose()?;
        self.skip = if place.is_some() { skip } else { self.from + skip };
        self.skips_moved = skip > 0;
        self.reader = LineReader::new(&self.path, place.unwrap_or_default());
        // A sink that counts knows better than offsets, which a file need not have.
        self.last_offset = standing.last_offset.filter(|_| standing.count.is_none());
        Ok(())
    }

    fn next(&mut self, limits: BatchLimits, follow: bool) -> Result<Read> {
        if follow && self.seen_bytes.is_some() && self.seen_bytes == self.reader.file_bytes().ok() {
            return Ok(Read::Waiting);
        }
        self.seen_bytes = None;
        let mut batch = Batch::default();
        let mut bytes = 0;
        while batch.items.len() < limits.items_max.max(1) && bytes < limits.bytes_max.max(1) {
            let place = self.reader.place();
            match self.entry(follow, &mut batch.notice)? {
                Some(Entry::Item(item)) => {
                    bytes += item.bytes();
                    batch.items.push(item);
                }
                Some(Entry::Lost(lost)) if batch.items.is_empty() => batch.lost = Some(sum(batch.lost, lost)),
                Some(lost) => {
                    // It belongs before the first item of a batch of its own.
                    self.held = Some(lost);
                    batch.position = write_position(place);
                    batch.extent = self.extent();
                    return Ok(Read::Batch(batch));
                }
                None if batch.items.is_empty() && batch.lost.is_none() && batch.notice.is_none() => {
                    return Ok(if follow { Read::Waiting } else { Read::Ended });
                }
                None => break,
            }
        }
        batch.position = write_position(self.reader.place());
        batch.extent = self.extent();
        Ok(Read::Batch(batch))
    }

    /// The next entry that is not passed over; `None` at the end as it is now.
    fn entry(&mut self, follow: bool, notice: &mut Option<String>) -> Result<Option<Entry>> {
        if let Some(held) = self.held.take() {
            return Ok(Some(held));
        }
        loop {
            let place = self.reader.place();
            let found = self.reader.next(&mut self.line)?;
            let entry = match found {
                Found::End => None,
                Found::Line if self.lines.is_blank(&self.line) => continue,
                Found::Line => Some(self.lines.read(&self.line).map_err(|why| self.malformed(place, why))?),
                Found::Cut(cut) => self.cut(cut, follow, notice),
            };
            let Some(entry) = entry else {
                let bytes = self.reader.file_bytes()?;
                if self.skip > 0 && self.skips_moved {
                    return Err(Error::Shrunk { path: self.path.clone(), bytes, at: self.reader.place().byte });
                }
                self.seen_bytes = Some(bytes);
                return Ok(None);
            };
            self.record += 1;
            if let Entry::Item(item) = &entry {
                if self.skip > 0 {
                    self.skip -= 1;
                    continue;
                }
                if self.last_offset.is_some_and(|last| item.offset.is_some_and(|offset| offset <= last)) {
                    continue;
                }
            } else if self.skip > 0 {
                continue; // it was told before
            }
            return Ok(Some(entry));
        }
    }

    /// The end within a line: it is a record if it is whole but for the line feed, and nobody writes on.
    fn cut(&mut self, cut: Cut, follow: bool, notice: &mut Option<String>) -> Option<Entry> {
        if !cut.in_member
            && !follow
            && let Ok(entry) = self.lines.read(&self.line)
        {
            self.reader.take_cut(cut);
            return Some(entry);
        }
        if !follow && self.told_cut != Some(cut) {
            self.told_cut = Some(cut);
            let path = self.path.display();
            *notice = Some(match cut.in_member {
                false => {
                    format!("{path} ends within a record: the {} bytes from byte {} on are left out", cut.bytes, cut.at)
                }
                true => format!(
                    "{path} is cut within the gzip member at byte {}, {} bytes before its end: whole lines of it were read",
                    cut.at, cut.bytes
                ),
            });
        }
        None
    }

    /// For `stream_from_file`: one item after the other, to the end as it is now.
    pub(crate) fn next_item(&mut self) -> Option<Result<Item>> {
        let mut notice = None;
        loop {
            let entry = self.entry(false, &mut notice);
            if let Some(notice) = notice.take() {
                tracing::warn!("{notice}");
            }
            match entry {
                Ok(Some(Entry::Item(item))) => return Some(Ok(item)),
                Ok(Some(Entry::Lost(_))) => {}
                Ok(None) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }

    fn malformed(&self, place: Place, why: String) -> Error {
        Error::Malformed { path: self.path.clone(), record: self.record + 1, at: place.byte, why }
    }

    fn extent(&self) -> Extent {
        Extent { done: self.reader.bytes_read(), total: self.reader.file_bytes().ok() }
    }
}

fn sum(before: Option<Lost>, more: Lost) -> Lost {
    match (before, more) {
        (None, more) => more,
        (Some(Lost::Exactly(before)), Lost::Exactly(more)) => Lost::Exactly(before.saturating_add(more)),
        (Some(_), _) => Lost::Unknown,
    }
}

fn write_position(place: Place) -> Position {
    Position(match place.lines {
        0 => format!("byte {}", place.byte),
        lines => format!("byte {} line {lines}", place.byte),
    })
}

fn read_position(position: &Position, path: &Path) -> Result<Place> {
    let mut words = position.0.split(' ');
    let mut number = |word: &str| match (words.next(), words.next().map(str::parse)) {
        (Some(found), Some(Ok(number))) if found == word => Some(number),
        (None, None) if word == "line" => Some(0),
        _ => None,
    };
    match (number("byte"), number("line")) {
        (Some(byte), Some(lines)) => Ok(Place { byte, lines }),
        _ => Err(Error::NotAMark {
            kept: format!("the mark of {}", path.display()),
            why: format!("its position is `{}`", position.0),
        }),
    }
}
