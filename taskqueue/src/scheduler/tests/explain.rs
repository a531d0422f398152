//! Why a task waits.

use super::*;
use crate::{Reason, TaskState};

fn reasons(bench: &Bench, of: u64) -> Vec<Reason> {
    bench.scheduler.explain(task(of), bench.now).expect("it is known").reasons
}

fn tagged(tags: &[&str]) -> TaskOptions {
    TaskOptions { tags: tags.iter().map(|tag| (*tag).to_owned()).collect(), ..queueing() }
}

#[test]
fn every_reason() {
    let mut bench = Bench::new();
    bench.submit(1, queueing());
    assert_eq!(reasons(&bench, 1), [Reason::NoWorker]);
    bench.join(1, 1, &["arm"]);
    assert_eq!(reasons(&bench, 1), [], "it runs");
    bench.submit(2, tagged(&["arm", "gpu", "big"]));
    assert_eq!(reasons(&bench, 2), [Reason::NoTag { missing: vec!["big".into(), "gpu".into()] }]);
    bench.submit(3, queueing());
    bench.submit(4, queueing());
    assert_eq!(reasons(&bench, 4), [Reason::NoCredit { workers: 1 }, Reason::Behind { tasks: 1 }]);
    bench.cut(1);
    assert_eq!(reasons(&bench, 3), [Reason::CutOff { workers: 1 }]);
    bench.join_with(1, 1, &["arm"], vec![attempt(1, 1)]);
    bench.tell(Input::Drain { worker: worker(1) });
    assert_eq!(reasons(&bench, 3), [Reason::Draining { workers: 1 }]);
    bench.submit(5, TaskOptions { delay: Some(SECOND * 5), ..queueing() });
    bench.pass(SECOND);
    assert_eq!(reasons(&bench, 5), [Reason::Delayed { left: SECOND * 4 }]);
}

#[test]
fn between_attempts_and_no_single_worker() {
    let mut bench = Bench::new();
    bench.join(1, 1, &["a"]);
    bench.join(2, 1, &["b"]);
    bench.submit(1, tagged(&["a", "b"]));
    assert_eq!(reasons(&bench, 1), [Reason::NoTag { missing: Vec::new() }], "each tag is there, but not in one place");
    bench.submit(2, attempts(2));
    bench.fail(1, 2, 1);
    assert_eq!(reasons(&bench, 2), [Reason::BetweenAttempts { left: SECOND }]);
}

#[test]
fn of_a_task_that_has_ended_and_of_none() {
    let mut bench = Bench::new();
    bench.join(1, 1, &[]);
    bench.submit(1, queueing());
    bench.fail(1, 1, 1);
    let explained = bench.scheduler.explain(task(1), bench.now).expect("it can be fetched");
    assert!(matches!(explained.info.state, TaskState::Ended { .. }) && explained.reasons.is_empty(), "{explained:?}");
    bench.release(1);
    let explained = bench.scheduler.explain(task(1), bench.now).expect("it is a dead letter");
    assert!(matches!(explained.info.state, TaskState::Dead { .. }), "{explained:?}");
    assert!(bench.scheduler.explain(task(7), bench.now).is_err());
}

#[test]
fn who_goes_before_it_is_counted_up_to_a_bound() {
    let mut bench = Bench::new();
    let submit = |number| Input::Submit { asker: client(number), spec: spec(number, queueing()).into() };
    let count = crate::scheduler::look::BEHIND_MAX as u64 + 10;
    bench.join(1, 1, &[]);
    bench.tell_all((0..=count + 1).map(submit).collect());
    let Reason::Behind { tasks } = reasons(&bench, count + 1)[1] else { panic!("others go before it") };
    assert_eq!(tasks, crate::scheduler::look::BEHIND_MAX as u64);
}
