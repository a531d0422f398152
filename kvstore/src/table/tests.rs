//! The rules with a clock and a map in hand.

use std::collections::BTreeMap;

use super::*;
use crate::{Action, BucketLimits};

/// A bucket that is nothing but its rules.
struct Store {
    rules: Table,
    keys: BTreeMap<Key, Stored>,
    expiry: Expiry,
    now: Now,
}

fn key(text: &str) -> Key {
    Key::try_from(text).expect("a key")
}

fn put(text: &str, value: &str) -> Action {
    Action { key: key(text), operation: Operation::Put { value: value.to_owned().into(), time_to_live: None } }
}

fn put_for(text: &str, milliseconds: u64) -> Action {
    let time_to_live = Some(Duration::from_millis(milliseconds));
    Action { key: key(text), operation: Operation::Put { value: "v".into(), time_to_live } }
}

fn delete(text: &str) -> Action {
    Action { key: key(text), operation: Operation::Delete }
}

fn add(text: &str, delta: i64) -> Action {
    Action { key: key(text), operation: Operation::Add(delta) }
}

fn write(conditions: &[(&str, Expected)], actions: Vec<Action>) -> Write {
    let condition = |(of, expected): &(&str, Expected)| Condition { key: key(of), expected: *expected };
    Write { id: None, conditions: conditions.iter().map(condition).collect(), actions }
}

impl Store {
    fn new(config: BucketConfig) -> Self {
        let rules = Table::new("b".into(), config, Position::default(), Operations::default());
        Self { rules, keys: BTreeMap::new(), expiry: Expiry::default(), now: Now { wall: 1_000, steady: 0 } }
    }

    fn advance(&mut self, milliseconds: u64) {
        self.now.wall += milliseconds * 1_000_000;
        self.now.steady += milliseconds * 1_000_000;
    }

    /// Judges writes as one round, and keeps it.
    fn round(&mut self, writes: &[Write]) -> Vec<Result<Written>> {
        let answers = self.judge(writes);
        self.keep();
        answers
    }

    fn judge(&mut self, writes: &[Write]) -> Vec<Result<Written>> {
        let Self { rules, keys, now, .. } = self;
        rules.begin(now.wall);
        let find = |key: &Key| {
            let stored = keys.get(key).cloned();
            Ok(Looked { is_due: stored.as_ref().is_some_and(|stored| stored.is_due(now.steady)), stored })
        };
        let mut find = find;
        let answer = |judgement| match judgement {
            Judgement::Store(written) => Ok(written),
            Judgement::Answer(answer) => answer,
        };
        writes.iter().map(|write| answer(rules.judge(write, *now, Level::Memory, &mut find))).collect()
    }

    fn keep(&mut self) {
        for ChangedKey { key, before, after } in self.rules.commit().keys {
            let known = match after.clone() {
                Some(stored) => self.keys.insert(key.clone(), stored),
                None => self.keys.remove(&key),
            };
            assert_eq!(known, before);
            self.expiry.replace(&key, before.as_ref(), after.as_ref());
        }
    }

    fn one(&mut self, of: Write) -> Result<Written> {
        self.round(&[of]).pop().expect("one answer")
    }

    #[track_caller]
    fn put(&mut self, text: &str, value: &str) -> u64 {
        self.one(write(&[], vec![put(text, value)])).expect("put").revisions[0]
    }
}

#[track_caller]
fn check_refused(answer: Result<Written>, expected: &str) {
    assert_eq!(answer.expect_err("it cannot be").to_string(), expected);
}

#[test]
fn each_change_takes_a_revision_and_a_delete_of_nothing_takes_none() {
    let mut store = Store::new(BucketConfig::default());
    assert_eq!(store.put("a", "1"), 1);
    let written = store.one(write(&[], vec![put("b", "1"), delete("c"), put("a", "2")])).expect("written");
    assert_eq!(written.revisions, [2, 0, 3]);
    assert_eq!(store.rules.position().revision, 3);
    let live = store.keys[&key("a")].live.clone().expect("there");
    assert_eq!((store.keys[&key("a")].revision, live.created), (3, 1));
    let written = store.one(write(&[], vec![delete("c")])).expect("nothing is no error");
    assert_eq!((written.revisions.as_slice(), store.rules.position().revision), (&[0][..], 3));
    assert_eq!(store.one(write(&[], vec![delete("a")])).expect("deleted").revisions, [4]);
    assert_eq!(store.put("a", "3"), 5);
    assert_eq!(store.keys[&key("a")].live.as_ref().expect("there").created, 5);
    assert_eq!(store.rules.position().counts, Counts { keys: 2, bytes: 4 });
}

#[test]
fn conditions_hold_for_all_or_nothing_is_written() {
    let mut store = Store::new(BucketConfig::default());
    store.put("a", "1");
    store.put("b", "1");
    let both = |expected| write(&[("a", Expected::Revision(1)), ("b", expected)], vec![put("a", "2"), put("c", "2")]);
    let refused = "nothing was written to `b`: `b` has revision 2, and its absence was expected; read it and try again";
    check_refused(store.one(both(Expected::Absent)), refused);
    let refused = "nothing was written to `b`: `b` has revision 2, and revision 1 was expected; read it and try again";
    check_refused(store.one(both(Expected::Revision(1))), refused);
    let refused = "nothing was written to `b`: `c` is not there, and a value was expected; read it and try again";
    check_refused(store.one(write(&[("c", Expected::Present)], vec![put("a", "2")])), refused);
    let refused = "nothing was written to `b`: `c` is not there, and revision 0 was expected; read it and try again";
    check_refused(store.one(write(&[("c", Expected::Revision(0))], vec![put("a", "2")])), refused);
    assert_eq!(store.rules.position().revision, 2);
    store.one(both(Expected::Present)).expect("they hold");
    assert_eq!(store.rules.position().revision, 4);
}

#[test]
fn two_compare_and_sets_in_one_round_are_judged_one_after_the_other() {
    let mut store = Store::new(BucketConfig::default());
    store.put("a", "1");
    let swap = |value| write(&[("a", Expected::Revision(1))], vec![put("a", value)]);
    let mut answers = store.round(&[swap("2"), swap("3"), write(&[("a", Expected::Revision(2))], vec![put("a", "4")])]);
    assert_eq!(answers.pop().expect("the third").expect("it saw the first").revisions, [3]);
    assert!(matches!(answers.pop(), Some(Err(Error::Conflict { revision: 2, .. }))));
    assert_eq!(answers.pop().expect("the first").expect("it holds").revisions, [2]);
}

#[test]
fn a_round_that_is_not_stored_never_was() {
    let mut store = Store::new(BucketConfig::default());
    store.put("a", "1");
    let before = (store.rules.position(), store.keys.clone());
    let id = Some(OperationId { client: 1, sequence: 1 });
    store.judge(&[Write { id, ..write(&[], vec![put("a", "2"), put("b", "2")]) }]);
    assert_eq!((store.rules.pending().revision, store.rules.groups().len()), (3, 1));
    store.rules.discard();
    assert_eq!((store.rules.position(), store.keys.clone()), before);
    assert_eq!(store.rules.operations().len(), 0);
    let again = store.one(Write { id, ..write(&[], vec![put("b", "3")]) }).expect("written");
    assert_eq!((again.revisions.as_slice(), again.duplicate), (&[2][..], false));
}

#[test]
fn a_write_that_is_told_again_gets_the_first_answer() {
    let mut store = Store::new(BucketConfig::default());
    let id = Some(OperationId { client: 1, sequence: 7 });
    let counting = Write { id, ..write(&[], vec![add("n", 2), delete("x"), put("a", "1")]) };
    // Both in one round, as when the answer to the first is on its way.
    let answers = store.round(&[counting.clone(), counting.clone()]);
    let [first, second] = answers.try_into().expect("two answers");
    let first = first.expect("written");
    assert_eq!((first.revisions.as_slice(), first.counters.as_slice()), (&[1, 0, 2][..], &[2][..]));
    assert_eq!(second.expect("known"), Written { duplicate: true, ..first.clone() });
    store.put("n", "100");
    store.advance(1_000);
    assert_eq!(store.one(counting).expect("known"), Written { duplicate: true, ..first });
    // What was refused was not done: told again, it is judged anew.
    let id = Some(OperationId { client: 1, sequence: 8 });
    let create = Write { id, ..write(&[("a", Expected::Absent)], vec![put("a", "2")]) };
    assert!(store.one(create.clone()).is_err());
    store.one(write(&[], vec![delete("a")])).expect("deleted");
    assert!(!store.one(create).expect("written").duplicate);
    let id = Some(OperationId { client: 1, sequence: 5_000 });
    store.one(Write { id, ..write(&[], vec![put("a", "3")]) }).expect("written");
    let id = Some(OperationId { client: 1, sequence: 7 });
    let late = store.one(Write { id, ..write(&[], vec![put("a", "4")]) });
    assert!(matches!(late, Err(Error::Invalid { .. })), "{late:?}");
}

#[test]
fn counters_count_and_refuse_what_is_no_number() {
    let mut store = Store::new(BucketConfig::default());
    assert_eq!(store.one(write(&[], vec![add("n", 5)])).expect("counted").counters, [5]);
    assert_eq!(store.one(write(&[], vec![add("n", -7), add("m", 1)])).expect("counted").counters, [-2, 1]);
    store.put("n", "twelve");
    let refused = "nothing was written to `b`: `n` cannot be counted up: its value is no whole number of 64 bits";
    check_refused(store.one(write(&[], vec![put("a", "1"), add("n", 1)])), refused);
    store.put("n", &i64::MAX.to_string());
    let refused = "nothing was written to `b`: `n` cannot be counted up: 9223372036854775807 and 1 are beyond 64 bits";
    check_refused(store.one(write(&[], vec![add("n", 1)])), refused);
    assert!(!store.keys.contains_key(&key("a")));
}

#[test]
fn a_key_is_gone_at_its_deadline_and_its_expiry_is_written_first() {
    let mut store = Store::new(BucketConfig::default());
    store.one(write(&[], vec![put_for("a", 10), put_for("b", 20), add("n", 1)])).expect("put");
    store.advance(9);
    assert!(store.expiry.due(store.now.steady, 10).is_empty());
    store.one(write(&[("a", Expected::Present)], vec![put("c", "1")])).expect("it is there");
    store.advance(1);
    assert_eq!(store.expiry.due(store.now.steady, 10), [key("a")]);
    // Whoever meets it writes its expiry, even where nothing else is written.
    let answer = store.one(write(&[("a", Expected::Present)], vec![put("c", "2")]));
    assert!(matches!(answer, Err(Error::Conflict { revision: 0, .. })));
    assert_eq!((store.rules.position().revision, store.keys.contains_key(&key("a"))), (5, false));
    assert!(store.expiry.due(store.now.steady, 10).is_empty());
    store.advance(10);
    let answers = store.judge(&[write(&[("b", Expected::Absent)], vec![put("b", "2")])]);
    assert_eq!(answers[0].as_ref().expect("it is gone").revisions, [7]);
    let changes: Vec<_> = store.rules.groups().iter().flat_map(|group| &group.records).collect();
    assert_eq!((changes[0].revision, &changes[0].change), (6, &Change::Gone(Removal::Expired)));
    assert!(matches!(changes[1].change, Change::Put { created: 7, expires: None, .. }));
    store.keep();
    assert_eq!(store.expiry.len(), 0);
}

#[test]
fn who_sets_the_clock_changes_no_life() {
    for jump in [0_u64, 1 << 60] {
        let mut store = Store::new(BucketConfig::default());
        store.now.wall = 1 << 50;
        store.one(write(&[], vec![put_for("a", 10)])).expect("put");
        store.now.wall = jump;
        store.now.steady += 9_999_999;
        assert!(store.expiry.due(store.now.steady, 10).is_empty());
        store.now.steady += 1;
        assert_eq!(store.expiry.due(store.now.steady, 10), [key("a")]);
    }
    // Found at a start: what is left of it by the wall clock.
    let now = Now { wall: 100, steady: 7 };
    assert_eq!(Deadline::at(150, now), Deadline { wall: 150, steady: 57 });
    assert_eq!(Deadline::at(50, now), Deadline { wall: 50, steady: 7 });
}

#[test]
fn a_bucket_s_time_to_live_holds_where_the_put_says_nothing() {
    let config = BucketConfig { time_to_live: Some(Duration::from_millis(5)), ..BucketConfig::default() };
    let mut store = Store::new(config);
    store.one(write(&[], vec![put("a", "1"), put_for("b", 50), add("n", 1)])).expect("put");
    store.advance(3);
    // A counter keeps its deadline, a put gets another.
    store.one(write(&[], vec![put("a", "1"), add("n", 1)])).expect("put");
    store.advance(2);
    assert_eq!(store.expiry.due(store.now.steady, 10), [key("n")]);
    store.advance(3);
    assert_eq!(store.expiry.due(store.now.steady, 10), [key("n"), key("a")]);
    let forever = put_for("z", u64::MAX);
    store.one(write(&[], vec![forever])).expect("put");
    assert_eq!(store.keys[&key("z")].deadline(), None);
}

#[test]
fn history_keeps_the_newest_until_it_is_purged() {
    let mut store = Store::new(BucketConfig { history: 3, ..BucketConfig::default() });
    for at in 0..5 {
        store.put("a", &at.to_string());
    }
    let revisions = |store: &Store, history| store.keys[&key("a")].revisions(history).collect::<Vec<_>>();
    assert_eq!(revisions(&store, 3), [3, 4, 5]);
    assert_eq!(revisions(&store, 1), [5]);
    store.one(write(&[], vec![delete("a")])).expect("deleted");
    assert_eq!(revisions(&store, 3), [4, 5, 6]);
    assert_eq!(store.rules.position().counts, Counts::default());
    assert_eq!(store.one(write(&[], vec![delete("a")])).expect("nothing").revisions, [0]);
    let purge = || write(&[], vec![Action { key: key("a"), operation: Operation::Purge }]);
    assert_eq!(store.one(purge()).expect("purged").revisions, [7]);
    assert!(store.keys.is_empty());
    assert_eq!(store.one(purge()).expect("nothing").revisions, [0]);
    assert_eq!(store.put("a", "1"), 8);
    assert_eq!(revisions(&store, 3), [8]);
}

#[test]
fn limits_hold_for_what_grows() {
    let limits = BucketLimits { keys_max: Some(2), bytes_max: Some(12), ..BucketLimits::default() };
    let mut store = Store::new(BucketConfig { limits, ..BucketConfig::default() });
    store.put("a", "12345");
    store.put("b", "1");
    let refused = "nothing was written to `b`: `keys_max` of 2 is reached; delete some, or alter the bucket";
    check_refused(store.one(write(&[], vec![put("c", "")])), refused);
    let refused = "nothing was written to `b`: `bytes_max` of 12 is reached; delete some, or alter the bucket";
    check_refused(store.one(write(&[], vec![put("b", "123456")])), refused);
    store.one(write(&[], vec![put("c", "1"), delete("b")])).expect("as many as before");
    store.rules.configure(BucketConfig {
        limits: BucketLimits { keys_max: Some(1), bytes_max: Some(1), ..limits },
        ..BucketConfig::default()
    });
    // What is too much already may shrink.
    store.one(write(&[], vec![put("a", "123")])).expect("less than before");
    store.one(write(&[], vec![delete("a")])).expect("less than before");
    check_refused(
        store.one(write(&[], vec![put("c", "12")])),
        "nothing was written to `b`: `bytes_max` of 1 is reached; delete some, or alter the bucket",
    );
}

#[test]
fn what_cannot_be_written_is_refused_with_the_reason() {
    let limits = BucketLimits { value_bytes_max: 5, ..BucketLimits::default() };
    let config = BucketConfig { limits, ..BucketConfig::default() };
    let check = |of: Write, expected: &str| {
        assert_eq!(check_write("b", &config, &of).expect_err("it cannot be").to_string(), expected);
    };
    check(
        write(&[("a", Expected::Present)], vec![]),
        "nothing was written to `b`: there is no action in it; a transaction has at least one",
    );
    check(
        write(&[], (0..1_025).map(|at| put(&at.to_string(), "")).collect()),
        "nothing was written to `b`: it has 1025 conditions and actions, and may have 1024; split it",
    );
    check(
        write(&[], vec![put("a", "1"), delete("a")]),
        "nothing was written to `b`: `a` stands in it twice; a write changes each key once",
    );
    check(
        write(&[], vec![put("a", "123456")]),
        "a value of 6 bytes for `b`; the limit is 5: split it, or raise `value_bytes_max` of the bucket",
    );
    check(
        write(&[], vec![put_for("a", 0)]),
        "nothing was written to `b`: `a` is to live for no time at all; leave it out for ever",
    );
    let limits = BucketLimits { value_bytes_max: crate::VALUE_BYTES_MAX, ..limits };
    let config = BucketConfig { limits, ..BucketConfig::default() };
    let large = |of: &str| {
        let operation = Operation::Put { value: vec![0; 7 << 20].into(), time_to_live: None };
        Action { key: key(of), operation }
    };
    let refused = check_write("b", &config, &write(&[], vec![large("a"), large("b")])).expect_err("too much");
    assert_eq!(
        refused.to_string(),
        "a write of 14680066 bytes for `b`; the limit is 12582912: write it in smaller ones"
    );
}

#[test]
fn what_cannot_be_configured_is_refused_with_the_reason() {
    let check = |config: BucketConfig, expected: &str| {
        assert_eq!(check_config("b", &config).expect_err("it cannot be").to_string(), expected);
    };
    let sound = BucketConfig::default();
    check_config("b", &sound).expect("the default can be");
    for history in [0, 65] {
        let why = format!("`history` of bucket `b` cannot be {history}: 1 to 64 revisions of a key can be kept");
        check(BucketConfig { history, ..sound.clone() }, &why);
    }
    check(
        BucketConfig { time_to_live: Some(Duration::ZERO), ..sound.clone() },
        "`time_to_live` of bucket `b` cannot be zero: leave it out for keys that live for ever",
    );
    let limits = BucketLimits { value_bytes_max: 0, ..sound.limits };
    check(
        BucketConfig { limits, ..sound.clone() },
        "`value_bytes_max` of bucket `b` cannot be 0: a value may have 1 byte to 8,128 KiB",
    );
}
