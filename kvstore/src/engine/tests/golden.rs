//! `docs/STORAGE.md`, "A bucket", against the code: each row of its table of bytes is what the code writes, and is read
//! back.

use super::super::codec::{groups, nothing, put_group};
use super::super::folder::Identity;
use super::super::row::{self, Meta};
use super::*;
use crate::table::{Counts, Deadline, Group, Live, Operations, Record, Remembered, Stored, Value};
use crate::{Change, OperationId, Removal};

/// The bytes that the page gives under a name.
fn on_the_page(name: &str) -> Vec<u8> {
    let page = include_str!("../../../../docs/STORAGE.md");
    let row = page.lines().find_map(|line| line.strip_prefix(&format!("| {name} | `"))?.strip_suffix("` |"));
    let digits = row.unwrap_or_else(|| panic!("there is no row `{name}`")).replace(' ', "");
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).expect("two digits");
    (0..digits.len()).step_by(2).map(byte).collect()
}

#[track_caller]
fn check(name: &str, bytes: &[u8]) {
    let written: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(on_the_page(name), bytes, "{name}: {}", written.join(" "));
}

fn record(revision: u64, of: &str, change: Change, counter: Option<i64>) -> Record {
    Record { revision, key: key(of), change, counter }
}

#[test]
fn changes_are_as_on_the_page() {
    let put = |value: &str, created, expires| Change::Put { value: value.to_owned().into(), created, expires };
    let expired = Group { id: None, records: vec![record(300, "x.y", Change::Gone(Removal::Expired), None)] };
    let id = Some(OperationId { client: 7, sequence: 200 });
    let records = vec![
        record(301, "a", put("hi", 301, Some(9)), None),
        nothing(),
        record(302, "n", put("-12", 5, None), Some(-12)),
    ];
    let all = [expired, Group { id, records }];
    let mut bytes = Vec::new();
    all.iter().for_each(|group| put_group(&mut bytes, 299, group));
    check("changes", &bytes);
    assert_eq!(groups(on_the_page("changes").into(), 299).expect("two groups"), all);
    let removals = [Removal::Deleted, Removal::Purged].into_iter().zip(1..);
    let records = removals.map(|(removal, revision)| record(revision, "a", Change::Gone(removal), None)).collect();
    let mut bytes = Vec::new();
    put_group(&mut bytes, 0, &Group { id: None, records });
    check("removals", &bytes);
}

#[test]
fn rows_are_as_on_the_page() {
    let expires = Some(Deadline { wall: 9, steady: u64::MAX });
    let live = |value, expires| Some(Live { created: 298, expires, value });
    let stored = |live, earlier| Stored { revision: 300, timestamp: 5, live, earlier };
    let small = stored(live(Value::Here("hi".into()), expires), vec![298, 299]);
    let large = stored(live(Value::Journal(200), None), vec![]);
    let gone = stored(None, vec![298]);
    for (name, of) in [("small", small), ("large", large), ("gone", gone)] {
        check(name, &row::encode(&of));
        assert_eq!(row::decode(on_the_page(name).into()).expect("a row"), of, "{name}");
    }
    let meta = Meta { incarnation: 7, revision: 300, counts: Counts { keys: 2, bytes: 205 }, expiring: 1 };
    check("meta", &meta.encode());
    assert_eq!(Meta::decode(on_the_page("meta").into()), Some(meta));
}

#[test]
fn operations_are_as_on_the_page() {
    let mut operations = Operations::default();
    let records = [record(301, "a", Change::Gone(Removal::Deleted), None), nothing()];
    operations.remember(OperationId { client: 7, sequence: 200 }, Remembered::new(&records, 5));
    check("operations", &operations.snapshot());
    let restored = Operations::restore(&on_the_page("operations")).expect("one client");
    assert_eq!(restored.snapshot(), operations.snapshot());
}

#[test]
fn a_bucket_s_file_is_as_on_the_page() {
    let identity = Identity { incarnation: 7, config: BucketConfig::default() };
    check("bucket", &sinew_session::to_cbor(&identity));
    assert_eq!(sinew_session::from_cbor::<Identity>(&on_the_page("bucket")).expect("one"), identity);
    check("mark", &super::super::tables::marked("b", true));
}
