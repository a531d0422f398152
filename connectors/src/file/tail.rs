//! Where a file of lines ends, before something is appended: half a line and a member that was cut are mended, so that
//! what is written next stands behind the last whole record.
//!
//! Nothing that was confirmed is lost by it: a sink confirms behind a sync of whole lines. Lines of a cut member are kept:
//! they are written to `PATH.mending` first, and a mending that was interrupted is taken up again.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use flate2::bufread::GzDecoder;

use super::member::{MEMBER_BYTES_MAX, MEMBER_HEAD_BYTES, compress, stated_length};
use super::reader::{Cut, Found, LineReader, Place, is_gzip};
use crate::error::failed;
use crate::format::{Format, Lines};
use crate::record::{Entry, LINE_BYTES_MAX};
use crate::{Error, Result};

/// How a file ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tail {
    /// Its bytes; what is appended goes there.
    pub(crate) bytes: u64,
    /// The offset of its last item that has one.
    pub(crate) last_offset: Option<u64>,
    /// Its last line has no line feed, and is whole.
    pub(crate) needs_line_feed: bool,
    /// What was mended.
    pub(crate) notice: Option<String>,
}

/// Mends the end of a file that nobody else writes to, and tells where it is.
pub(crate) fn mend(path: &Path, file: &mut File, lines: &Lines) -> Result<Tail> {
    if is_gzip(path) { Compressed { path, file, lines }.mend() } else { mend_plain(path, file, lines) }
}

fn mend_plain(path: &Path, file: &mut File, lines: &Lines) -> Result<Tail> {
    let bytes = length(path, file)?;
    let (whole, half) = last_line(path, file, bytes)?;
    let mut tail = Tail { bytes, ..Tail::default() };
    if !half.is_empty() {
        if lines.format == Format::Raw || lines.read(&half).is_ok() {
            tail.needs_line_feed = true;
        } else {
            tail.notice = Some(format!(
                "{} ended within a record: the {} bytes from byte {whole} on were cut off",
                path.display(),
                half.len()
            ));
            cut(path, file, whole)?;
            tail.bytes = whole;
        }
    }
    tail.last_offset = match lines.read(&half) {
        Ok(Entry::Item(item)) if tail.needs_line_feed && lines.format == Format::Record => item.offset,
        _ => last_offset_before(path, file, whole, lines)?,
    };
    Ok(tail)
}

/// The offset of the last item before byte `end`, where a line ends. Lines of losses are passed over.
fn last_offset_before(path: &Path, file: &mut File, mut end: u64, lines: &Lines) -> Result<Option<u64>> {
    while lines.format == Format::Record && end > 0 {
        let (begin, line) = last_line(path, file, end - 1)?;
        match lines.read(&line) {
            _ if lines.is_blank(&line) => end = begin,
            Ok(Entry::Item(item)) => return Ok(item.offset),
            Ok(Entry::Lost(_)) => end = begin,
            Err(why) => return Err(Error::Malformed { path: path.into(), record: 0, at: begin, why: not_ours(&why) }),
        }
    }
    Ok(None)
}

fn not_ours(why: &str) -> String {
    format!("{why}; nothing is appended to a file that ends with something else: write to another one")
}

/// What stands before byte `end`, back to the last line feed, and where it begins.
fn last_line(path: &Path, file: &mut File, end: u64) -> Result<(u64, Vec<u8>)> {
    const STEP: u64 = 64 * 1024;
    let mut step = STEP;
    loop {
        let begin = end.saturating_sub(step);
        let mut bytes = vec![0; usize::try_from(end - begin).expect("at most a line")];
        file.seek(SeekFrom::Start(begin)).and_then(|_| file.read_exact(&mut bytes)).map_err(failed("read", path))?;
        if let Some(at) = bytes.iter().rposition(|byte| *byte == b'\n') {
            return Ok((begin + at as u64 + 1, bytes.split_off(at + 1)));
        }
        if begin == 0 {
            return Ok((0, bytes));
        }
        if step > LINE_BYTES_MAX as u64 {
            let why = not_ours(&format!("its last line has more than {LINE_BYTES_MAX} bytes"));
            return Err(Error::Malformed { path: path.into(), record: 0, at: begin, why });
        }
        step *= 4;
    }
}

fn length(path: &Path, file: &File) -> Result<u64> {
    Ok(file.metadata().map_err(failed("look at", path))?.len())
}

fn cut(path: &Path, file: &mut File, bytes: u64) -> Result<()> {
    file.set_len(bytes).and_then(|()| file.sync_all()).map_err(failed("cut", path))
}

/// A gzip file whose end is looked for.
struct Compressed<'a> {
    path: &'a Path,
    file: &'a mut File,
    lines: &'a Lines,
}

impl Compressed<'_> {
    fn mend(&mut self) -> Result<Tail> {
        self.finish_mending()?;
        let mut notice = None;
        loop {
            let (members, end) = self.members()?;
            let bytes = length(self.path, self.file)?;
            if end < bytes {
                notice = Some(self.mend_cut_member(end, bytes)?);
                continue;
            }
            // A member may state its length and be torn all the same, when the power failed: the last one is read.
            match self.last_offset(&members) {
                Ok((last_offset, needs_line_feed)) => {
                    return Ok(Tail { bytes: end, last_offset, needs_line_feed, notice });
                }
                Err(Error::Damaged { at, why, .. }) if Some(at) == members.last().copied() => {
                    notice = Some(self.set_aside(at, bytes, &why)?);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Where the whole members begin, and where the last one ends.
    fn members(&mut self) -> Result<(Vec<u64>, u64)> {
        let (mut members, mut at, bytes) = (Vec::new(), 0, length(self.path, self.file)?);
        while at < bytes {
            let mut head = [0; MEMBER_HEAD_BYTES];
            self.file.seek(SeekFrom::Start(at)).map_err(failed("read", self.path))?;
            let read = read_up_to(self.file, &mut head).map_err(failed("read", self.path))?;
            let end = match stated_length(&head[..read]) {
                Some(length) if at + length <= bytes => Some(at + length),
                Some(_) => None,
                None => self.end_of_foreign_member(at, bytes)?,
            };
            let Some(end) = end else { break };
            members.push(at);
            at = end;
        }
        Ok((members, at))
    }

    /// Decodes a member that does not say how long it is. `None` if it is cut.
    fn end_of_foreign_member(&mut self, at: u64, bytes: u64) -> Result<Option<u64>> {
        self.file.seek(SeekFrom::Start(at)).map_err(failed("read", self.path))?;
        let mut decoder = GzDecoder::new(BufReader::with_capacity(64 * 1024, &mut *self.file));
        match io::copy(&mut decoder, &mut io::sink()) {
            Ok(_) => {
                let mut rest = decoder.into_inner();
                let end = rest.stream_position().map_err(failed("read", self.path))?;
                Ok(Some(end))
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof || self.only_zeros(at, bytes)? => {
                let _ = error;
                Ok(None)
            }
            Err(error) => Err(Error::Damaged { path: self.path.into(), at, why: error.to_string() }),
        }
    }

    /// What a file system may leave of bytes that were never written, when the power fails.
    fn only_zeros(&mut self, at: u64, bytes: u64) -> Result<bool> {
        self.file.seek(SeekFrom::Start(at)).map_err(failed("read", self.path))?;
        let mut rest = BufReader::new(self.file.take(bytes - at)).bytes();
        Ok(rest.all(|byte| matches!(byte, Ok(0))))
    }

    /// Keeps the whole lines of a member that was cut, as a member of their own.
    fn mend_cut_member(&mut self, at: u64, bytes: u64) -> Result<String> {
        let mut kept = 0;
        let new = self.sidecar("mending.new");
        let mut out = File::create(&new).map_err(failed("write", &new))?;
        out.write_all(&at.to_le_bytes()).map_err(failed("write", &new))?;
        let mut reader = LineReader::new(self.path, Place { byte: at, lines: 0 });
        let (mut line, mut gathered) = (Vec::new(), Vec::new());
        while matches!(reader.next(&mut line), Ok(Found::Line)) {
            kept += 1;
            gathered.append(&mut line);
            gathered.push(b'\n');
            if gathered.len() >= MEMBER_BYTES_MAX {
                out.write_all(&compress(&gathered)).map_err(failed("write", &new))?;
                gathered.clear();
            }
        }
        if !gathered.is_empty() {
            out.write_all(&compress(&gathered)).map_err(failed("write", &new))?;
        }
        out.sync_all().map_err(failed("sync", &new))?;
        let ready = self.sidecar("mending");
        std::fs::rename(&new, &ready).map_err(failed("write", &ready))?;
        sync_folder(&ready)?;
        self.finish_mending()?;
        Ok(format!(
            "{} was cut within the gzip member at byte {at}, {} bytes before its end: its {kept} whole lines were kept",
            self.path.display(),
            bytes - at
        ))
    }

    /// Puts what was saved in place of the cut member. May be done again.
    fn finish_mending(&mut self) -> Result<()> {
        let ready = self.sidecar("mending");
        let mut saved = match File::open(&ready) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            saved => saved.map_err(failed("read", &ready))?,
        };
        let mut at = [0; 8];
        saved.read_exact(&mut at).map_err(failed("read", &ready))?;
        let at = u64::from_le_bytes(at);
        let mut put = |file: &mut File| {
            file.set_len(at)?;
            file.seek(SeekFrom::Start(at))?;
            io::copy(&mut saved, file)?;
            file.sync_all()
        };
        put(self.file).map_err(failed("mend", self.path))?;
        std::fs::remove_file(&ready).map_err(failed("remove", &ready))
    }

    /// Nothing is deleted that may be somebody's: a last member that does not hold together is copied beside.
    fn set_aside(&mut self, at: u64, bytes: u64, why: &str) -> Result<String> {
        let aside = self.sidecar(&format!("damaged-{at}"));
        let mut out = File::create(&aside).map_err(failed("write", &aside))?;
        self.file.seek(SeekFrom::Start(at)).map_err(failed("read", self.path))?;
        io::copy(&mut self.file.take(bytes - at), &mut out)
            .and_then(|_| out.sync_all())
            .map_err(failed("write", &aside))?;
        cut(self.path, self.file, at)?;
        Ok(format!(
            "the last gzip member of {}, at byte {at}, is damaged ({why}): it was moved to {}",
            self.path.display(),
            aside.display()
        ))
    }

    /// The offset of the last item, and whether the last line has no line feed.
    fn last_offset(&self, members: &[u64]) -> Result<(Option<u64>, bool)> {
        let mut needs_line_feed = false;
        for (index, begin) in members.iter().enumerate().rev() {
            let is_last = index + 1 == members.len();
            let mut reader = LineReader::new(self.path, Place { byte: *begin, lines: 0 });
            let (mut line, mut last) = (Vec::new(), None);
            for number in 0_u64.. {
                let place = reader.place();
                let found = reader.next(&mut line)?;
                if place.byte != *begin && !is_last && place.lines > 0 {
                    break; // that one was read before
                }
                let whole = match found {
                    Found::Line => true,
                    Found::Cut(Cut { in_member: false, .. }) => {
                        needs_line_feed |= is_last;
                        is_last
                    }
                    Found::End | Found::Cut(_) => break,
                };
                match self.lines.read(&line) {
                    _ if self.lines.format != Format::Record || self.lines.is_blank(&line) => {}
                    Ok(Entry::Item(item)) if whole => last = Some(item.offset),
                    Ok(_) => {}
                    // The rest of a line that began in the member before, which is read from there.
                    Err(_) if number == 0 && index > 0 => {}
                    Err(why) => {
                        let (path, why) = (self.path.into(), not_ours(&why));
                        return Err(Error::Malformed { path, record: 0, at: *begin, why });
                    }
                }
                if !matches!(found, Found::Line) {
                    break;
                }
            }
            if last.is_some() || self.lines.format != Format::Record {
                return Ok((last.flatten(), needs_line_feed));
            }
        }
        Ok((None, needs_line_feed))
    }

    fn sidecar(&self, ending: &str) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(format!(".{ending}"));
        name.into()
    }
}

fn read_up_to(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match file.read(&mut buffer[read..])? {
            0 => break,
            more => read += more,
        }
    }
    Ok(read)
}

/// Makes a new name in a folder durable.
pub(crate) fn sync_folder(path: &Path) -> Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("sync", folder))
}
