//! Files as sink and source: what is written comes back, from any place, and a file that ends anywhere is mended.

use std::io::Read;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::sink::FileSink;
use crate::format::Lines;
use crate::{Address, Batch, BatchLimits, Context, Error, Item, Lost, Mark, Position, Result, Sink, Source, Standing};

const KINDS: [&str; 2] = ["events.jsonl", "events.jsonl.gz"];

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(future)
}

fn item(number: u64) -> Item {
    let payload = format!("{number}-{}", "x".repeat(number as usize % 7));
    Item { offset: Some(number), timestamp: Some(number * 1_000), ..Item::new(payload) }
}

fn items(numbers: std::ops::Range<u64>) -> Vec<Item> {
    numbers.map(item).collect()
}

fn batch(items: Vec<Item>) -> Batch {
    Batch { items, ..Batch::default() }
}

/// Opens the file and appends these, one confirmed batch after the other.
async fn append(path: &Path, batches: &[Vec<Item>]) -> Result<Standing> {
    let mut sink = FileSink::new(path, Lines::default());
    let standing = sink.standing().await?;
    for items in batches {
        sink.write(&batch(items.clone())).await?;
        sink.flush().await?;
    }
    Ok(standing)
}

fn source(path: &Path, options: &str) -> Box<dyn Source> {
    let address: Address = format!("file:{}{options}", path.display()).parse().unwrap();
    super::source::make(&address, &Context::default()).unwrap()
}

/// Everything that the file gives, from where `standing` says.
async fn read_from(path: &Path, standing: &Standing) -> Result<(Vec<Item>, Vec<String>)> {
    let (mut items, mut notices) = (Vec::new(), Vec::new());
    let mut source = source(path, "");
    source.start(standing).await?;
    while let Some(batch) = source.next(BatchLimits::default()).await? {
        items.extend(batch.items);
        notices.extend(batch.notice);
    }
    Ok((items, notices))
}

async fn read(path: &Path) -> (Vec<Item>, Vec<String>) {
    read_from(path, &Standing::default()).await.unwrap()
}

fn any_gzip_tool_reads(path: &Path) {
    let mut text = String::new();
    let file = std::fs::File::open(path).unwrap();
    flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// A file of three batches, its bytes, and where each batch ends.
async fn three_batches(path: &Path) -> (Vec<u8>, [usize; 3]) {
    let mut ends = [0; 3];
    for (end, numbers) in ends.iter_mut().zip([0..5, 5..9, 9..14]) {
        append(path, &[items(numbers)]).await.unwrap();
        *end = std::fs::metadata(path).unwrap().len() as usize;
    }
    (std::fs::read(path).unwrap(), ends)
}

#[test]
fn a_file_that_ends_at_any_byte_gives_its_whole_records_and_is_mended_by_who_appends() {
    run(async {
        for kind in KINDS {
            let folder = Folder::new();
            let (bytes, ends) = three_batches(&folder.path(kind)).await;
            let path = folder.path(&format!("cut-{kind}"));
            for cut in 0..=bytes.len() {
                std::fs::write(&path, &bytes[..cut]).unwrap();
                let (whole, notices) = read(&path).await;
                assert_eq!(whole, items(0..whole.len() as u64), "{kind} cut at {cut}");
                // Batches that were there to their end are there, whatever comes behind.
                let confirmed =
                    [5, 9, 14].into_iter().zip(ends).filter(|(_, end)| *end <= cut).map(|(count, _)| count).max();
                assert!(whole.len() as u64 >= confirmed.unwrap_or(0), "{kind} cut at {cut}");
                let standing = append(&path, &[items(100..103)]).await.unwrap();
                let kept = standing.last_offset.map_or(0, |last| last + 1);
                assert_eq!(kept, whole.len() as u64, "{kind} cut at {cut}");
                let at_an_end = cut == 0 || ends.contains(&cut);
                assert_eq!(
                    (standing.notice.is_none(), notices.is_empty()),
                    (
                        at_an_end || whole_but_line_feed(kind, &bytes, cut),
                        at_an_end || whole_but_line_feed(kind, &bytes, cut)
                    ),
                    "{kind} cut at {cut}: {notices:?}"
                );
                let (all, notices) = read(&path).await;
                let expected: Vec<_> = items(0..kept).into_iter().chain(items(100..103)).collect();
                assert_eq!((all, notices), (expected, Vec::new()), "{kind} cut at {cut}");
                if kind.ends_with("gz") {
                    any_gzip_tool_reads(&path);
                }
                assert!(!folder.path(&format!("cut-{kind}.mending")).exists());
            }
        }
    });
}

/// A plain file that ends behind a line or just before its line feed has no half record.
fn whole_but_line_feed(kind: &str, bytes: &[u8], cut: usize) -> bool {
    !kind.ends_with("gz") && (bytes.get(cut) == Some(&b'\n') || cut == 0 || bytes[cut - 1] == b'\n')
}

#[test]
fn the_notice_says_where() {
    run(async {
        let folder = Folder::new();
        let path = folder.path(KINDS[0]);
        std::fs::write(&path, "{\"payload\":\"a\"}\n{\"pay").unwrap();
        let expected = format!("{} ends within a record: the 5 bytes from byte 16 on are left out", path.display());
        assert_eq!(read(&path).await.1, [expected]);
        let standing = append(&path, &[]).await.unwrap();
        let expected = format!("{} ended within a record: the 5 bytes from byte 16 on were cut off", path.display());
        assert_eq!(standing.notice, Some(expected));

        let path = folder.path(KINDS[1]);
        let (bytes, ends) = three_batches(&path).await;
        std::fs::write(&path, &bytes[..ends[1] + 40]).unwrap();
        let expected = format!(
            "{} is cut within the gzip member at byte {}, 40 bytes before its end: whole lines of it were read",
            path.display(),
            ends[1]
        );
        assert_eq!(read(&path).await.1, [expected]);
    });
}

#[test]
fn a_mending_that_was_interrupted_is_taken_up_again() {
    run(async {
        let folder = Folder::new();
        let path = folder.path(KINDS[1]);
        let (bytes, ends) = three_batches(&path).await;
        // What was saved of the third member, which then was cut off, in part or in whole.
        let mut saved = (ends[1] as u64).to_le_bytes().to_vec();
        saved.extend(&bytes[ends[1]..]);
        for cut in ends[1]..=bytes.len() {
            std::fs::write(&path, &bytes[..cut]).unwrap();
            std::fs::write(folder.path("events.jsonl.gz.mending"), &saved).unwrap();
            assert_eq!(append(&path, &[items(14..15)]).await.unwrap().last_offset, Some(13));
            assert_eq!(read(&path).await, (items(0..15), Vec::new()));
        }
    });
}

#[test]
fn every_position_is_a_place_to_go_on() {
    run(async {
        for kind in KINDS {
            let folder = Folder::new();
            let path = folder.path(kind);
            three_batches(&path).await;
            let mut reading = source(&path, "");
            reading.start(&Standing::default()).await.unwrap();
            let mut read = 0;
            while let Some(batch) = reading.next(BatchLimits { items_max: 1, bytes_max: usize::MAX }).await.unwrap() {
                read += batch.items.len() as u64;
                for (count, ahead) in [(None, 0), (Some(read + 2), 0), (None, 2), (Some(read + 2), 1)] {
                    let mark = Mark { count: read, position: batch.position.clone(), ahead, ..Mark::default() };
                    let standing = Standing { count, mark: Some(mark), ..Standing::default() };
                    let skip = count.map_or(0, |count| count - read) + ahead;
                    let rest = read_from(&path, &standing).await;
                    if read + skip <= 14 {
                        assert_eq!(rest.unwrap().0, items(read + skip..14), "{kind} {:?} {standing:?}", batch.position);
                    } else {
                        assert!(matches!(rest, Err(Error::Shrunk { .. })), "{kind} {standing:?}");
                    }
                }
            }
            assert_eq!(read, 14);
            let last = Standing { last_offset: Some(7), ..Standing::default() };
            assert_eq!(read_from(&path, &last).await.unwrap().0, items(8..14));
            let count = Standing { count: Some(6), ..Standing::default() };
            assert_eq!(read_from(&path, &count).await.unwrap().0, items(6..14));
        }
    });
}

#[test]
fn a_position_of_another_file_is_refused() {
    run(async {
        for kind in KINDS {
            let folder = Folder::new();
            let path = folder.path(kind);
            append(&path, &[items(0..1)]).await.unwrap();
            for (position, expected) in
                [("byte 10000", "was replaced or cut"), ("offset 7", "its position is `offset 7`")]
            {
                let mark = Mark { position: Position(position.into()), ..Mark::default() };
                let standing = Standing { mark: Some(mark), ..Standing::default() };
                let error = read_from(&path, &standing).await.unwrap_err().to_string();
                assert!(error.contains(expected), "{error}");
            }
        }
    });
}

#[test]
fn a_file_that_grows_is_followed() {
    run(async {
        for kind in KINDS {
            let folder = Folder::new();
            let path = folder.path(kind);
            append(&path, &[items(0..2)]).await.unwrap();
            let mut following = source(&path, "?follow");
            following.start(&Standing::default()).await.unwrap();
            let mut found = Vec::new();
            for end in 2..6 {
                while found.len() < end {
                    found.extend(following.next(BatchLimits::default()).await.unwrap().unwrap().items);
                }
                append(&path, &[items(end as u64..end as u64 + 1)]).await.unwrap();
            }
            assert_eq!(found, items(0..5));
            std::fs::write(&path, b"").unwrap();
            let mut error = None;
            while error.is_none() {
                error = following.next(BatchLimits::default()).await.err();
            }
            assert!(matches!(error, Some(Error::Shrunk { .. })));
        }
    });
}

#[test]
fn losses_stand_in_their_place_and_a_line_that_is_wrong_is_named() {
    run(async {
        for kind in KINDS {
            let folder = Folder::new();
            let path = folder.path(kind);
            let mut sink = FileSink::new(&path, Lines::default());
            sink.standing().await.unwrap();
            for (lost, numbers) in
                [(None, 0..2), (Some(Lost::Exactly(3)), 2..3), (Some(Lost::Unknown), 3..3), (None, 3..4)]
            {
                sink.write(&Batch { lost, ..batch(items(numbers)) }).await.unwrap();
            }
            sink.flush().await.unwrap();
            let mut reading = source(&path, "");
            reading.start(&Standing::default()).await.unwrap();
            let mut found = Vec::new();
            while let Some(batch) = reading.next(BatchLimits::default()).await.unwrap() {
                found.push((batch.lost, batch.items.len()));
            }
            assert_eq!(found, [(None, 2), (Some(Lost::Exactly(3)), 1), (Some(Lost::Unknown), 1)]);
        }
        let folder = Folder::new();
        let path = folder.path(KINDS[0]);
        std::fs::write(&path, "{\"payload\":\"a\"}\nnonsense\n{\"payload\":\"b\"}\n").unwrap();
        let error = read_from(&path, &Standing::default()).await.unwrap_err().to_string();
        let expected = format!("record 2 of {}, at byte 16: it is no record", path.display());
        assert!(error.starts_with(&expected), "{error}");
    });
}

#[test]
fn nothing_is_appended_to_a_file_of_something_else_or_of_somebody_else() {
    run(async {
        let folder = Folder::new();
        let path = folder.path("notes.txt");
        std::fs::write(&path, "my notes\n").unwrap();
        let error = append(&path, &[]).await.unwrap_err().to_string();
        assert!(error.contains("nothing is appended to a file that ends with something else"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"my notes\n");
        if cfg!(unix) {
            let path = folder.path(KINDS[0]);
            let mut sink = FileSink::new(&path, Lines::default());
            sink.standing().await.unwrap();
            let error = append(&path, &[]).await.unwrap_err();
            assert!(matches!(&error, Error::FileInUse { .. }) && error.is_retryable(), "{error}");
        }
    });
}

#[test]
fn damage_is_told_and_a_damaged_last_member_is_set_aside() {
    run(async {
        let folder = Folder::new();
        let path = folder.path(KINDS[1]);
        let (bytes, ends) = three_batches(&path).await;
        // In the checksum of a member: everything before was decoded, and is wrong somewhere.
        let flipped = |end: usize| {
            let mut bytes = bytes.clone();
            bytes[end - 6] ^= 1;
            bytes
        };
        std::fs::write(&path, flipped(ends[0])).unwrap();
        let error = read_from(&path, &Standing::default()).await.unwrap_err();
        assert!(matches!(error, Error::Damaged { at: 0, .. }), "{error}");
        std::fs::write(&path, flipped(ends[2])).unwrap();
        let standing = append(&path, &[items(9..10)]).await.unwrap();
        assert_eq!(standing.last_offset, Some(8));
        assert!(
            standing.notice.unwrap().contains("is damaged (corrupt gzip stream does not have a matching checksum)")
        );
        let aside = folder.path(&format!("events.jsonl.gz.damaged-{}", ends[1]));
        assert_eq!(std::fs::read(aside).unwrap(), flipped(ends[2])[ends[1]..]);
        assert_eq!(read(&path).await, (items(0..10), Vec::new()));
    });
}

#[test]
fn members_of_others_are_read_and_appended_to() {
    run(async {
        let folder = Folder::new();
        let path = folder.path(KINDS[1]);
        let member = |text: &[u8]| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            std::io::Write::write_all(&mut encoder, text).unwrap();
            encoder.finish().unwrap()
        };
        // A line across two members, and no line feed at the end.
        let line = |number| {
            let mut out = Vec::new();
            crate::record::write_item(&item(number), &mut out);
            out
        };
        let text = [line(0), line(1), line(2)].concat();
        let (first, second) = text[..text.len() - 1].split_at(line(0).len() + 9);
        std::fs::write(&path, [member(first), member(second)].concat()).unwrap();
        assert_eq!(read(&path).await, (items(0..3), Vec::new()));
        assert_eq!(append(&path, &[items(3..5)]).await.unwrap().last_offset, Some(2));
        assert_eq!(read(&path).await, (items(0..5), Vec::new()));
        any_gzip_tool_reads(&path);
    });
}

#[test]
fn raw_lines_are_payloads_both_ways() {
    run(async {
        for kind in KINDS {
            let folder = Folder::new();
            let path = folder.path(kind);
            let address: Address = format!("file:{}?format=raw", path.display()).parse().unwrap();
            let mut sink = super::sink::make(&address, &Context::default()).unwrap();
            sink.standing().await.unwrap();
            sink.write(&batch(vec![Item::new("a"), Item::new(""), Item::new("c")])).await.unwrap();
            sink.flush().await.unwrap();
            let mut reading = source(&path, "?format=raw&subject=s&from=1");
            reading.start(&Standing::default()).await.unwrap();
            let found = reading.next(BatchLimits::default()).await.unwrap().unwrap().items;
            let subject = Some("s".parse().unwrap());
            assert_eq!(found, ["", "c"].map(|text| Item { subject: subject.clone(), ..Item::new(text) }));
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn what_is_written_comes_back(
        batches in proptest::collection::vec(proptest::collection::vec(crate::record::tests::items(), 0..6), 0..5),
        reopen in any::<bool>(),
    ) {
        run(async {
            for kind in KINDS {
                let folder = Folder::new();
                let path = folder.path(kind);
                if reopen {
                    for items in &batches {
                        append(&path, std::slice::from_ref(items)).await.unwrap();
                    }
                } else {
                    append(&path, &batches).await.unwrap();
                }
                append(&path, &[]).await.unwrap();
                assert_eq!(read(&path).await.0, batches.concat());
            }
        });
    }
}
