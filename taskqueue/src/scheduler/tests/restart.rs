//! What a queue is after its server has restarted.

use super::*;

#[test]
fn what_ran_runs_on_when_its_worker_comes_back() {
    let mut bench = Bench::new();
    bench.join(1, 1, &[]);
    bench.submit(1, attempts(2));
    let mut bench = bench.restarted();
    assert!(bench.pass(SECOND * 5).is_empty());
    let effects = bench.join_with(1, 1, &[], vec![attempt(1, 1)]);
    assert_eq!((assigned(&effects).len(), recalls(&effects).len()), (0, 0));
    bench.attach(client(8), 1);
    assert_eq!(endings(&bench.done(1, 1, 1)), [(task(1), Ending::Done { worker: worker(1), attempt: 1 })]);
}

#[test]
fn nobody_else_comes_back_in_the_place_of_a_worker() {
    let mut bench = Bench::new();
    bench.join(1, 1, &[]);
    bench.submit(1, attempts(2));
    let mut bench = bench.restarted();
    let (id, owner) = (worker(1), "eve".into());
    let spec = WorkerSpec { id, owner, name: "w".into(), tags: Vec::new(), credit: 1 };
    let held = vec![attempt(1, 1)];
    let effects = bench.tell(Input::Join { asker: client(50), worker: spec.into(), held });
    assert!(matches!(answer(&effects), Err(Error::Invalid { .. })), "{effects:?}");
    let effects = bench.join_with(1, 1, &[], vec![attempt(1, 1)]);
    assert_eq!((assigned(&effects).len(), recalls(&effects).len()), (0, 0));
}

#[test]
fn what_ran_goes_to_others_when_its_worker_stays_away() {
    let mut bench = Bench::new();
    bench.join(1, 1, &[]);
    bench.submit(1, attempts(2));
    let mut bench = bench.restarted();
    bench.join(2, 1, &[]);
    let lease = QueueConfig::default().lease;
    assert!(assigned(&bench.pass(lease - Duration::from_nanos(1))).is_empty());
    bench.tell(Input::Renew { worker: worker(2) });
    assert_eq!(assigned(&bench.pass(Duration::from_nanos(1))), [(worker(2), task(1), 2)]);
}

#[test]
fn nothing_ends_for_want_of_workers_while_they_may_be_on_their_way_back() {
    let mut bench = Bench::new();
    bench.join(1, 1, &[]);
    bench.submit(1, queueing());
    bench.submit(2, TaskOptions::default());
    let mut bench = bench.restarted();
    assert!(answer(&bench.submit(3, TaskOptions::default())).is_ok());
    for call in 2..=3 {
        bench.attach(client(10 + call), call);
    }
    bench.join(2, 1, &["else"]);
    bench.leave(2);
    let lease = QueueConfig::default().lease;
    assert!(endings(&bench.pass(lease - Duration::from_nanos(1))).iter().all(|(of, _)| *of == task(2)));
    let effects = bench.pass(Duration::from_nanos(1));
    assert_eq!(endings(&effects), [(task(3), Ending::NoWorkers { attempts: 0 })]);
    assert!(answer(&bench.submit(4, TaskOptions::default())).is_err());
}

#[test]
fn a_queue_that_was_empty_gives_its_workers_time_to_come_back_too() {
    let mut bench = Bench::new();
    bench.join(1, 1, &[]);
    let mut bench = bench.restarted();
    assert!(answer(&bench.submit(1, TaskOptions::default())).is_ok());
    assert_eq!(assigned(&bench.join(1, 1, &[])), [(worker(1), task(1), 1)]);
}

#[test]
fn who_waited_is_given_time_to_come_back() {
    let mut bench = Bench::new();
    bench.submit(1, queueing());
    bench.submit(2, TaskOptions { detached: true, ..queueing() });
    bench.submit(3, queueing());
    let mut bench = bench.restarted();
    bench.attach(client(8), 3);
    bench.pass(FETCHED_WITHIN - Duration::from_nanos(1));
    assert_eq!(bench.listed(Listed::Live), [1, 2, 3].map(task));
    bench.pass(Duration::from_nanos(1));
    assert_eq!(bench.listed(Listed::Live), [2, 3].map(task));
}

#[test]
fn an_id_that_was_forgotten_and_came_again_is_there_after_a_restart() {
    let mut bench = Bench::new();
    bench.join(1, 1, &[]);
    bench.submit(1, queueing());
    bench.done(1, 1, 1);
    bench.release(1);
    let again = bench.submit(1, TaskOptions { priority: 7, ..queueing() });
    assert_eq!(answer(&again).unwrap(), Answer::Accepted { task: task(1), duplicate: false });
    let bench = bench.restarted();
    assert_eq!(bench.listed(Listed::Live), [task(1)]);
    assert_eq!(bench.info().ended, 0);
}

#[test]
fn what_was_released_does_not_push_out_what_is_kept() {
    let mut config = QueueConfig::default();
    config.limits.results_max = 3;
    let mut bench = Bench::of(config);
    bench.join(1, 1, &[]);
    bench.submit(1, TaskOptions { detached: true, ..queueing() });
    bench.done(1, 1, 1);
    for number in 2..20 {
        bench.submit(number, queueing());
        bench.done(1, number, 1);
        bench.release(number);
    }
    assert_eq!(bench.listed(Listed::Ended), [task(1)]);
    let bench = bench.restarted();
    assert!(bench.listed(Listed::Ended).contains(&task(1)));
}

#[test]
fn what_was_delayed_is_delayed_by_what_is_left() {
    let mut bench = Bench::new();
    bench.submit(1, TaskOptions { delay: Some(SECOND * 5), detached: true, ..queueing() });
    bench.pass(SECOND * 3);
    let mut bench = bench.restarted();
    bench.join(1, 1, &[]);
    assert!(assigned(&bench.pass(SECOND)).is_empty());
    assert_eq!(assigned(&bench.pass(SECOND)), [(worker(1), task(1), 1)]);
}
