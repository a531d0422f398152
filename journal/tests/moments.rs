//! Moments at which a reader, a list of names or a lack of open files comes in between.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use sinew_journal::{
    Committer, Directory, Error, Fault, FaultKind, File, Files, Journal, JournalOptions, JournalReader, Lock, OpenMode,
    PreparedBatch, SimulatedDisk,
};

const FOLDER: &str = "/journal";

fn options() -> JournalOptions {
    JournalOptions { segment_bytes: 4096, index_interval_bytes: 256, ..JournalOptions::default() }
}

fn commit(journal: &mut Journal) -> sinew_journal::Result<u64> {
    let batch = PreparedBatch::new(vec![7; 200], 1, 1).expect("a small batch");
    journal.commit(&mut [batch], 1).map(|committed| committed.first)
}

fn count(reader: &JournalReader) -> u64 {
    let (first, next) = reader.range();
    let (mut cursor, mut count) = (reader.cursor(first), 0);
    while cursor.next_offset() < next {
        count += reader.read_on(&mut cursor, 1_000).expect("readable").len() as u64;
    }
    count
}

/// A disk that calls somebody whenever a file is cut, and that has a name in its lists which is gone when it is touched.
#[derive(Debug, Default)]
struct Haunted {
    ghost: Option<&'static str>,
    reader: OnceLock<JournalReader>,
    /// Indexes that were there while one was cut.
    indexes: Mutex<Vec<PathBuf>>,
}

#[derive(Clone, Debug)]
struct HauntedFiles(SimulatedDisk, Arc<Haunted>);

#[derive(Debug)]
struct HauntedFile(Arc<dyn File>, HauntedFiles);

impl Files for HauntedFiles {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(HauntedFile(self.0.open(path, mode)?, self.clone())))
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(HauntedFile(self.0.create_new(path)?, self.clone())))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let mut names = self.0.list(directory)?;
        names.extend(self.1.ghost.map(str::to_owned));
        Ok(names)
    }

    fn create_dir_all(&self, directory: &Path) -> io::Result<()> {
        self.0.create_dir_all(directory)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }

    fn remove_dir(&self, directory: &Path) -> io::Result<()> {
        self.0.remove_dir(directory)
    }

    fn open_dir(&self, directory: &Path) -> io::Result<Box<dyn Directory>> {
        self.0.open_dir(directory)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.0.lock(path)
    }

    fn random(&self) -> u64 {
        self.0.random()
    }
}

impl File for HauntedFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.0.read_at(buffer, position)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<usize> {
        self.0.write_at(bytes, position)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let HauntedFiles(disk, haunted) = &self.1;
        if let Some(reader) = haunted.reader.get() {
            count(reader);
            let is_index = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "index");
            haunted.indexes.lock().expect("no panic").extend(disk.files().into_iter().filter(is_index));
        }
        self.0.set_len(bytes)
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
}

#[test]
fn a_reader_at_the_moment_of_a_roll_makes_no_index_of_its_own() {
    let haunted = Arc::<Haunted>::default();
    let files = HauntedFiles(SimulatedDisk::new(1), haunted.clone());
    let (mut journal, _) = Journal::open(Arc::new(files), FOLDER, options()).expect("a journal");
    haunted.reader.set(journal.reader()).expect("the first");
    while journal.segments().len() < 2 {
        commit(&mut journal).expect("committed");
    }
    // It was read while it was sealed, and only then its index came.
    assert_eq!(*haunted.indexes.lock().expect("no panic"), Vec::<PathBuf>::new());
    assert_eq!(count(&journal.reader()), journal.next_offset());
}

#[test]
fn a_left_over_that_is_gone_meanwhile_is_no_reason_not_to_start() {
    let disk = SimulatedDisk::new(1);
    let (mut journal, _) = Journal::open(Arc::new(disk.clone()), FOLDER, options()).expect("a journal");
    commit(&mut journal).expect("committed");
    drop(journal);
    let haunted = Haunted { ghost: Some(".spare.0123456789abcdef.new"), ..Haunted::default() };
    let files = HauntedFiles(disk, Arc::new(haunted));
    let (journal, recovery) = Journal::open(Arc::new(files), FOLDER, options()).expect("a journal");
    assert_eq!((journal.next_offset(), recovery.left_overs_removed), (1, 0));
}

#[test]
fn too_many_open_files_end_nothing() {
    let disk = SimulatedDisk::new(1);
    let committer = Committer::new(0).expect("without threads");
    let (mut journal, _) = Journal::open(Arc::new(disk.clone()), FOLDER, options()).expect("a journal");
    journal.attach(&committer);
    for round in 1..4 {
        // From here on the helper prepares nothing.
        disk.fail(Fault { kind: FaultKind::Open, call: disk.calls(), count: u64::MAX });
        let stored = journal.next_offset();
        let refused = loop {
            match commit(&mut journal) {
                Ok(_) => drop(committer.run_dirty()),
                Err(error) => break error,
            }
        };
        assert!(matches!(refused, Error::NotOpened { .. }) && refused.is_retryable(), "{refused}");
        assert!(!refused.is_fatal() && journal.next_offset() > stored, "it went on as long as the file was not full");
        commit(&mut journal).expect_err("not yet");
        disk.mend();
        assert_eq!(commit(&mut journal).expect("it goes on by itself"), journal.next_offset() - 1);
        assert!(journal.segments().len() > round);
        assert_eq!(count(&journal.reader()), journal.next_offset());
    }
    assert!(committer.failed().borrow().is_none());
}
