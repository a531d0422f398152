//! Every head and body through both directions, and what the page says byte by byte.

use std::time::Duration;

use proptest::prelude::*;
use sinew_session::{CRITICAL, Error as SessionError, Header, Pattern, REPLY, encode, from_cbor, to_cbor};

use super::*;
use crate::{Error, EventBatchBuilder, NewEvent};

fn stamp() -> ProducerStamp {
    ProducerStamp { id: 3, epoch: 2, sequence: 7 }
}

#[test]
fn append_heads_come_back_as_they_were() {
    let plain = AppendHead { stream: "orders", required: None, expected_next: None, producer: None };
    let heads = [
        plain,
        AppendHead { expected_next: Some(9), ..plain },
        AppendHead { producer: Some(stamp()), ..plain },
        AppendHead { required: Some(Level::Fsynced), expected_next: Some(9), producer: Some(stamp()), ..plain },
    ];
    for head in heads {
        let bytes = head.encode();
        assert_eq!(AppendHead::read(&bytes), Some(head));
        assert_eq!(AppendHead::read(&[&bytes[..], b"later"].concat()), Some(head));
        for cut in 0..bytes.len() {
            assert_eq!(AppendHead::read(&bytes[..cut]), None, "{cut} bytes of a head");
        }
    }
}

#[test]
fn other_heads_come_back_as_they_were() {
    for level in [Level::Memory, Level::Written, Level::Fsynced, Level::Replicated] {
        let appended = Appended { first: 5, count: 2, timestamp: 9, level, duplicate: level == Level::Written };
        assert_eq!(read_appended(&appended_head(&appended)), Some(appended));
    }
    assert_eq!(read_batch_head(&batch_head(1, 2, 3)), Some((1, 2, 3)));
    let mark = Mark { next: 4, end: 5, caught_up: true };
    assert_eq!(Mark::read(&mark.encode()), Some(mark));
    assert_eq!((read_settle_head(&settle_head(8, 9)), read_settle_head(&[0; 7])), (Some((8, 9)), None));
    let long = Duration::from_secs(1 << 40);
    for settled in [Settled::Done, Settled::Again(Duration::ZERO), Settled::Again(Duration::from_millis(1_500))] {
        let bytes = settlement_bytes(8, 2, settled);
        assert_eq!(read_settlements(&bytes).collect::<Vec<_>>(), [(8, 2, settled)]);
    }
    let (_, _, longest) = read_settlements(&settlement_bytes(8, 2, Settled::Again(long))).next().unwrap();
    assert_eq!(longest, Settled::Again(Duration::from_millis(u64::from(u32::MAX) - 1)), "not taken for done");
}

#[test]
fn pages_are_taken_apart_frame_by_frame() {
    let mut page = Vec::new();
    for (first, body) in [(1_u64, &b"one"[..]), (5, b"five"), (9, b"")] {
        page.extend_from_slice(&batch_head(first, 7, 1));
        page.extend_from_slice(&(body.len() as u32).to_le_bytes());
        page.extend_from_slice(body);
    }
    let mut rest = Bytes::from(page);
    let frames: Vec<_> = std::iter::from_fn(|| take_frame(&mut rest)).collect();
    assert_eq!(frames, [(1, 7, Bytes::from("one")), (5, 7, Bytes::from("five")), (9, 7, Bytes::new())]);
}

#[track_caller]
fn check<T: Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T) {
    assert_eq!(&from_cbor::<T>(&to_cbor(value)).unwrap(), value);
}

#[test]
fn requests_and_answers_come_back_as_they_were() {
    let filter = Filter { subject: Some(Pattern::try_from("a.>").unwrap()), key: Some("k".into()) };
    for from in [Position::Start, Position::End, Position::Offset(7), Position::Time(9)] {
        check(&Read { stream: "s".into(), from, bytes_max: 1, events_max: 2, filter: filter.clone() });
        check(&Follow { from, ..follow() });
    }
    check(&Follow { filter: filter.clone(), to: Some(3), live: false, standing: 4, ..follow() });
    let grant = Grant { bytes: 7, standing: 2 };
    assert_eq!(Grant::read(&grant.encode()), Some(grant));
    assert_eq!(Grant::read(&7_u64.to_le_bytes()), Some(Grant { standing: 0, ..grant }), "of an older client");
    check(&Followed { next: 3, to: Some(4), window_bytes: 5 });
    for act in [
        StreamAct::Create(StreamConfig::default()),
        StreamAct::Alter(StreamConfig { producers_max: 1, ..StreamConfig::default() }),
        StreamAct::Delete,
        StreamAct::Info,
    ] {
        check(&StreamAsk { stream: "s".into(), act });
    }
    for act in [
        CursorAct::Get("c".into()),
        CursorAct::List(None),
        CursorAct::Commit("c".into(), 7),
        CursorAct::Keep("c".into(), 7, ByteString(vec![1, 2])),
        CursorAct::Remove("c".into()),
    ] {
        check(&CursorAsk { stream: "s".into(), act });
    }
    let settings = GroupSettings { filter, deliveries_max: Some(3), key_order: true, ..GroupSettings::default() };
    check(&join(settings.clone()));
    check(&Join { held: Some(Held { era: 7, runs: vec![(1, 2, 3)] }), ..join(settings.clone()) });
    check(&Joined { era: 7, kept: vec![(1, 2)] });
    for act in [
        GroupAct::List(Some("g".into())),
        GroupAct::Info("g".into()),
        GroupAct::Pause("g".into()),
        GroupAct::Resume("g".into()),
        GroupAct::Reset("g".into(), Position::Time(3)),
        GroupAct::Alter("g".into(), settings.redelivery()),
        GroupAct::Delete("g".into()),
    ] {
        check(&GroupAsk { stream: "s".into(), act });
    }
    check(&GroupInfo { settings, given_up_last: vec![4], halted: Some("why".into()), ..GroupInfo::default() });
    for act in [
        MaintainAct::Verify,
        MaintainAct::Compact,
        MaintainAct::Backup("/b".into()),
        MaintainAct::Restore("/b".into()),
        MaintainAct::Import(StreamConfig::default(), "/b".into()),
    ] {
        check(&Maintain { stream: "s".into(), act });
    }
}

#[test]
fn what_a_member_has_fits_into_its_request() {
    let events = [(1, 1), (2, 1), (3, 2), (5, 2), (6, 2)];
    assert_eq!(Held::of(0, events).runs, [(1, 2, 1), (3, 1, 2), (5, 2, 2)]);
    let joined = Joined { era: 0, kept: vec![(1, 2), (5, 1)] };
    assert_eq!((0..7).filter(|offset| joined.keeps(*offset)).collect::<Vec<_>>(), [1, 2, 5]);
    // As many as a member may have and more, each a run of its own, and everything else as long as it can be.
    let sparse = (0..10_000).map(|number| (u64::MAX / 2 + number * 2, 1_000));
    let longest = "x".repeat(64);
    let subject = Pattern::try_from(format!("{}.>", "s".repeat(500)).as_str()).unwrap();
    let filter = Filter { subject: Some(subject), key: Some(vec![7; crate::KEY_BYTES_MAX].into()) };
    let settings = GroupSettings { filter, deliveries_max: Some(u32::MAX), ..GroupSettings::default() };
    let join =
        Join { stream: longest.clone(), group: longest, held: Some(Held::of(u32::MAX, sparse)), ..join(settings) };
    assert_eq!(from_cbor::<Join>(&to_cbor(&join)).expect("it is within the limit"), join);
}

#[test]
fn errors_come_back_as_the_engine_found_them() {
    let stream = || "orders".to_owned();
    let errors = [
        Error::UnknownStream { stream: stream() },
        Error::OutOfRange { stream: stream(), requested: 1, first: 5, next: 9 },
        Error::WrongOffset { stream: stream(), expected: 4, next: u64::MAX },
        Error::ProducerFenced { stream: stream(), producer: 1, epoch: 2, current: 3 },
        Error::Config { stream: stream(), field: "age_max".into(), value: "0s".into(), why: "too short".into() },
        Error::TooLarge { stream: stream(), what: "an event".into(), bytes: 9, max: 8, advice: "cut it".into() },
        Error::LevelUnmet { stream: stream(), required: Level::Fsynced, level: Level::Memory },
        Error::Unsupported { stream: stream(), what: "verify" },
        Error::Limit { reason: "too many".into() },
        Error::Denied { reason: "a rule".into() },
    ];
    for error in errors {
        let failure = from_cbor(&to_cbor(&failure_of(&error))).unwrap();
        let read = error_of(SessionError::Failed(failure));
        assert_eq!(format!("{read:?}"), format!("{error:?}"));
    }
    let odd = error_of(SessionError::Failed(sinew_session::Failure::new("out-of-range", "without its numbers")));
    assert!(matches!(odd, Error::Session(SessionError::Failed(_))), "{odd:?}");
}

fn follow() -> Follow {
    Follow {
        stream: "orders".into(),
        from: Position::Offset(7),
        window_bytes: 1 << 20,
        used_bytes: 0,
        filter: Filter::default(),
        to: None,
        live: true,
        standing: 0,
    }
}

fn join(settings: GroupSettings) -> Join {
    Join {
        stream: "orders".into(),
        group: "crew".into(),
        settings,
        in_flight_max: 256,
        in_flight_bytes_max: 8 << 20,
        held: None,
    }
}

/// The bytes of the vector `name` in `docs/WIRE.md`.
fn vector(name: &str) -> Vec<u8> {
    let page = include_str!("../../../docs/WIRE.md");
    let (_, rest) = page.split_once(&format!("```vector {name}\n")).expect("the page has this vector");
    let digits: Vec<u8> = rest.bytes().take_while(|byte| *byte != b'`').filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn everything_is_as_the_page_says() {
    let mut batch = EventBatchBuilder::default();
    batch.push(&NewEvent::new("paid").key("17")).unwrap();
    let body = batch.finish();
    let head = |verb, flags, call| Header { service: SERVICE, verb, flags, call };
    let append = AppendHead { stream: "orders", required: None, expected_next: Some(5), producer: Some(stamp()) };
    assert_eq!(encode(head(verb::APPEND, CRITICAL, 9), &append.encode(), body.body()), vector("log-append"));
    let appended = Appended { first: 5, count: 1, timestamp: 1_000, level: Level::Fsynced, duplicate: false };
    assert_eq!(encode(head(verb::APPEND, REPLY, 9), &appended_head(&appended), b""), vector("log-appended"));
    let deliver = [&batch_head(5, 1_000, 1)[..], &1_u32.to_le_bytes()].concat();
    assert_eq!(encode(head(verb::DELIVER, 0, 7), &deliver, body.body()), vector("log-deliver"));
    let mark = Mark { next: 6, end: 6, caught_up: true };
    assert_eq!(encode(head(verb::POSITION, 0, 7), &mark.encode(), b""), vector("log-position"));
    assert_eq!(encode(head(verb::HANDED, 0, 8), &batch_head(5, 1_000, 1), body.body()), vector("log-handed"));
    let settled =
        [settlement_bytes(5, 1, Settled::Done), settlement_bytes(6, 1, Settled::Again(Duration::from_secs(2)))];
    let settle = encode(head(verb::SETTLE, CRITICAL, 10), &settle_head(8, 3), &settled.concat());
    assert_eq!(settle, vector("log-settle"));
    assert_eq!(to_cbor(&follow()), vector("log-follow"));
    assert_eq!(to_cbor(&join(GroupSettings::default())), vector("log-join"));
    let create = StreamAsk { stream: "orders".into(), act: StreamAct::Create(StreamConfig::default()) };
    assert_eq!(to_cbor(&create), vector("log-create"));
    let out_of_range = Error::OutOfRange { stream: "orders".into(), requested: 1, first: 5, next: 9 };
    assert_eq!(to_cbor(&failure_of(&out_of_range)), vector("log-failure"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]
    #[test]
    fn random_bytes_never_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let _ = (AppendHead::read(&bytes), read_appended(&bytes), read_batch_head(&bytes), Mark::read(&bytes));
        let _ = (read_pair(&bytes), read_settlements(&bytes).count());
        let _ = (from_cbor::<Follow>(&bytes), from_cbor::<StreamAsk>(&bytes), from_cbor::<Join>(&bytes));
        let mut page = Bytes::from(bytes);
        while take_frame(&mut page).is_some() {}
    }
}
