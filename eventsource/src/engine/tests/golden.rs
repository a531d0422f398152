//! `docs/STORAGE.md`, "An event stream", against the code: each row of its table of bytes is what the code writes, and is
//! read back.

use crate::cursors::{Cursors, PendingCursors, decode_updates, encode_updates};
use crate::producers::{Opening, Producers, Remembered};
use crate::{Cursor, CursorUpdate, EventBatch, EventBatchBuilder, NewEvent};

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

#[test]
fn events_are_as_on_the_page() {
    let headers = sinew_session::Headers::default().with("a", "b").expect("a header");
    let subject = sinew_session::Subject::try_from("x.y").expect("a subject");
    let mut builder = EventBatchBuilder::default();
    builder.push(&NewEvent::new("hi").subject(subject).key("k").headers(headers)).expect("small");
    builder.push(&NewEvent::tombstone("k")).expect("small");
    let batch = builder.finish();
    check("events", batch.body());
    assert_eq!(EventBatch::parse(on_the_page("events").into()).expect("two events"), batch);
}

#[test]
fn producers_are_as_on_the_page() {
    let mut producers = Producers::new(10);
    let (opening, _, _) = producers.open("p", 7);
    check("opening", &sinew_session::to_cbor(&opening));
    assert_eq!(sinew_session::from_cbor::<Opening>(&on_the_page("opening")).expect("an opening"), opening);
    producers.store(7, Remembered { sequence: 0, count: 2, first: 5, timestamp: 9 });
    check("producers", &producers.snapshot());
    let restored = Producers::restore(&on_the_page("producers"), 10).expect("a table");
    assert_eq!(restored.snapshot(), producers.snapshot());
}

#[test]
fn cursors_are_as_on_the_page() {
    let cursor = Cursor { offset: 5, above: vec![(7, 9)], state: vec![1, 2] };
    let updates =
        vec![CursorUpdate { name: "a".into(), cursor: Some(cursor) }, CursorUpdate { name: "b".into(), cursor: None }];
    check("updates", &encode_updates(&updates));
    assert_eq!(decode_updates(&on_the_page("updates")).expect("updates"), updates);
    let (mut cursors, mut pending) = (Cursors::default(), PendingCursors::default());
    cursors.judge("s", &mut pending, updates).expect("these can be stored");
    cursors.apply(pending.into_updates());
    check("cursors", &cursors.snapshot());
    assert_eq!(Cursors::restore(&on_the_page("cursors")).expect("a table").snapshot(), cursors.snapshot());
}

#[test]
fn a_configuration_is_as_on_the_page() {
    let config = crate::StreamConfig::default();
    check("configuration", &sinew_session::to_cbor(&config));
    assert_eq!(sinew_session::from_cbor::<crate::StreamConfig>(&on_the_page("configuration")).expect("one"), config);
}
