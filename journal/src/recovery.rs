//! From whatever a crash left to a journal that can be written to. Reads every segment's header, scans the last one, and
//! may itself be interrupted anywhere and begun again.
//!
//! What must hold:
//! 1. What was acknowledged is there, or is named as damaged. What is damaged stays as it is.
//! 2. Only bytes that no acknowledgement can have been about are cut: those behind everything that is known to have been
//!    on disk. They are saved beside before they are zeroed.
//! 3. What is shown to readers afterwards is on disk, not only in the operating system's memory.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Damage, Error, Result};
use crate::files::{File, Files, OpenMode, read_full, write_all};
use crate::index::{Index, IndexBuilder};
use crate::mark::Mark;
use crate::options::JournalOptions;
use crate::segment::{HEADER_BYTES, HeaderFault, Segment, SegmentHeader, VERSION, file_name, index_path, parse_name};
use crate::shared::{Shared, new_owner, sync_failed, write_raw};
use crate::walk::{Walk, find_segment_id};
use crate::{snapshot, tail, whole};

/// What recovery found and did. All empty after an orderly close and no damage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// There was no journal; it was created.
    pub is_new: bool,
    /// The last thing that happened to it was an orderly close.
    pub is_clean: bool,
    /// What was cut off the end, since it was never acknowledged as durable.
    pub cut: Option<Cut>,
    /// Offsets that are lost, in order. What is found later, on reading, is not here.
    pub damaged: Vec<Damage>,
    /// Other files with something wrong: what, and why. They were left as they are, or set aside where that is said.
    pub suspect: Vec<(PathBuf, &'static str)>,
    /// Indexes that were missing, out of date or damaged, and were made again.
    pub indexes_rebuilt: usize,
    /// Segments that a finished rewrite had replaced already.
    pub superseded_removed: usize,
    /// Files that were being written when the writer ended, and indexes without a segment.
    pub left_overs_removed: usize,
    /// Bytes of segments that were read.
    pub scanned_bytes: u64,
}

/// The torn end of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cut {
    /// First offset of the segment, which is its file's name.
    pub segment: u64,
    /// Byte of the file from which it was cut.
    pub position: u64,
    /// Bytes up to the last one that was not zero.
    pub bytes: u64,
    /// Where they were saved, up to 1 MiB of them.
    pub saved: Option<PathBuf>,
}

/// What a writer goes on with.
pub(crate) struct Recovered {
    pub(crate) shared: Arc<Shared>,
    /// The file of the last segment.
    pub(crate) file: Arc<dyn File>,
    /// Byte of it up to which there are zeros.
    pub(crate) zeroed: u64,
    pub(crate) timestamp: u64,
}

/// A segment's file as it was found.
struct Found {
    first: u64,
    path: PathBuf,
    file: Arc<dyn File>,
    bytes: u64,
    /// `None` when it is damaged.
    header: Option<SegmentHeader>,
}

impl Found {
    /// Whether each batch must begin where the one before ends: not after a rewrite, and not as far as is known where
    /// the header is damaged.
    fn is_gapless(&self) -> bool {
        self.header.is_some_and(|header| header.covers == 0)
    }
}

/// Everything of one recovery.
struct Work<'a> {
    files: &'a dyn Files,
    directory: &'a Path,
    options: &'a JournalOptions,
    owner: u64,
    report: Recovery,
    segments: Vec<Arc<Segment>>,
}

pub(crate) fn recover(
    files: Arc<dyn Files>,
    directory: &Path,
    options: JournalOptions,
) -> Result<(Recovered, Recovery)> {
    files.create_dir_all(directory).map_err(Error::io("create", directory))?;
    // What is seen from here on is durable, so that what is decided by it holds.
    files.sync_dir(directory).map_err(sync_failed(directory))?;
    let owner = new_owner();
    let mut work =
        Work { files: &*files, directory, options: &options, owner, report: Recovery::default(), segments: Vec::new() };
    let (file, zeroed) = work.run()?;
    let Work { report, segments, .. } = work;
    let timestamp = segments.iter().map(|segment| segment.summary().last_time).max().unwrap_or(0);
    let shared = Arc::new(Shared::new(files.clone(), directory.into(), options.clone(), owner, segments));
    Ok((Recovered { shared, file, zeroed, timestamp }, report))
}

impl Work<'_> {
    fn run(&mut self) -> Result<(Arc<dyn File>, u64)> {
        let mut names: Vec<String> = self.files.list(self.directory).map_err(Error::io("list", self.directory))?;
        names.sort();
        self.remove_left_overs(&names)?;
        let mut found = self.open_all(&names)?;
        self.remove_superseded(&mut found)?;
        let mark = match Mark::read(self.files, self.directory) {
            Err(Error::FileDamaged { path, why }) => {
                self.report.suspect.push((path, why));
                None
            }
            mark => mark?,
        };
        let active = match found.pop() {
            Some(last) if last.header.is_some() => {
                self.seal_all(found)?;
                self.recover_last(&last, mark.as_ref())?
            }
            // Nothing can be added to one whose header is damaged: it is read as it is, and a new one begun behind it.
            last => {
                found.extend(last);
                self.seal_all(found)?;
                None
            }
        };
        self.report_gaps();
        let next = self.segments.last().map(|segment| segment.summary().next);
        self.report.is_new = next.is_none() && mark.is_none();
        let lost = mark.filter(|mark| next.is_none_or(|next| next < mark.next));
        let (file, zeroed) = match active {
            Some(active) if lost.is_none() => active,
            // Either there is none to write to, or the one that a close spoke of is gone.
            _ => self.begin(lost.map_or(next.unwrap_or(self.options.first_offset), |mark| mark.next))?,
        };
        if let (Some(mark), Some(from)) = (lost, next) {
            let segment = self.segments.last().map_or(0, |segment| segment.first);
            self.report.damaged.push(Damage { segment, position: 0, from, to: mark.next });
        }
        let next = self.segments.last().map_or(0, |segment| segment.summary().next);
        snapshot::set_aside_ahead(self.files, self.directory, &names, next, &mut self.report.suspect)?;
        Ok((file, zeroed))
    }

    fn remove_left_overs(&mut self, names: &[String]) -> Result<()> {
        let segments: HashSet<_> = names.iter().filter_map(|name| name.strip_suffix(".segment")).collect();
        let is_orphan = |name: &str| name.strip_suffix(".index").is_some_and(|stem| !segments.contains(stem));
        for name in names.iter().filter(|name| whole::is_left_over(name) || is_orphan(name)) {
            let path = self.directory.join(name);
            match self.files.remove(&path) {
                // Gone since it was listed, which is what is wanted.
                Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => continue,
                removed => removed.map_err(Error::io("remove", &path))?,
            }
            self.report.left_overs_removed += 1;
        }
        Ok(())
    }

    fn open_all(&mut self, names: &[String]) -> Result<Vec<Found>> {
        let firsts = names.iter().filter_map(|name| parse_name(name));
        firsts.map(|first| self.open(first)).collect()
    }

    fn open(&mut self, first: u64) -> Result<Found> {
        let path = self.directory.join(file_name(first));
        let file = self.files.open(&path, OpenMode::Write).map_err(Error::io("open", &path))?;
        let bytes = file.len().map_err(Error::io("read", &path))?;
        let mut header = [0; HEADER_BYTES as usize];
        let count = read_full(&*file, &mut header, 0).map_err(Error::io("read", &path))?;
        let header = match SegmentHeader::decode(&header[..count]) {
            Err(HeaderFault::Version(found)) => return Err(Error::Format { path, found, known: VERSION }),
            Ok(header) if header.first == first => Some(header),
            _ => {
                self.report.suspect.push((path.clone(), "has a damaged header"));
                None
            }
        };
        Ok(Found { first, path, file, bytes, header })
    }

    /// A rewrite gives its segment its place first and removes what it stands for then.
    fn remove_superseded(&mut self, found: &mut Vec<Found>) -> Result<()> {
        let mut kept: Vec<Found> = Vec::new();
        for segment in found.drain(..) {
            let covers = kept.last().and_then(|last| last.header).map_or(0, |header| header.covers);
            if segment.first >= covers {
                kept.push(segment);
                continue;
            }
            if segment.header.is_some_and(|header| header.covers > covers) {
                let first = kept.last().map_or(0, |last| last.first);
                return Err(Error::Overlap { directory: self.directory.into(), first, second: segment.first });
            }
            self.files.remove(&segment.path).map_err(Error::io("remove", &segment.path))?;
            let _ = self.files.remove(&index_path(&segment.path));
            self.report.superseded_removed += 1;
        }
        *found = kept;
        if self.report.superseded_removed > 0 {
            self.files.sync_dir(self.directory).map_err(sync_failed(self.directory))?;
        }
        Ok(())
    }

    /// Takes in segments to which nothing is added any more.
    fn seal_all(&mut self, found: Vec<Found>) -> Result<()> {
        for found in found {
            let segment = match self.trust(&found)? {
                Some(segment) => segment,
                None => self.rebuild(&found)?,
            };
            self.segments.push(Arc::new(segment));
        }
        Ok(())
    }

    /// A sealed segment by its index, where that is of it and of just its length.
    fn trust(&self, found: &Found) -> Result<Option<Segment>> {
        let Some(index) = self.stored_index(found)? else { return Ok(None) };
        if index.summary.end != found.bytes && !crate::planted::is_planted("index trusted without check") {
            return Ok(None);
        }
        let header = found.header.unwrap_or(SegmentHeader { id: index.segment_id, ..unknown(found.first) });
        Ok(Some(Segment::sealed(found.path.clone(), &header, found.is_gapless(), index.summary)))
    }

    /// The index beside a segment, without its entries, where it is of that segment.
    fn stored_index(&self, found: &Found) -> Result<Option<Index>> {
        let path = index_path(&found.path);
        let Ok(file) = self.files.open(&path, OpenMode::Read) else { return Ok(None) };
        let mut bytes = [0; crate::index::HEADER_BYTES];
        let count = read_full(&*file, &mut bytes, 0).map_err(Error::io("read", &path))?;
        let Some((index, ..)) = Index::decode_header(&bytes[..count]) else { return Ok(None) };
        let is_of_it =
            found.header.is_some_and(|header| header.id == index.segment_id) && index.summary.next >= found.first;
        Ok((is_of_it || crate::planted::is_planted("index trusted without check")).then_some(index))
    }

    /// A sealed segment by its contents; its index is made again.
    fn rebuild(&mut self, found: &Found) -> Result<Segment> {
        let failed = |cause| Error::io("read", &found.path)(cause);
        let header = match found.header {
            Some(header) => header,
            None => {
                let id = find_segment_id(&*found.file, 0, found.bytes).map_err(failed)?;
                SegmentHeader { id: id.unwrap_or(0), ..unknown(found.first) }
            }
        };
        let builder = IndexBuilder::new(header.id, header.first, self.options.index_interval_bytes);
        let walk = Walk::new(&*found.file, header.id, found.is_gapless(), (HEADER_BYTES, header.first), found.bytes);
        let scan = tail::scan(walk, header.first, None, builder).map_err(failed)?;
        self.report.scanned_bytes += found.bytes;
        self.report.damaged.extend(&scan.damaged);
        let mut builder = scan.builder;
        let (end, next) = (builder.summary().end, builder.summary().next);
        builder.skip_to(end, header.covers);
        // It may know of more than is left.
        let stored = self.stored_index(found)?.map(|index| index.summary).filter(|stored| stored.end > end);
        if let Some(stored) = stored {
            self.report.damaged.push(Damage { segment: found.first, position: end, from: next, to: stored.next });
            builder.skip_to(stored.end, stored.next);
        }
        let index = builder.finish();
        if scan.end_of_bytes.is_some() {
            self.report.suspect.push((found.path.clone(), "has bytes behind its last batch, which were left there"));
        } else if found.header.is_some() && found.bytes > end {
            found.file.set_len(end).map_err(Error::io("cut", &found.path))?;
            found.file.sync_data().map_err(sync_failed(&found.path))?;
        }
        self.report.indexes_rebuilt += 1;
        let segment = Segment::sealed(found.path.clone(), &header, found.is_gapless(), index.summary);
        let path = segment.index_path();
        if let Err(error) = write_raw(self.files, &path, &index.encode()) {
            // On a full disk reading must go on; it is in memory, and made again at the next start.
            tracing::warn!(%error, index = %path.display(), "an index could not be written");
        }
        self.options.resources.keep_index((self.owner, header.id), Arc::new(index));
        Ok(segment)
    }

    /// The segment that was written to last: all of it is read, and its end made good.
    fn recover_last(&mut self, last: &Found, mark: Option<&Mark>) -> Result<Option<(Arc<dyn File>, u64)>> {
        let header = last.header.expect("the caller has looked");
        let mark = mark.filter(|mark| mark.segment_id == header.id);
        let builder = IndexBuilder::new(header.id, header.first, self.options.index_interval_bytes);
        let failed = |cause| Error::io("read", &last.path)(cause);
        let walk = Walk::new(&*last.file, header.id, last.is_gapless(), (HEADER_BYTES, header.first), last.bytes);
        let scan = tail::scan(walk, header.first, Some(mark), builder).map_err(failed)?;
        self.report.scanned_bytes += last.bytes;
        self.report.damaged.extend(&scan.damaged);
        let mut builder = scan.builder;
        let end = builder.summary().end;
        builder.skip_to(end, header.covers);
        self.report.is_clean = mark.is_some_and(|mark| mark.position == end) && scan.end_of_bytes.is_none();
        let mut end_of_file = last.bytes;
        if end_of_file < end {
            // The file is shorter than a mark says that it was.
            end_of_file = end;
            last.file.set_len(end).map_err(Error::io("grow", &last.path))?;
        }
        if let Some(behind) = scan.end_of_bytes
            && !crate::planted::is_planted("tail not cut")
        {
            let saved = tail::save(self.files, self.directory, &*last.file, (last.first, end), behind)?;
            self.report.cut = Some(Cut { segment: last.first, position: end, bytes: behind - end, saved });
            crate::files::write_zeros(&*last.file, end, behind).map_err(Error::io("zero", &last.path))?;
        }
        tail::write_again(&*last.file, scan.synced, end).map_err(Error::io("write", &last.path))?;
        last.file.sync_data().map_err(sync_failed(&last.path))?;
        let segment = Segment::active(last.path.clone(), &header, last.is_gapless(), builder, last.file.clone());
        self.segments.push(Arc::new(segment));
        Ok(Some((last.file.clone(), end_of_file)))
    }

    /// Offsets between a segment's end and the next one's beginning.
    fn report_gaps(&mut self) {
        for pair in self.segments.windows(2) {
            let (summary, to) = (pair[0].summary(), pair[1].first);
            if summary.next < to {
                let damage = Damage { segment: pair[0].first, position: summary.end, from: summary.next, to };
                self.report.damaged.push(damage);
            }
        }
    }

    /// A new segment to write to. One of that name which is in the way has no readable batch in it, and is set aside.
    fn begin(&mut self, first: u64) -> Result<(Arc<dyn File>, u64)> {
        let path = self.directory.join(file_name(first));
        if let Some(in_the_way) = self.segments.pop_if(|last| last.first == first) {
            let aside = self.directory.join(format!("damaged-{first:020}-{:016x}", self.files.random()));
            self.files.rename(&in_the_way.path, &aside).map_err(Error::io("set aside", &in_the_way.path))?;
            let _ = self.files.remove(&in_the_way.index_path());
            self.report.suspect.push((aside, "was a segment without a readable batch and was set aside"));
        }
        if let Some(last) = self.segments.last().filter(|last| !last.state().is_sealed) {
            let mut state = last.state();
            (state.builder, state.file, state.is_sealed) = (None, None, true);
        }
        let created = self.segments.last().map_or(0, |last| last.summary().last_time);
        let header = SegmentHeader { id: self.files.random(), first, covers: 0, created };
        let spare = whole::name_beside(self.files, &path);
        let file = self.files.create_new(&spare).map_err(Error::io("create", &spare))?;
        place(self.files, &*file, &spare, &path, &header)?;
        self.files.sync_dir(self.directory).map_err(sync_failed(self.directory))?;
        let builder = IndexBuilder::new(header.id, first, self.options.index_interval_bytes);
        self.segments.push(Arc::new(Segment::active(path, &header, true, builder, file.clone())));
        Ok((file, HEADER_BYTES))
    }
}

/// What is assumed of a segment whose header is damaged.
fn unknown(first: u64) -> SegmentHeader {
    SegmentHeader { id: 0, first, covers: 0, created: 0 }
}

/// Writes a segment's header, syncs it, and gives the file its name; the name is not durable yet.
pub(crate) fn place(
    files: &dyn Files,
    file: &dyn File,
    spare: &Path,
    path: &Path,
    header: &SegmentHeader,
) -> Result<()> {
    write_all(file, &header.encode(), 0).map_err(Error::io("write", spare))?;
    file.sync_data().map_err(sync_failed(spare))?;
    files.rename(spare, path).map_err(Error::io("rename", spare))
}
