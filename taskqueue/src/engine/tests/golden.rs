//! `docs/STORAGE.md`, "A task queue", against the code: each row of its table of bytes is what the code writes, and is read
//! back.

use super::super::codec::{Records, put};
use super::*;
use crate::scheduler::{Carried, CarriedState};
use crate::{Backoff, Ending, Outcome};

/// The bytes that the page gives under a name.
fn on_the_page(name: &str) -> Vec<u8> {
    let page = include_str!("../../../../docs/STORAGE.md");
    let row = page.lines().find_map(|line| line.strip_prefix(&format!("| {name} | `"))?.strip_suffix("` |"));
    let digits = row.unwrap_or_else(|| panic!("there is no row `{name}`")).replace(' ', "");
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap_or_default();
    (0..digits.len() / 2).map(|at| byte(at * 2)).collect()
}

#[track_caller]
fn check(name: &str, records: &[Record]) {
    let mut bytes = Vec::new();
    records.iter().for_each(|record| put(&mut bytes, record));
    let written: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(on_the_page(name), bytes, "{name}: {}", written.join(" "));
    let read = Records::of(bytes.into()).collect::<Result<Vec<_>, _>>();
    assert_eq!(read.expect("records"), records, "{name}");
}

fn id(number: u128) -> [u8; 16] {
    number.to_be_bytes()
}

#[test]
fn records_are_as_on_the_page() {
    let (task, worker) = (TaskId::from_bytes(id(7)), WorkerId::from_bytes(id(9)));
    let spec = Spec { id: task, submitted: Moment(5), ..spec(0, "hi", TaskOptions::default()) };
    check("accepted", &[Record::Accepted { spec: Arc::new(spec.clone()), sequence: 3 }]);
    let nanoseconds = |count| Some(Duration::from_nanos(count));
    let options = TaskOptions {
        tags: vec!["gpu".into()],
        priority: 9,
        delay: nanoseconds(1),
        deadline: nanoseconds(2),
        attempts_max: 3,
        backoff: Backoff { first: Duration::from_nanos(4), max: Duration::from_nanos(5) },
        stall_timeout: nanoseconds(6),
        queueing: true,
        detached: true,
        result_kept: nanoseconds(7),
        idempotency_key: Some("k".into()),
        dead_letter: Some(true),
    };
    let told = Spec { options, fingerprint: 8, ..spec.clone() };
    check("accepted, all options", &[Record::Accepted { spec: Arc::new(told), sequence: 3 }]);
    check("begun", &[Record::Begun { task, number: 2, worker, owner: "bob".into(), at: Moment(6) }]);
    check("waits", &[Record::Waits { task, spent: 1, until: Some(Moment(10)) }]);
    let ending = Ending::Failed { worker, attempt: 2, code: "c".into(), message: "m".into() };
    let outcome = Arc::new(Outcome { ending, body: "d".into() });
    check("ended", &[Record::Ended { task, outcome: outcome.clone(), at: Moment(11) }]);
    let short = [Record::Detached { task }, Record::DeadDropped { task }, Record::Released { task }];
    check("detached, dropped, released", &short);
    let state = CarriedState::Begun { worker, owner: "bob".into(), at: Moment(6) };
    let carried = Carried { spec: Arc::new(spec), sequence: 3, number: 2, spent: 2, detached: false, state };
    check("carried", &[Record::Carried(carried.clone())]);
    let state = CarriedState::Dead { outcome, at: Moment(11) };
    check("carried, dead", &[Record::Carried(Carried { state, ..carried })]);
}
