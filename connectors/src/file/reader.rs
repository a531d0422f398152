//! Lines of a file, plain or gzip, with the place of each, so that reading can go on there.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use flate2::bufread::GzDecoder;

use crate::error::failed;
use crate::record::LINE_BYTES_MAX;
use crate::{Error, Result};

/// Where a line begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// Byte of the file; in a compressed one that of a member.
    pub(crate) byte: u64,
    /// Line feeds of that member before the line; 0 in a plain file.
    pub(crate) lines: u64,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A line; its line feed is left out.
    Line,
    /// The file ends here.
    End,
    /// The file ends within a line, or within a member. What there is of the line was given.
    Cut(Cut),
}

/// Where a file that ends too early does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Where the line, or the member, begins.
    pub(crate) at: u64,
    /// Bytes of the file from there on.
    pub(crate) bytes: u64,
    /// It is a member that was cut, and not only a line without its line feed.
    pub(crate) in_member: bool,
}

/// Reads line by line.
#[derive(Debug)]
pub(crate) struct LineReader {
    path: PathBuf,
    gzip: bool,
    place: Place,
    input: Option<Input>,
}

/// From where the bytes come.
#[derive(Debug)]
enum Input {
    Plain(BufReader<File>),
    /// Between two members.
    Between(Counted),
    Member {
        begin: u64,
        lines: u64,
        decoder: Box<BufReader<GzDecoder<Counted>>>,
    },
}

/// A file and how far it was consumed.
#[derive(Debug)]
struct Counted {
    file: BufReader<File>,
    at: u64,
}

/// Whether a path names a compressed file.
pub(crate) fn is_gzip(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"))
}

impl LineReader {
    /// Reads from `place` on. Opens the file with the first line.
    pub(crate) fn new(path: &Path, place: Place) -> Self {
        Self { path: path.into(), gzip: is_gzip(path), place, input: None }
    }

    /// Where the next line begins.
    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// Bytes that the file has.
    pub(crate) fn file_bytes(&self) -> Result<u64> {
        Ok(std::fs::metadata(&self.path).map_err(failed("look at", &self.path))?.len())
    }

    /// Bytes of the file that were read through, lines and all.
    pub(crate) fn bytes_read(&self) -> u64 {
        match &self.input {
            Some(Input::Member { decoder, .. }) => decoder.get_ref().get_ref().at,
            _ => self.place.byte,
        }
    }

    /// The next line, in place of what `line` had. After `End` and `Cut` a later call looks again, so that a file that
    /// grows is read on.
    ///
    /// # Errors
    /// `File`; `Damaged`; `Malformed` for a line above [`LINE_BYTES_MAX`]; `Shrunk`.
    pub(crate) fn next(&mut self, line: &mut Vec<u8>) -> Result<Found> {
        line.clear();
        if self.input.is_none() {
            self.open()?;
        }
        let found = if self.gzip { self.next_compressed(line) } else { self.next_plain(line) };
        if !matches!(found, Ok(Found::Line)) {
            // Whatever comes later is read from the place on, through a new file handle.
            self.input = None;
        }
        found
    }

    /// Goes behind a line that had no line feed, when it was taken for whole all the same.
    pub(crate) fn take_cut(&mut self, cut: Cut) {
        debug_assert!(!cut.in_member);
        if self.gzip { self.place.lines += 1 } else { self.place.byte += cut.bytes }
    }

    fn open(&mut self) -> Result<()> {
        let mut file = File::open(&self.path).map_err(failed("open", &self.path))?;
        let bytes = file.metadata().map_err(failed("look at", &self.path))?.len();
        if bytes < self.place.byte {
            return Err(Error::Shrunk { path: self.path.clone(), bytes, at: self.place.byte });
        }
        let begin = if self.gzip { self.place.byte } else { self.place.byte.saturating_sub(1) };
        file.seek(SeekFrom::Start(begin)).map_err(failed("read", &self.path))?;
        let mut file = BufReader::with_capacity(64 * 1024, file);
        if !self.gzip {
            if begin < self.place.byte {
                self.pass_late_line_feed(&mut file).map_err(failed("read", &self.path))?;
            }
            self.input = Some(Input::Plain(file));
            return Ok(());
        }
        self.input = Some(Input::Between(Counted { file, at: self.place.byte }));
        let (target, mut line) = (self.place, Vec::new());
        self.place.lines = 0;
        while self.place.byte == target.byte && self.place.lines < target.lines {
            line.clear();
            match self.next_compressed(&mut line)? {
                Found::Line => {}
                Found::Cut(cut) if !cut.in_member && self.place.lines + 1 == target.lines => break,
                Found::End | Found::Cut(_) => {
                    let bytes = self.file_bytes()?;
                    return Err(Error::Shrunk { path: self.path.clone(), bytes, at: target.byte });
                }
            }
        }
        // The last line of a member ends at the next one.
        self.place = if self.place.byte == target.byte { target } else { self.place };
        Ok(())
    }

    /// A line that was taken without its line feed may have got it since. `file` stands one byte before the place.
    fn pass_late_line_feed(&mut self, file: &mut BufReader<File>) -> io::Result<()> {
        let mut before = [0];
        file.read_exact(&mut before)?;
        if before[0] != b'\n' && file.fill_buf()?.first() == Some(&b'\n') {
            file.consume(1);
            self.place.byte += 1;
        }
        Ok(())
    }

    fn next_plain(&mut self, line: &mut Vec<u8>) -> Result<Found> {
        let Some(Input::Plain(file)) = &mut self.input else { unreachable!("a plain file is open") };
        let read = file.take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', line).map_err(failed("read", &self.path))?;
        let place = self.place.byte;
        if line.last() == Some(&b'\n') {
            line.pop();
            self.place.byte += read as u64;
            return Ok(Found::Line);
        }
        match read {
            0 => Ok(Found::End),
            _ if read > LINE_BYTES_MAX => Err(self.too_long(place)),
            _ => Ok(Found::Cut(Cut { at: place, bytes: read as u64, in_member: false })),
        }
    }

    fn next_compressed(&mut self, line: &mut Vec<u8>) -> Result<Found> {
        loop {
            match self.input.take().expect("a compressed file is open") {
                Input::Plain(_) => unreachable!("a compressed file is open"),
                Input::Between(mut counted) => {
                    let more = !counted.fill_buf().map_err(failed("read", &self.path))?.is_empty();
                    let begin = counted.at;
                    if line.is_empty() {
                        self.place = Place { byte: begin, lines: 0 };
                    }
                    if !more {
                        self.input = Some(Input::Between(counted));
                        let cut = Cut { at: self.place.byte, bytes: begin - self.place.byte, in_member: false };
                        return Ok(if line.is_empty() { Found::End } else { Found::Cut(cut) });
                    }
                    let decoder = Box::new(BufReader::with_capacity(64 * 1024, GzDecoder::new(counted)));
                    self.input = Some(Input::Member { begin, lines: 0, decoder });
                }
                Input::Member { begin, lines, mut decoder } => {
                    let room = (LINE_BYTES_MAX + 1).saturating_sub(line.len()) as u64;
                    match decoder.by_ref().take(room).read_until(b'\n', line) {
                        Ok(_) if line.last() == Some(&b'\n') => {
                            line.pop();
                            self.place = Place { byte: begin, lines: lines + 1 };
                            self.input = Some(Input::Member { begin, lines: lines + 1, decoder });
                            return Ok(Found::Line);
                        }
                        Ok(_) if line.len() > LINE_BYTES_MAX => return Err(self.too_long(begin)),
                        // The member ends, and the line may go on in the next.
                        Ok(_) => self.input = Some(Input::Between(decoder.into_inner().into_inner())),
                        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                            let bytes = self.file_bytes()?.saturating_sub(begin);
                            return Ok(Found::Cut(Cut { at: begin, bytes, in_member: true }));
                        }
                        Err(error) => return Err(self.read_error(begin, error)),
                    }
                }
            }
        }
    }

    fn read_error(&self, at: u64, error: io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
                Error::Damaged { path: self.path.clone(), at, why: error.to_string() }
            }
            _ => failed("read", &self.path)(error),
        }
    }

    fn too_long(&self, at: u64) -> Error {
        let why = format!("a line has more than {LINE_BYTES_MAX} bytes; split it, or is this no file of lines?");
        Error::Malformed { path: self.path.clone(), record: 0, at, why }
    }
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl BufRead for Counted {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.file.fill_buf()
    }

    fn consume(&mut self, bytes: usize) {
        self.at += bytes as u64;
        self.file.consume(bytes);
    }
}
