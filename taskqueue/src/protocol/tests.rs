//! Every head and body through both directions, and what the page says byte by byte.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use serde::Serialize;
use sinew_session::{CRITICAL, Error as SessionError, Header, REPLY, encode, from_cbor, to_cbor};

use super::*;
use crate::{Attempt, Ending, Error, Level, QueueConfig, Recalled, Report, TaskOptions, TaskState};

fn task() -> TaskId {
    TaskId::from_bytes([0x11; 16])
}

fn worker() -> WorkerId {
    WorkerId::from_bytes([0x22; 16])
}

fn attempt() -> Attempt {
    Attempt { task: task(), number: 2 }
}

fn options() -> TaskOptions {
    TaskOptions { tags: vec!["gpu".into()], attempts_max: 3, queueing: true, ..TaskOptions::default() }
}

fn submit() -> SubmitHead<'static> {
    SubmitHead {
        queue: "thumbnails",
        task: task(),
        required: None,
        again: None,
        patient: false,
        options: TaskOptions::default(),
    }
}

/// A head is read with whatever follows it, and not when it is cut.
#[track_caller]
fn whole<T: PartialEq + std::fmt::Debug>(head: &[u8], read: impl Fn(&[u8]) -> Option<T>, value: &T) {
    for bytes in [head.to_vec(), [head, b"later"].concat()] {
        assert_eq!(read(&bytes).as_ref(), Some(value));
    }
    for cut in 0..head.len() {
        assert_eq!(read(&head[..cut]), None, "{cut} bytes of a head");
    }
}

#[test]
fn submit_heads_come_back_as_they_were() {
    for (required, again, options) in [
        (None, None, TaskOptions::default()),
        (Some(Level::Fsynced), Some(7), TaskOptions::default()),
        (Some(Level::Memory), None, options()),
        (None, Some(u64::MAX), options()),
    ] {
        let patient = again.is_some();
        let head = SubmitHead { required, again, patient, options, ..submit() };
        let bytes = head.encode();
        for bytes in [bytes.clone(), [&bytes[..], b"later"].concat()] {
            assert_eq!(SubmitHead::read(&bytes).unwrap().unwrap(), head);
        }
        for cut in 0..bytes.len() {
            assert!(SubmitHead::read(&bytes[..cut]).is_none(), "{cut} bytes of a head");
        }
    }
    let mut odd = SubmitHead { options: options(), ..submit() }.encode();
    let last = odd.len() - 1;
    odd[last] = 0xff;
    assert!(matches!(SubmitHead::read(&odd), Some(Err(_))), "options that are none");
}

#[test]
fn heads_of_waits_come_back_as_they_were() {
    for duplicate in [false, true] {
        let head = AcceptedHead { task: task(), level: Level::Written, duplicate };
        whole(&head.encode(), AcceptedHead::read, &head);
    }
    let bytes = WaitHead { queue: "q", task: task(), number: 9 }.encode();
    assert_eq!(WaitHead::read(&bytes), Some(WaitHead { queue: "q", task: task(), number: 9 }));
    assert!((0..bytes.len()).all(|cut| WaitHead::read(&bytes[..cut]).is_none()));
    let bytes = task_head("q", task());
    assert_eq!(read_task(&bytes), Some(("q", task())));
    assert!((0..bytes.len()).all(|cut| read_task(&bytes[..cut]).is_none()));
    let tasks = [task(), TaskId::from_bytes([3; 16])];
    assert_eq!(read_tasks(&tasks_body(&tasks)).collect::<Vec<_>>(), tasks);
    for act in [DeadAct::Retry(TaskId::from_bytes([3; 16])), DeadAct::Drop] {
        let bytes = DeadHead { queue: "q", task: task(), act }.encode();
        assert_eq!(DeadHead::read(&bytes), Some(DeadHead { queue: "q", task: task(), act }));
        assert!((0..bytes.len()).all(|cut| DeadHead::read(&bytes[..cut]).is_none()));
    }
}

fn join() -> JoinHead<'static> {
    let member = Member { name: "jetson".into(), tags: vec!["gpu".into()] };
    JoinHead { queue: "thumbnails", worker: worker(), credit: 4, member }
}

#[test]
fn heads_of_workers_come_back_as_they_were() {
    let bytes = join().encode();
    assert_eq!(JoinHead::read(&bytes).unwrap().unwrap(), join());
    assert!((0..bytes.len()).all(|cut| JoinHead::read(&bytes[..cut]).is_none()));
    let held = [attempt(), Attempt { number: 3, ..attempt() }];
    assert_eq!(read_held(&held_body(held)).collect::<Vec<_>>(), held);
    whole(&attempt_head(attempt()), read_attempt, &attempt());
    whole(&joined_head(Duration::from_secs(10), 4), read_joined, &(Duration::from_secs(10), 4));
    whole(&number_head(7), read_number, &7);
    for left in [None, Some(Duration::ZERO), Some(Duration::from_secs(60))] {
        let head = AssignHead { attempt: attempt(), attempts_max: 3, left };
        whole(&head.encode(), AssignHead::read, &head);
    }
    for why in [Recalled::Cancelled, Recalled::DeadlineExceeded, Recalled::Stalled, Recalled::Lost] {
        whole(&recall_head(attempt(), why), read_recall, &(attempt(), why));
    }
}

#[test]
fn reports_come_back_as_they_were() {
    let failed = |is_final| Report::Failed {
        code: "no-luck".into(),
        message: "not today".into(),
        details: "why".into(),
        is_final,
    };
    for report in
        [Report::Done("result".into()), Report::Done(Bytes::new()), failed(false), failed(true), Report::HandedBack]
    {
        let (head, body) = report_of(7, attempt(), &report);
        let read = ReportHead::read(&head).unwrap();
        assert_eq!((read.number, read.attempt, read.report(body)), (7, attempt(), report));
        assert!((0..head.len()).all(|cut| ReportHead::read(&head[..cut]).is_none()));
    }
    // What is longer than it may be is cut, at a character.
    let long =
        Report::Failed { code: "ä".repeat(200), message: "ü".repeat(20_000), details: Bytes::new(), is_final: false };
    let (head, _) = report_of(7, attempt(), &long);
    let Report::Failed { code, message, .. } = ReportHead::read(&head).unwrap().report(Bytes::new()) else {
        panic!("it is one")
    };
    assert_eq!((code.len(), message.len()), (256, 16 * 1024));
}

fn endings() -> [Ending; 7] {
    let (worker, attempt, attempts) = (worker(), 2, 1);
    [
        Ending::Done { worker, attempt },
        Ending::Failed { worker, attempt, code: "no-luck".into(), message: "not today".into() },
        Ending::WorkerLost { worker, attempt },
        Ending::Stalled { worker, attempt },
        Ending::DeadlineExceeded { attempts },
        Ending::Cancelled { attempts },
        Ending::NoWorkers { attempts },
    ]
}

#[test]
fn endings_come_back_as_they_were() {
    let mut head = vec![1, 2, 3];
    for ending in endings() {
        ending_head(&ending, &mut head);
        whole(&head, read_ending, &ending);
    }
    head[0] = 9;
    assert_eq!(read_ending(&head), None, "a kind that there is not");
}

#[track_caller]
fn check<T: Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T) {
    assert_eq!(&from_cbor::<T>(&to_cbor(value)).unwrap(), value);
}

#[test]
fn requests_and_answers_come_back_as_they_were() {
    for act in [
        QueueAct::Create(QueueConfig::default()),
        QueueAct::Alter(QueueConfig { level: Level::Memory, ..QueueConfig::default() }),
        QueueAct::Delete,
        QueueAct::Info,
    ] {
        check(&QueueAsk { queue: "q".into(), act });
    }
    check(&List { after: Some("a".into()) });
    check(&Names { names: vec!["a".into()], after: Some("a".into()) });
    for at in [
        LookAt::Tasks(Listed::Live, None),
        LookAt::Tasks(Listed::Dead, Some(7)),
        LookAt::Workers(Some(worker())),
        LookAt::Explain(task()),
    ] {
        check(&Look { queue: "q".into(), at });
    }
    let info = |state| TaskInfo {
        task: task(),
        sequence: 7,
        owner: "anonymous".into(),
        submitted: crate::Moment(9),
        options: options(),
        bytes: 5,
        attempts: 1,
        state,
    };
    let at = crate::Moment(10);
    let mut states = vec![TaskState::Waiting, TaskState::Delayed { until: at }];
    states.push(TaskState::Running { worker: worker(), since: at });
    states.extend(endings().map(|ending| TaskState::Ended { ending, at }));
    check(&TaskPage { tasks: states.into_iter().map(info).collect(), more: true });
}

#[test]
fn errors_come_back_as_the_engine_found_them() {
    let queue = || "thumbnails".to_owned();
    let (task, worker) = (task(), worker());
    let errors = [
        Error::UnknownQueue { queue: queue() },
        Error::QueueExists { queue: queue() },
        Error::Config { queue: queue(), field: "lease".into(), value: "0".into(), why: "too short".into() },
        Error::Invalid { queue: queue(), why: "no attempt".into() },
        Error::TooLarge { queue: queue(), what: "a payload".into(), bytes: 9, max: 8, advice: "cut it".into() },
        Error::Full { queue: queue(), what: "tasks".into(), max: 3 },
        Error::NoWorkers { queue: queue(), tags: vec!["gpu".into(), "big".into()] },
        Error::NoWorkers { queue: queue(), tags: Vec::new() },
        Error::UnknownTask { queue: queue(), task },
        Error::UnknownDeadLetter { queue: queue(), task },
        Error::TaskExists { queue: queue(), what: "this id".into() },
        Error::NotYours { queue: queue(), task },
        Error::UnknownWorker { queue: queue(), worker },
        Error::LeaseOver { queue: queue(), worker },
        Error::Replaced { queue: queue(), worker },
        Error::OutcomeUnknown { queue: queue(), task },
        Error::Busy { queue: queue(), bytes: 9 },
        Error::NoSpace { queue: queue() },
        Error::Storage { queue: queue(), why: "the disk".into() },
        Error::Backup { path: "/there".into(), why: "is not empty".into() },
        Error::Unsupported { queue: queue(), what: "verify" },
        Error::Ended { queue: queue() },
        Error::LevelUnmet { queue: queue(), required: Level::Fsynced, level: Level::Memory },
        Error::Limit { reason: "too many".into() },
        Error::Denied { reason: "a rule".into() },
    ];
    for error in errors {
        let failure = from_cbor(&to_cbor(&failure_of(&error))).unwrap();
        let read = error_of(SessionError::Failed(failure));
        assert_eq!(format!("{read:?}"), format!("{error:?}"));
    }
    let odd = error_of(SessionError::Failed(sinew_session::Failure::new("unknown-task", "without its task")));
    assert!(matches!(odd, Error::Session(SessionError::Failed(_))), "{odd:?}");
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
    let head = |verb, flags, call| Header { service: SERVICE, verb, flags, call };
    let mut ending = Vec::new();
    let [done, failed, ..] = endings();
    ending_head(&done, &mut ending);
    let ended = encode(head(verb::ENDED, 0, 9), &ending, b"small");
    ending_head(&failed, &mut ending);
    let queue = {
        let mut head = Vec::new();
        queue_head("thumbnails", &mut head);
        head
    };
    let accepted = AcceptedHead { task: task(), level: Level::Fsynced, duplicate: false }.encode();
    let assign = AssignHead { attempt: attempt(), attempts_max: 3, left: Some(Duration::from_secs(60)) }.encode();
    let (report, result) = report_of(7, attempt(), &Report::Done("small".into()));
    let (failure, details) = report_of(
        7,
        attempt(),
        &Report::Failed { code: "no-luck".into(), message: "not today".into(), details: "why".into(), is_final: true },
    );
    let create = QueueAsk { queue: "thumbnails".into(), act: QueueAct::Create(QueueConfig::default()) };
    let backup = Maintain { queue: "thumbnails".into(), act: MaintainAct::Backup("/copy".into()) };
    let with_options = SubmitHead { options: options(), again: Some(7), required: Some(Level::Fsynced), ..submit() };
    let wait = WaitHead { queue: "thumbnails", task: task(), number: 9 }.encode();
    let retry = DeadHead { queue: "thumbnails", task: task(), act: DeadAct::Retry(TaskId::from_bytes([3; 16])) };
    let vectors = [
        ("task-submit", encode(head(verb::SUBMIT, CRITICAL, 9), &submit().encode(), b"large").to_vec()),
        ("task-submit-options", with_options.encode()),
        ("task-accepted", encode(head(verb::SUBMIT, REPLY, 9), &accepted, b"").to_vec()),
        ("task-ended", ended.to_vec()),
        ("task-ended-failed", encode(head(verb::ENDED, 0, 9), &ending, b"why").to_vec()),
        ("task-release", encode(head(verb::RELEASE, 0, 9), &queue, &tasks_body(&[task()])).to_vec()),
        ("task-abandon", encode(head(verb::ABANDON, CRITICAL, 10), &wait, b"").to_vec()),
        ("task-join", encode(head(verb::JOIN, CRITICAL, 7), &join().encode(), &held_body([attempt()])).to_vec()),
        ("task-joined", encode(head(verb::JOIN, REPLY, 7), &joined_head(Duration::from_secs(10), 4), b"").to_vec()),
        ("task-assign", encode(head(verb::ASSIGN, 0, 7), &assign, b"large").to_vec()),
        ("task-recall", encode(head(verb::RECALL, 0, 7), &recall_head(attempt(), Recalled::Cancelled), b"").to_vec()),
        ("task-report", encode(head(verb::REPORT, CRITICAL, 8), &report, &result).to_vec()),
        ("task-report-failed", encode(head(verb::REPORT, CRITICAL, 8), &failure, &details).to_vec()),
        ("task-create", to_cbor(&create)),
        ("task-look", to_cbor(&Look { queue: "thumbnails".into(), at: LookAt::Tasks(Listed::Live, Some(7)) })),
        ("task-retry", encode(head(verb::DEAD, CRITICAL, 11), &retry.encode(), b"").to_vec()),
        ("task-backup", to_cbor(&backup)),
        ("task-failure", to_cbor(&failure_of(&Error::UnknownTask { queue: "thumbnails".into(), task: task() }))),
    ];
    for (name, bytes) in vectors {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(bytes, vector(name), "{name} is {hex}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]
    #[test]
    fn random_bytes_never_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let _ = (SubmitHead::read(&bytes), AcceptedHead::read(&bytes), WaitHead::read(&bytes), JoinHead::read(&bytes));
        let _ = (AssignHead::read(&bytes), ReportHead::read(&bytes), DeadHead::read(&bytes), read_ending(&bytes));
        let _ = (read_recall(&bytes), read_task(&bytes), read_joined(&bytes), read_attempt(&bytes), read_number(&bytes));
        let _ = (read_tasks(&bytes).count(), read_held(&bytes).count());
        let _ = (from_cbor::<QueueAsk>(&bytes), from_cbor::<Look>(&bytes), from_cbor::<Member>(&bytes));
        let _ = from_cbor::<Maintain>(&bytes);
    }
}
