//! Every head and body through both directions, and what the page says byte by byte.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use sinew_session::{CRITICAL, Error as SessionError, Header, REPLY, encode, from_cbor, to_cbor};

use super::*;
use crate::{
    Action, BucketConfig, Change, Condition, Entry, Error, Expected, Key, Level, Operation as Act, OperationId,
    Removal, Revision, Write, Written,
};

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

fn id() -> OperationId {
    OperationId { client: 0x0102_0304_0506_0708, sequence: 9 }
}

fn entry() -> Entry {
    let (key, value) = (key("lights.hall"), Bytes::from("on"));
    Entry { key, value, revision: 7, created: 5, timestamp: 1_000, expires: Some(2_000) }
}

#[test]
fn key_heads_come_back_as_they_were() {
    let mut head = Vec::new();
    key_head("config", &key("lights.hall"), &mut head);
    let read = KeyHead::read(&head).unwrap();
    assert_eq!((read.bucket, read.name, read.tail), ("config", "config.lights.hall", &[][..]));
    assert_eq!(&head[read.key.0..read.key.1], b"lights.hall");
    assert_eq!(KeyHead::read(&[&head[..], b"later"].concat()).map(|read| read.tail), Some(&b"later"[..]));
    for cut in 0..head.len() {
        assert_eq!(KeyHead::read(&head[..cut]), None, "{cut} bytes of a head");
    }
    head[8] = b'x';
    assert_eq!(KeyHead::read(&head), None, "no dot between bucket and key");
}

#[test]
fn put_heads_come_back_as_they_were() {
    let key = key("lights.hall");
    for (required, expected, time_to_live) in [
        (None, None, None),
        (Some(Level::Fsynced), Some(Expected::Absent), None),
        (None, Some(Expected::Present), Some(Duration::ZERO)),
        (Some(Level::Memory), Some(Expected::Revision(7)), Some(Duration::from_secs(60))),
    ] {
        let write = WriteHead { required, id: id() };
        let head = put_head("config", &key, &write, expected, time_to_live);
        for bytes in [head.clone(), [&head[..], b"later"].concat()] {
            let read = read_put(&bytes).unwrap();
            assert_eq!((read.write, read.expected, read.time_to_live), (write, expected, time_to_live));
        }
        for cut in 0..head.len() {
            assert_eq!(read_put(&head[..cut]), None, "{cut} bytes of a head");
        }
    }
    let life = put_head("b", &key, &WriteHead { required: None, id: id() }, None, Some(Duration::MAX));
    assert_eq!(read_put(&life).unwrap().time_to_live, Some(Duration::from_nanos(u64::MAX)), "584 years are enough");
}

fn write() -> Write {
    let condition = |text, expected| Condition { key: key(text), expected };
    let action = |text, operation| Action { key: key(text), operation };
    Write {
        id: Some(id()),
        conditions: vec![
            condition("a", Expected::Absent),
            condition("b", Expected::Present),
            condition("c", Expected::Revision(7)),
        ],
        actions: vec![
            action("d", Act::Put { value: "on".into(), time_to_live: None }),
            action("e", Act::Put { value: Bytes::new(), time_to_live: Some(Duration::from_secs(1)) }),
            action("f", Act::Delete),
            action("g", Act::Purge),
            action("h", Act::Add(-3)),
        ],
    }
}

#[test]
fn writes_come_back_as_they_were_and_not_when_they_are_cut() {
    let head = WriteHead { required: Some(Level::Written), id: id() }.whole("config");
    let body = write_body(&write());
    let (bucket, required, read) = read_write(&head, &body).unwrap().unwrap();
    assert_eq!((bucket, required, read), ("config", Some(Level::Written), write()));
    for cut in 0..body.len() {
        assert!(read_write(&head, &body.slice(..cut)).is_none(), "{cut} bytes of a body");
    }
    for cut in 0..head.len() {
        assert!(read_write(&head[..cut], &body).is_none(), "{cut} bytes of a head");
    }
    let longer = [&body[..], b"x"].concat().into();
    assert!(read_write(&head, &longer).is_none(), "something follows it");
    let many = [&1_000_u16.to_le_bytes()[..], &25_u16.to_le_bytes()].concat().into();
    assert!(matches!(read_write(&head, &many), Some(Err(Error::Invalid { .. }))), "refused by its counts alone");
    let odd = [&0_u16.to_le_bytes()[..], &1_u16.to_le_bytes(), b"\x01$\x02"].concat().into();
    assert!(matches!(read_write(&head, &odd), Some(Err(Error::ReservedKey { .. }))));
}

#[test]
fn answers_to_writes_come_back_as_they_were() {
    for level in [Level::Memory, Level::Written, Level::Fsynced, Level::Replicated] {
        let duplicate = level == Level::Written;
        let written =
            Written { revisions: vec![5, 0, 6], counters: vec![-1, i64::MAX], timestamp: 9, level, duplicate };
        let mut head = vec![1, 2, 3];
        written_head(&written, &mut head);
        assert_eq!(read_written(&head), Some(written));
        for cut in 0..head.len() {
            assert_eq!(read_written(&head[..cut]), None, "{cut} bytes of a head");
        }
    }
}

#[test]
fn pages_are_taken_apart_frame_by_frame() {
    let (one, other) = (entry(), Entry { key: key("x"), value: Bytes::new(), expires: None, ..entry() });
    let mut page = BytesMut::new();
    entry_frame(&one, &mut page);
    entry_frame(&other, &mut page);
    let mut rest = page.freeze();
    assert_eq!((take_entry(&mut rest), take_entry(&mut rest), rest.len()), (Some(one.clone()), Some(other), 0));
    let mut page = BytesMut::new();
    value_frame(None, &mut page);
    value_frame(Some(&one), &mut page);
    let mut rest = page.freeze();
    let (head, value) = take_value(&mut rest).unwrap();
    assert_eq!(head.entry(key("none"), value), None);
    let (head, value) = take_value(&mut rest).unwrap();
    assert_eq!(head.entry(one.key.clone(), value), Some(one));
    let keys = [key("a"), key("b.c")];
    assert_eq!(read_keys(&keys_body(&keys), 2).unwrap().unwrap(), keys);
    assert!(read_keys(&keys_body(&keys), 1).is_none() && read_keys(&keys_body(&keys), 3).is_none());
    assert_eq!(read_many_head(&many_head("config", 1_024)), Some(("config", 1_024)));
}

fn changes() -> [Revision; 4] {
    let revision = |change| Revision { key: key("lights.hall"), revision: 7, timestamp: 1_000, change };
    [
        revision(Change::Put { value: "on".into(), created: 5, expires: None }),
        revision(Change::Gone(Removal::Deleted)),
        revision(Change::Gone(Removal::Purged)),
        revision(Change::Gone(Removal::Expired)),
    ]
}

#[test]
fn changes_and_marks_come_back_as_they_were() {
    for change in changes() {
        let value = match &change.change {
            Change::Put { value, .. } => value.clone(),
            Change::Gone(_) => Bytes::new(),
        };
        for of_snapshot in [false, true] {
            let head = change_head(&change, of_snapshot);
            assert_eq!(head.len(), CHANGE_KEY_AT);
            let read = read_change(&head, change.key.clone(), value.clone());
            assert_eq!(read, Some((change.clone(), of_snapshot)));
        }
        let mut page = BytesMut::new();
        change_frame(&change, &mut page);
        let mut rest = page.freeze();
        assert_eq!((take_change(&mut rest, &change.key), rest.len()), (Some(change), 0));
    }
    for (caught_up, whole, after) in [(true, false, ""), (false, true, "a.b"), (false, false, "c")] {
        let mark = Mark { revision: 7, caught_up, whole, after };
        let head = [&mark.encode()[..], after.as_bytes()].concat();
        assert_eq!(Mark::read(&head), Some(mark));
    }
    let grant = Grant { bytes: 7, standing: 2 };
    assert_eq!(Grant::read(&grant.encode()), Some(grant));
    let page = PageHead { revision: 7, more: true };
    assert_eq!(PageHead::read(&page.encode()), Some(page));
}

#[track_caller]
fn check<T: Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T) {
    assert_eq!(&from_cbor::<T>(&to_cbor(value)).unwrap(), value);
}

fn watch() -> WatchAsk {
    WatchAsk {
        bucket: "config".into(),
        pattern: "lights.>".into(),
        from: Begin::Revision(7),
        window_bytes: 1 << 20,
        used_bytes: 0,
        standing: 0,
        keys_only: false,
    }
}

#[test]
fn requests_and_answers_come_back_as_they_were() {
    let range = Range { prefix: "a".into(), from: Some("b".into()), after: Some("c".into()), to: Some("d".into()) };
    for (range, keys_only) in [(Range::default(), false), (range, true)] {
        check(&ScanAsk { bucket: "b".into(), range, bytes_max: 1, items_max: 2, keys_only });
    }
    check(&HistoryAsk { bucket: "b".into(), key: "k".into(), from: 3 });
    for from in [Begin::Snapshot, Begin::Now, Begin::Revision(7), Begin::Within("k".into(), 9)] {
        check(&WatchAsk { from, keys_only: true, standing: 4, ..watch() });
    }
    check(&Watched { revision: 3, window_bytes: 4 });
    check(&Unwatch { number: 5 });
    for act in [
        BucketAct::Create(BucketConfig::default()),
        BucketAct::Alter(BucketConfig { time_to_live: Some(Duration::from_secs(1)), ..BucketConfig::default() }),
        BucketAct::Delete,
        BucketAct::Info,
    ] {
        check(&BucketAsk { bucket: "b".into(), act });
    }
    check(&List { after: Some("a".into()) });
    check(&Names { names: vec!["a".into()], after: Some("a".into()) });
    for act in
        [MaintainAct::Verify, MaintainAct::Compact, MaintainAct::Backup("/b".into()), MaintainAct::Restore("/b".into())]
    {
        check(&Maintain { bucket: "b".into(), act });
    }
}

#[test]
fn errors_come_back_as_the_engine_found_them() {
    let bucket = || "config".to_owned();
    let errors = [
        Error::UnknownBucket { bucket: bucket() },
        Error::BucketExists { bucket: bucket() },
        Error::Config { bucket: bucket(), field: "history".into(), value: "0".into(), why: "too few".into() },
        Error::Conflict {
            bucket: bucket(),
            key: "a".into(),
            found: "`a` has revision 7".into(),
            expected: "revision 5".into(),
            revision: 7,
        },
        Error::Invalid { bucket: bucket(), why: "nothing to do".into() },
        Error::NotACounter { bucket: bucket(), key: "a".into(), why: "it is text".into() },
        Error::TooLarge { bucket: bucket(), what: "a value".into(), bytes: 9, max: 8, advice: "cut it".into() },
        Error::Full { bucket: bucket(), what: "its limit of keys".into(), max: 3 },
        Error::Compacted { bucket: bucket(), requested: 1, first: u64::MAX },
        Error::Busy { bucket: bucket(), bytes: 9 },
        Error::NoSpace { bucket: bucket() },
        Error::Storage { bucket: bucket(), why: "the disk".into() },
        Error::Backup { path: "/b".into(), why: "is none".into() },
        Error::Unsupported { bucket: bucket(), what: "verify" },
        Error::Ended { bucket: bucket() },
        Error::LevelUnmet { bucket: bucket(), required: Level::Fsynced, level: Level::Memory },
        Error::Limit { reason: "too many".into() },
        Error::Denied { reason: "a rule".into() },
    ];
    for error in errors {
        let failure = from_cbor(&to_cbor(&failure_of(&error))).unwrap();
        let read = error_of(SessionError::Failed(failure));
        assert_eq!(format!("{read:?}"), format!("{error:?}"));
    }
    let odd = error_of(SessionError::Failed(sinew_session::Failure::new("compacted", "without its numbers")));
    assert!(matches!(odd, Error::Session(SessionError::Failed(_))), "{odd:?}");
}

/// The bytes of the vector `name` in `docs/WIRE.md`.
fn vector(name: &str) -> Vec<u8> {
    let page = include_str!("../../../docs/WIRE.md");
    let (_, rest) = page.split_once(&format!("```vector {name}\n")).expect("the page has this vector");
    let digits: Vec<u8> = rest.bytes().take_while(|byte| *byte != b'`').filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[track_caller]
fn as_the_page_says(name: &str, bytes: &[u8]) {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(bytes, vector(name), "{name} is {hex}");
}

#[test]
fn everything_is_as_the_page_says() {
    let head = |verb, flags, call| Header { service: SERVICE, verb, flags, call };
    let key = key("lights.hall");
    let mut get = Vec::new();
    key_head("config", &key, &mut get);
    as_the_page_says("kv-get", &encode(head(verb::GET, CRITICAL, 9), &get, b""));
    let got = EntryHead::of(Some(&entry())).encode();
    as_the_page_says("kv-got", &encode(head(verb::GET, REPLY, 9), &got, b"on"));
    let many = many_head("config", 2);
    let keys = keys_body(&[key.clone(), self::key("x")]);
    as_the_page_says("kv-get-many", &encode(head(verb::GET_MANY, CRITICAL, 9), &many, &keys));
    let write_head = WriteHead { required: Some(Level::Fsynced), id: id() };
    let put = put_head("config", &key, &write_head, Some(Expected::Revision(7)), Some(Duration::from_secs(60)));
    as_the_page_says("kv-put", &encode(head(verb::PUT, CRITICAL, 10), &put, b"on"));
    let mut answer = Vec::new();
    let (revisions, counters) = (vec![8], Vec::new());
    written_head(
        &Written { revisions, counters, timestamp: 1_000, level: Level::Fsynced, duplicate: false },
        &mut answer,
    );
    as_the_page_says("kv-written", &encode(head(verb::PUT, REPLY, 10), &answer, b""));
    let whole = write_head.whole("config");
    as_the_page_says("kv-write", &encode(head(verb::WRITE, CRITICAL, 11), &whole, &write_body(&write())));
    as_the_page_says("kv-watch", &to_cbor(&watch()));
    let [change, ..] = changes();
    let told = [&change_head(&change, false)[..], change.key.as_bytes()].concat();
    as_the_page_says("kv-change", &encode(head(verb::CHANGE, 0, 7), &told, b"on"));
    let mark = Mark { revision: 7, caught_up: true, whole: false, after: "" };
    as_the_page_says("kv-mark", &encode(head(verb::MARK, 0, 7), &mark.encode(), b""));
    let scan = ScanAsk {
        bucket: "config".into(),
        range: Range::default(),
        bytes_max: 1 << 20,
        items_max: 100,
        keys_only: false,
    };
    as_the_page_says("kv-scan", &to_cbor(&scan));
    let create = BucketAsk { bucket: "config".into(), act: BucketAct::Create(BucketConfig::default()) };
    as_the_page_says("kv-create", &to_cbor(&create));
    let compacted = Error::Compacted { bucket: "config".into(), requested: 1, first: 5 };
    as_the_page_says("kv-failure", &to_cbor(&failure_of(&compacted)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]
    #[test]
    fn random_bytes_never_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..100), count in 0_usize..2_000) {
        let _ = (KeyHead::read(&bytes), read_put(&bytes), read_many_head(&bytes), EntryHead::read(&bytes));
        let _ = (PageHead::read(&bytes), Mark::read(&bytes), Grant::read(&bytes), read_written(&bytes));
        let _ = (from_cbor::<WatchAsk>(&bytes), from_cbor::<ScanAsk>(&bytes), from_cbor::<BucketAsk>(&bytes));
        let body = Bytes::from(bytes);
        let _ = (read_keys(&body, count), read_write(b"\x01b\x00\x01\x02\x03\x04\x05\x06\x07\x08\x01\x02\x03\x04\x05\x06\x07\x08", &body));
        let mut page = body.clone();
        while take_entry(&mut page).is_some() {}
        let mut page = body.clone();
        while take_change(&mut page, &key("k")).is_some() {}
        let _ = read_change(&body, key("k"), body.clone());
    }
}
