//! Attempts: leases, what is lost, what is handed back, what fails, what comes late.

use super::*;
use crate::Backoff;

fn lease() -> Duration {
    QueueConfig::default().lease
}

#[test]
fn a_lost_worker_s_task_goes_to_another_where_attempts_are_left() {
    let mut bench = Bench::new();
    bench.join(1, 2, &[]);
    bench.submit(1, attempts(2));
    bench.submit(2, TaskOptions::default());
    bench.cut(1);
    assert!(endings(&bench.pass(lease() - Duration::from_nanos(1))).is_empty());
    let effects = bench.pass(Duration::from_nanos(1));
    assert_eq!(endings(&effects), [(task(2), Ending::WorkerLost { worker: worker(1), attempt: 1 })]);
    assert_eq!(assigned(&bench.join(2, 1, &[])), [(worker(2), task(1), 2)]);
    assert!(is_late(&bench.done(1, 1, 1)), "the number of the attempt fences it");
    assert_eq!(endings(&bench.done(2, 1, 2)), [(task(1), Ending::Done { worker: worker(2), attempt: 2 })]);
    assert_eq!(bench.info().counts.late, 1);
}

#[test]
fn who_was_not_heard_for_its_lease_is_told_when_it_can_be() {
    let mut bench = Bench::new();
    bench.join(1, 2, &[]);
    let effects = bench.pass(lease());
    assert!(matches!(&effects[..], [Effect::Dismissed { why: Error::LeaseOver { .. }, .. }]), "{effects:?}");
    assert_eq!(bench.info().workers, 0);
}

#[test]
fn renewing_keeps_a_task_for_as_long_as_it_takes() {
    let mut bench = Bench::new();
    bench.join(1, 1, &[]);
    bench.submit(1, attempts(5));
    let effects = bench.pass_renewed(3 * lease().as_secs() + 5, &[1]);
    assert!(effects.is_empty(), "{effects:?}");
    assert_eq!(endings(&bench.done(1, 1, 1)), [(task(1), Ending::Done { worker: worker(1), attempt: 1 })]);
}

#[test]
fn reports_and_progress_renew_too() {
    let mut bench = Bench::new();
    bench.join(1, 2, &[]);
    bench.submit(1, queueing());
    bench.submit(2, queueing());
    bench.pass(lease() - SECOND);
    bench.done(1, 1, 1);
    bench.pass(lease() - SECOND);
    bench.tell(Input::Progress { worker: worker(1), attempt: attempt(2, 1), data: Bytes::new() });
    bench.pass(lease() - SECOND);
    assert_eq!(endings(&bench.done(1, 2, 1)).len(), 1);
}

#[test]
fn a_worker_that_comes_back_keeps_what_it_has_and_the_rest_goes_to_others() {
    let mut bench = Bench::new();
    bench.join(1, 2, &[]);
    bench.submit(1, queueing());
    bench.submit(2, queueing());
    bench.cut(1);
    assert!(assigned(&bench.join(2, 2, &[])).is_empty());
    let held = vec![attempt(1, 1), attempt(9, 1)];
    let effects = bench.join_with(1, 2, &[], held);
    // Task 2 never got there: another attempt, which is not its last one used up.
    assert_eq!(assigned(&effects), [(worker(2), task(2), 2)]);
    assert_eq!(recalls(&effects), [(attempt(2, 1), Recalled::Lost), (attempt(9, 1), Recalled::Lost)]);
    assert_eq!(endings(&bench.done(1, 1, 1)).len(), 1);
    assert_eq!(endings(&bench.done(2, 2, 2)).len(), 1);
}

#[test]
fn an_attempt_of_another_number_is_recalled() {
    let mut bench = Bench::new();
    bench.join(1, 1, &[]);
    bench.submit(1, attempts(3));
    bench.report(1, 1, 1, Report::HandedBack);
    // The second attempt is on its way, and the worker still has the first.
    let effects = bench.join_with(1, 1, &[], vec![attempt(1, 1)]);
    assert_eq!(recalls(&effects), [(attempt(1, 2), Recalled::Lost), (attempt(1, 1), Recalled::Lost)]);
    assert_eq!(assigned(&effects), [(worker(1), task(1), 3)]);
}

#[test]
fn handing_back_counts_as_no_attempt() {
    let mut bench = Bench::new();
    bench.join(1, 1, &[]);
    bench.submit(1, attempts(2));
    for number in 1..=20 {
        assert_eq!(assigned(&bench.report(1, 1, number, Report::HandedBack)), [(worker(1), task(1), number + 1)]);
    }
    bench.fail(1, 1, 21);
    bench.pass(SECOND);
    let effects = bench.fail(1, 1, 22);
    assert!(matches!(endings(&effects)[..], [(_, Ending::Failed { attempt: 22, .. })]), "{effects:?}");
}

#[test]
fn handing_back_as_the_last_one_leaves() {
    let mut bench = Bench::new();
    bench.join(1, 1, &[]);
    bench.submit(1, TaskOptions::default());
    bench.submit(2, queueing());
    bench.tell(Input::Drain { worker: worker(1) });
    let effects = bench.report(1, 1, 1, Report::HandedBack);
    assert_eq!(endings(&effects), [(task(1), Ending::NoWorkers { attempts: 1 })]);
    assert_eq!(bench.listed(Listed::Live), [task(2)]);
}

#[test]
fn a_failure_pauses_ever_longer_and_ends_with_the_last_attempt() {
    let mut bench = Bench::new();
    bench.join(1, 1, &[]);
    let backoff = Backoff { first: SECOND, max: SECOND * 3 };
    bench.submit(1, TaskOptions { backoff, ..attempts(4) });
    for (number, pause) in [(1, 1), (2, 2), (3, 3)] {
        let effects = bench.fail(1, 1, number);
        assert!(endings(&effects).is_empty() && assigned(&effects).is_empty(), "{effects:?}");
        let pause = SECOND * pause - Duration::from_nanos(1);
        assert!(assigned(&bench.pass(pause)).is_empty());
        assert_eq!(assigned(&bench.pass(Duration::from_nanos(1))), [(worker(1), task(1), number + 1)]);
        bench.tell(Input::Renew { worker: worker(1) });
    }
    let ending = Ending::Failed { worker: worker(1), attempt: 4, code: "broken".into(), message: "it broke".into() };
    assert_eq!(endings(&bench.fail(1, 1, 4)), [(task(1), ending)]);
    assert_eq!(bench.info().counts.failed, 1);
}

#[test]
fn a_final_failure_ends_at_once() {
    let mut bench = Bench::new();
    bench.join(1, 1, &[]);
    bench.submit(1, attempts(9));
    assert_eq!(endings(&bench.report(1, 1, 1, failed(true))).len(), 1);
}

#[test]
fn reports_of_somebody_else_or_of_nothing_are_late() {
    let mut bench = Bench::new();
    bench.join(1, 1, &[]);
    bench.join(2, 1, &[]);
    bench.submit(1, queueing());
    assert!(is_late(&bench.done(2, 1, 1)));
    assert!(is_late(&bench.done(1, 1, 2)));
    assert!(is_late(&bench.done(1, 5, 1)));
    assert!(!is_late(&bench.done(1, 1, 1)));
    assert!(is_late(&bench.done(1, 1, 1)), "it ends once");
    assert_eq!(bench.info().counts.late, 4);
}

#[test]
fn without_progress_it_stalls_and_with_it_does_not() {
    let mut bench = Bench::new();
    bench.join(1, 1, &[]);
    bench.submit(1, TaskOptions { stall_timeout: Some(SECOND * 3), ..attempts(2) });
    for _ in 0..10 {
        assert!(recalls(&bench.pass_renewed(2, &[1])).is_empty());
        let effects = bench.tell(Input::Progress { worker: worker(1), attempt: attempt(1, 1), data: "x".into() });
        let [Effect::Progress { to, task: of, data }] = &effects[..] else { panic!("{effects:?}") };
        assert_eq!((&to[..], *of, &data[..]), (&[client(1)][..], task(1), &b"x"[..]));
    }
    let effects = bench.pass_renewed(3, &[1]);
    assert_eq!(recalls(&effects), [(attempt(1, 1), Recalled::Stalled)]);
    assert_eq!(assigned(&effects), [(worker(1), task(1), 2)]);
    let effects = bench.pass_renewed(3, &[1]);
    assert_eq!(endings(&effects), [(task(1), Ending::Stalled { worker: worker(1), attempt: 2 })]);
}

#[test]
fn progress_of_an_old_attempt_is_heard_by_nobody() {
    let mut bench = Bench::new();
    bench.join(1, 1, &[]);
    bench.submit(1, attempts(2));
    bench.report(1, 1, 1, Report::HandedBack);
    let progress = Input::Progress { worker: worker(1), attempt: attempt(1, 1), data: "x".into() };
    assert!(bench.tell(progress).is_empty());
}

#[test]
fn a_worker_that_leaves_loses_what_it_has() {
    let mut bench = Bench::new();
    bench.join(1, 2, &[]);
    bench.join(2, 1, &[]);
    bench.submit(1, attempts(2));
    let effects = bench.leave(1);
    assert_eq!(assigned(&effects), [(worker(2), task(1), 2)]);
    let effects = bench.leave(2);
    assert_eq!(endings(&effects), [(task(1), Ending::WorkerLost { worker: worker(2), attempt: 2 })]);
}

#[test]
fn a_result_that_is_too_large_is_a_failure_that_says_so() {
    let mut config = QueueConfig::default();
    config.limits.result_bytes_max = 3;
    let mut bench = Bench::of(config);
    bench.join(1, 1, &[]);
    bench.submit(1, attempts(2));
    let effects = bench.report(1, 1, 1, Report::Done("four".into()));
    let refused = "a result of 4 bytes for queue `q`; the limit is 3: store it elsewhere and return where it is, or \
                   alter `result_bytes_max`";
    assert_eq!(refusal(&effects), refused);
    let ending =
        Ending::Failed { worker: worker(1), attempt: 1, code: "result-too-large".into(), message: refused.into() };
    assert_eq!(endings(&effects), [(task(1), ending)]);
}

#[test]
fn what_a_worker_has_as_it_leaves_in_order_counts_as_no_attempt() {
    let mut bench = Bench::new();
    bench.join(1, 2, &[]);
    bench.submit(1, queueing());
    // It drops the task and leaves; in between it is handed the task anew.
    assert_eq!(assigned(&bench.report(1, 1, 1, Report::HandedBack)), [(worker(1), task(1), 2)]);
    let left = bench.tell(Input::Resign { worker: worker(1), connection: 101 });
    assert!(endings(&left).is_empty(), "{left:?}");
    assert_eq!(assigned(&bench.join(2, 1, &[])), [(worker(2), task(1), 3)]);
    assert_eq!(endings(&bench.done(2, 1, 3)), [(task(1), Ending::Done { worker: worker(2), attempt: 3 })]);
}
