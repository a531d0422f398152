//! `docs/STORAGE.md` against the code: the files in `tests/golden/` are what version 1 writes, and they are read here by
//! the numbers on that page. `SINEW_GOLDEN=write` writes them anew; then the page changes in the same commit.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sinew_journal::{DataDirectory, Disk, Journal, JournalOptions, PreparedBatch, Rewritten, SimulatedDisk};

const FILES: &[&str] = &[
    "FORMAT",
    "orders/00000000000000000000.index",
    "orders/00000000000000000000.segment",
    "orders/00000000000000000010.segment",
    "orders/clean",
    "orders/snapshot-00000000000000000010",
];

fn options() -> JournalOptions {
    JournalOptions { segment_bytes: 1_024, index_interval_bytes: 150, ..JournalOptions::default() }
}

/// A small journal of everything: a rewritten segment with its index, one that was written to, a snapshot, a close.
fn written() -> SimulatedDisk {
    let disk = SimulatedDisk::new(7);
    let data = DataDirectory::open(Arc::new(disk.clone()), "/data").expect("opened");
    let (mut journal, _) = Journal::open(data.files().clone(), "/data/orders", options()).expect("opened");
    for number in 0..5_u64 {
        let batch = PreparedBatch::new(format!("order {number}"), 2, 2).expect("small enough");
        let batch = batch.kind(3).codec(1).producer(0x0102_0304_0506_0708, 9, number);
        journal.commit(&mut [batch], 1_700_000_000_000_000_000 + number).expect("committed");
    }
    journal.roll().expect("rolled");
    let sealed = journal.segments()[0];
    let mut decide = |batch: &sinew_journal::BatchView| match batch.header.base_offset {
        4 => Rewritten::Drop,
        _ => Rewritten::Keep,
    };
    let prepared = journal.reader().prepare_rewrite(&[sealed], &mut decide).expect("prepared");
    journal.install(prepared).expect("installed");
    journal.save_snapshot(10, b"ten orders").expect("saved");
    let last = PreparedBatch::new("order 5", 1, 1).expect("small enough");
    journal.commit(&mut [last], 1_700_000_000_000_000_009).expect("committed");
    journal.close().expect("closed");
    disk
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

#[test]
fn what_is_written_is_what_version_1_wrote() {
    let disk = written();
    for name in FILES {
        let bytes = disk.contents(&Path::new("/data").join(name)).unwrap_or_else(|| panic!("{name} is not there"));
        if std::env::var_os("SINEW_GOLDEN").is_some_and(|what| what == "write") {
            let path = golden(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(path, &bytes).expect("written");
        }
        let expected = std::fs::read(golden(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(bytes == expected, "{name} is written otherwise: this is a new version of the format");
    }
    assert_eq!(disk.files().len(), FILES.len(), "{:?}", disk.files());
}

#[test]
fn what_version_1_wrote_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("orders")).expect("made");
    for name in FILES {
        std::fs::copy(golden(name), folder.path().join(name)).expect("copied");
    }
    let data = DataDirectory::open(Arc::new(Disk), folder.path()).expect("opened");
    let path = data.path().join("orders");
    let (journal, recovery) = Journal::open(data.files().clone(), path, options()).expect("opened");
    assert!(recovery.is_clean && recovery.damaged.is_empty() && recovery.indexes_rebuilt == 0, "{recovery:?}");
    let batches = journal.reader().read(0, 10_000).expect("readable");
    let found: Vec<_> = batches.iter().map(|batch| (batch.header.base_offset, batch.body.to_vec())).collect();
    let expected =
        [(0, 0), (2, 1), (6, 3), (8, 4)].map(|(base, number)| (base, format!("order {number}").into_bytes()));
    assert_eq!(found, expected);
    let last = journal.reader().read(10, 10_000).expect("readable");
    assert_eq!((last.len(), &last[0].body[..]), (1, b"order 5".as_slice()));
    let snapshot = journal.latest_snapshot().expect("read").expect("one");
    assert_eq!((snapshot.0, &snapshot.1[..]), (10, b"ten orders".as_slice()));
}

/// A file by the numbers of the page.
struct Bytes(Vec<u8>);

impl Bytes {
    fn of(name: &str) -> Self {
        Self(std::fs::read(golden(name)).expect("a golden file"))
    }

    fn number(&self, at: usize, bytes: usize) -> u64 {
        self.0[at..at + bytes].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    fn crc(&self, from: usize, to: usize) -> u64 {
        crc32c::crc32c(&self.0[from..to]).into()
    }
}

#[test]
fn the_page_s_numbers_lead_to_the_fields() {
    let whole = Bytes::of("FORMAT");
    assert_eq!(&whole.0[..8], b"SINEWHOL");
    assert_eq!((whole.number(8, 4), whole.number(12, 4), whole.number(16, 8)), (1, 0, 4));
    assert_eq!((whole.number(24, 4), whole.number(28, 4)), (whole.crc(32, 36), whole.crc(0, 28)));
    assert_eq!(whole.number(32, 4), 1);

    let segment = Bytes::of("orders/00000000000000000000.segment");
    assert_eq!(&segment.0[..8], b"SINEWSEG");
    assert_eq!((segment.number(8, 4), segment.number(24, 8), segment.number(32, 8)), (1, 0, 10));
    assert_eq!((segment.number(12, 4), segment.number(60, 4)), (0, segment.crc(0, 60)));
    assert!(segment.0[48..60].iter().all(|byte| *byte == 0));
    let second = 64 + 80 + 7;
    assert_eq!(segment.0[second..second + 4], [0x9e, 0x53, 0x4a, 0x42]);
    let field = |at, bytes| segment.number(second + at, bytes);
    let place = (second as u64).to_le_bytes();
    assert_eq!(field(4, 4), crc32c::crc32c(&[&segment.0[second + 8..second + 80], &place].concat()).into());
    assert_eq!((field(8, 4), field(12, 4)), (7, segment.crc(second + 80, second + 87)));
    assert_eq!((field(16, 8), field(24, 4), field(28, 4)), (2, 2, 2));
    assert_eq!(field(32, 8), 1_700_000_000_000_000_001);
    assert_eq!((field(40, 8), field(48, 4)), (0x0102_0304_0506_0708, 9));
    assert_eq!((field(52, 2), field(54, 2), field(56, 8)), (3, 1, 1));
    assert_eq!((field(64, 8), field(72, 8)), (segment.number(16, 8), second as u64));
    assert_eq!(&segment.0[second + 80..second + 87], b"order 1");
    assert_eq!(segment.0.len(), 64 + 4 * 87, "it is cut to its data");

    let index = Bytes::of("orders/00000000000000000000.index");
    assert_eq!(&index.0[..8], b"SINEWIDX");
    assert_eq!((index.number(8, 4), index.number(12, 4), index.number(16, 8)), (1, 150, segment.number(16, 8)));
    assert_eq!((index.number(24, 8), index.number(32, 8)), (segment.0.len() as u64, 10));
    assert_eq!(index.number(40, 8), 1_700_000_000_000_000_000);
    assert_eq!((index.number(48, 8), index.number(56, 8)), (1_700_000_000_000_000_004, 8));
    assert_eq!((index.number(64, 8), index.0.len()), (2, 88 + 2 * 16));
    assert_eq!((index.number(72, 4), index.number(76, 8)), (index.crc(88, index.0.len()), 0));
    assert_eq!(index.number(84, 4), index.crc(0, 84));
    let entry = (index.number(104, 4), index.number(108, 4), index.number(112, 8));
    assert_eq!(entry, (6, 64 + 2 * 87, 1_700_000_000_000_000_003));

    let clean = Bytes::of("orders/clean");
    let last = Bytes::of("orders/00000000000000000010.segment");
    assert_eq!(clean.number(32, 8), last.number(16, 8));
    assert_eq!((clean.number(40, 8), clean.number(48, 8)), (64 + 87, 11));
    assert_eq!(clean.number(56, 8), 1_700_000_000_000_000_009);
    assert!(last.0[64 + 87..].iter().all(|byte| *byte == 0));
}
