//! Limits, and what is refused beyond them.

use super::*;
use crate::{LEASE_MAX, LEASE_MIN, PAYLOAD_BYTES_MAX};

#[track_caller]
fn refused(options: TaskOptions, why: &str) {
    let mut bench = Bench::new();
    assert_eq!(refusal(&bench.submit(1, options)), format!("queue `q` cannot take it: {why}"));
    assert!(bench.stored.is_empty());
}

fn tags(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

#[test]
fn tasks_that_cannot_be() {
    let with = queueing;
    let years = Duration::from_secs(101 * 365 * 86_400);
    refused(TaskOptions { tags: tags(17), ..with() }, "17 tags; there can be 16");
    refused(TaskOptions { tags: vec![String::new()], ..with() }, "a tag of 0 bytes; one has 1 to 64");
    refused(TaskOptions { tags: vec!["x".repeat(65)], ..with() }, "a tag of 65 bytes; one has 1 to 64");
    refused(TaskOptions { attempts_max: 0, ..with() }, "0 attempts; there are 1 to 1000");
    refused(TaskOptions { attempts_max: 1_001, ..with() }, "1001 attempts; there are 1 to 1000");
    let key = |bytes: usize| Some("k".repeat(bytes));
    let wrong = |bytes| format!("an idempotency key of {bytes} bytes; one has 1 to 256");
    refused(TaskOptions { idempotency_key: key(0), ..with() }, &wrong(0));
    refused(TaskOptions { idempotency_key: key(257), ..with() }, &wrong(257));
    let stall = TaskOptions { stall_timeout: Some(Duration::from_micros(999)), ..with() };
    refused(stall, "a stall timeout below 1 ms; leave it out, or tell progress");
    let deadline = TaskOptions { deadline: Some(Duration::ZERO), ..with() };
    refused(deadline, "a deadline of no time at all; leave it out, or give the task some");
    let long = format!("a span of {years:?}; the longest is a hundred years");
    refused(TaskOptions { delay: Some(years), ..with() }, &long);
    refused(TaskOptions { result_kept: Some(years), ..with() }, &long);
}

#[test]
fn payloads_beyond_the_limit() {
    let mut config = QueueConfig::default();
    config.limits.payload_bytes_max = 0;
    let refused = refusal(&Bench::of(config).submit(1, queueing()));
    let advice = "store it elsewhere and submit where it is, or alter `payload_bytes_max`";
    assert_eq!(refused, format!("a payload of 1 bytes for queue `q`; the limit is 0: {advice}"));
}

#[track_caller]
fn is_full(config: QueueConfig, max: u64, what: &str) {
    let mut bench = Bench::of(config);
    for number in 0..max {
        assert!(answer(&bench.submit(number, queueing())).is_ok());
    }
    let advice = "wait until some are done, or alter the queue";
    let full = format!("queue `q` is full: its limit of {max} {what} is reached; {advice}");
    assert_eq!(refusal(&bench.submit(max, queueing())), full);
    bench.cancel(0);
    assert!(answer(&bench.submit(max, queueing())).is_ok(), "there is room again");
}

#[test]
fn a_queue_that_is_full() {
    let mut config = QueueConfig::default();
    config.limits.tasks_max = 3;
    is_full(config, 3, "tasks");
    let mut config = QueueConfig::default();
    config.limits.bytes_max = 2;
    is_full(config, 2, "bytes of payloads");
}

#[test]
fn sets_of_tags_are_bounded_and_go_with_their_tasks() {
    let mut bench = Bench::new();
    let max = TAG_SETS_MAX as u64;
    let tagged = |number: u64| TaskOptions { tags: vec![number.to_string()], ..queueing() };
    for number in 0..max {
        assert!(answer(&bench.submit(number, tagged(number))).is_ok());
    }
    let full = format!(
        "queue `q` is full: its limit of {max} different sets of tags is reached; wait until some are done, or alter \
         the queue"
    );
    assert_eq!(refusal(&bench.submit(max, tagged(max))), full);
    bench.cancel(5);
    assert!(answer(&bench.submit(max, tagged(max))).is_ok());
}

#[test]
fn workers_that_cannot_be() {
    let mut config = QueueConfig::default();
    config.limits.workers_max = 1;
    let mut bench = Bench::of(config);
    let cannot = |why: &str| format!("queue `q` cannot take it: {why}");
    assert_eq!(refusal(&bench.join(1, 0, &[])), cannot("0 tasks at one time; a worker takes 1 to 65536"));
    assert_eq!(refusal(&bench.join(1, 65_537, &[])), cannot("65537 tasks at one time; a worker takes 1 to 65536"));
    assert_eq!(refusal(&bench.join(1, 1, &[""])), cannot("a tag of 0 bytes; one has 1 to 64"));
    let held = vec![attempt(1, 1); 65_537];
    assert_eq!(
        refusal(&bench.join_with(1, 1, &[], held)),
        cannot("65537 attempts that it says it has; a worker has at most 65536")
    );
    bench.join(1, 1, &[]);
    let full = "queue `q` is full: its limit of 1 workers is reached; wait until some are done, or alter the queue";
    assert_eq!(refusal(&bench.join(2, 1, &[])), full);
    assert!(answer(&bench.join(1, 5, &["a"])).is_ok(), "the same may join anew");
    let hers = WorkerSpec { id: worker(1), owner: "eve".into(), name: "".into(), tags: Vec::new(), credit: 1 };
    let refused = refusal(&bench.tell(Input::Join { asker: client(1), worker: hers.into(), held: Vec::new() }));
    assert_eq!(refused, cannot(&format!("worker {} is somebody else's; draw another id", worker(1))));
}

#[test]
fn who_waits_for_one_task_is_bounded() {
    let mut bench = Bench::new();
    bench.submit(0, queueing());
    for call in 1..crate::scheduler::submissions::WAITERS_MAX as u64 {
        assert!(answer(&bench.attach(client(call), 0)).is_ok());
    }
    let full = "queue `q` is full: its limit of 1024 calls that wait for one task is reached; wait until some are \
                done, or alter the queue";
    assert_eq!(refusal(&bench.attach(client(9_999), 0)), full);
    assert_eq!(refusal(&bench.submit_from(client(9_999), 0, queueing())), full);
}

#[test]
fn what_a_worker_says_of_a_failure_is_cut() {
    let mut bench = Bench::new();
    bench.join(1, 1, &[]);
    bench.submit(1, queueing());
    let (code, message) = ("é".repeat(300), "é".repeat(20_000));
    let report = Report::Failed { code, message, details: Bytes::new(), is_final: true };
    let effects = bench.report(1, 1, 1, report);
    let [(_, Ending::Failed { code, message, .. })] = &endings(&effects)[..] else { panic!("{effects:?}") };
    assert_eq!((code.len(), message.len()), (256, 16 * 1024));
}

#[test]
fn details_that_are_too_large_are_left_out_and_the_message_says_so() {
    let mut bench = Bench::new();
    for (number, message) in [(1, "no"), (2, &*"é".repeat(20_000))] {
        bench.join(1, 1, &[]);
        bench.submit(number, queueing());
        let max = QueueConfig::default().limits.result_bytes_max as usize;
        let details = Bytes::from(vec![0; max + 1]);
        let report = Report::Failed { code: "no".into(), message: message.into(), details, is_final: true };
        let effects = bench.report(1, number, 1, report);
        let [(_, Ending::Failed { message, .. })] = &endings(&effects)[..] else { panic!("{effects:?}") };
        assert!(message.ends_with(" (1048577 bytes of details were left out: the limit is 1048576)"), "{message}");
        assert!(message.len() <= 16 * 1024);
    }
}

#[test]
fn queues_that_cannot_be() {
    let check = |alter: fn(&mut QueueConfig)| {
        let mut config = QueueConfig::default();
        alter(&mut config);
        check_config("q", &config).map_err(|error| error.to_string())
    };
    assert_eq!(check(|_| {}), Ok(()));
    assert_eq!(check(|config| config.lease = LEASE_MIN), Ok(()));
    assert_eq!(check(|config| config.lease = LEASE_MAX), Ok(()));
    let cannot = |field: &str, value: &str, why: &str| Err(format!("`{field}` of queue `q` cannot be {value}: {why}"));
    let short = check(|config| config.lease = Duration::from_millis(299));
    assert_eq!(short, cannot("lease", "299ms", "it is from 300ms to 3600s"));
    let none = "a queue with none is of no use";
    assert_eq!(check(|config| config.limits.tasks_max = 0), cannot("tasks_max", "0", none));
    assert_eq!(check(|config| config.limits.workers_max = 0), cannot("workers_max", "0", none));
    let large = check(|config| config.limits.payload_bytes_max = PAYLOAD_BYTES_MAX + 1);
    assert_eq!(large, cannot("payload_bytes_max", "8323073", "it is at most 8323072"));
    let replicated = "one server keeps a queue; it can be memory, written or fsynced";
    assert_eq!(check(|config| config.level = Level::Replicated), cannot("level", "replicated", replicated));
}

#[test]
fn nothing_is_left_when_all_is_gone() {
    let mut bench = Bench::new();
    bench.join(1, 2, &["a"]);
    let options = || TaskOptions {
        tags: vec!["a".into()],
        deadline: Some(SECOND * 50),
        stall_timeout: Some(SECOND * 5),
        idempotency_key: Some("k".into()),
        attempts_max: 2,
        ..queueing()
    };
    bench.submit(1, options());
    bench.submit(2, TaskOptions { idempotency_key: None, delay: Some(SECOND), ..options() });
    bench.fail(1, 1, 1);
    bench.pass(SECOND);
    bench.fail(1, 1, 2);
    bench.leave(1);
    bench.tell(Input::Gone { connection: 1 });
    bench.pass(Duration::from_secs(8 * 86_400));
    let Scheduler {
        tasks, order, workers, keys, waits, timers, matching, bytes, delayed, running, ended, dead, ..
    } = &bench.scheduler;
    assert!(tasks.is_empty() && order.is_empty() && workers.is_empty() && keys.is_empty(), "{:?}", bench.scheduler);
    assert!(waits.is_empty() && timers.is_empty() && matching.is_empty(), "{:?}", bench.scheduler);
    assert_eq!((*bytes, *delayed, *running, ended.len(), dead.len()), (0, 0, 0, 0, 0));
}
