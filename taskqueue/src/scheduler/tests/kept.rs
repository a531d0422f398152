//! Outcomes that can be fetched, and dead letters.

use super::*;

fn fetch(bench: &mut Bench, of: u64) -> Option<Ending> {
    let effects = bench.attach(client(500), of);
    endings(&effects).pop().map(|(_, ending)| ending)
}

/// So many tasks that are done, and that nobody has heard of yet.
fn with_done(config: QueueConfig, options: &TaskOptions, count: u64) -> Bench {
    let mut bench = Bench::of(config);
    bench.join(1, 1, &[]);
    for number in 1..=count {
        bench.submit(number, options.clone());
        bench.done(1, number, 1);
    }
    bench
}

#[test]
fn an_outcome_waits_for_who_submitted_it_until_it_is_released() {
    let mut bench = with_done(QueueConfig::default(), &queueing(), 1);
    let done = Ending::Done { worker: worker(1), attempt: 1 };
    assert_eq!(fetch(&mut bench, 1), Some(done.clone()));
    assert_eq!(fetch(&mut bench, 1), Some(done));
    bench.tell(Input::Release { task: task(1), owner: "eve".into() });
    assert!(fetch(&mut bench, 1).is_some(), "it is not hers");
    bench.release(1);
    assert_eq!(fetch(&mut bench, 1), None);
    assert_eq!((bench.info().ended, bench.info().ended_bytes), (0, 0));
}

#[test]
fn nobody_asks_for_it_and_it_is_forgotten() {
    let mut bench = with_done(QueueConfig::default(), &queueing(), 1);
    bench.pass(FETCHED_WITHIN - Duration::from_nanos(1));
    assert!(fetch(&mut bench, 1).is_some());
    bench.pass(Duration::from_nanos(1));
    assert_eq!(fetch(&mut bench, 1), None);
    assert_eq!(bench.info().counts.results_forgotten, 0, "its time had come");
}

#[test]
fn it_is_kept_as_long_as_was_asked_for() {
    let kept = TaskOptions { result_kept: Some(SECOND * 100), ..queueing() };
    let mut bench = with_done(QueueConfig::default(), &kept, 1);
    bench.release(1);
    bench.pass(SECOND * 99);
    assert!(fetch(&mut bench, 1).is_some());
    bench.pass(SECOND);
    assert_eq!(fetch(&mut bench, 1), None);
}

#[test]
fn beyond_the_limits_outcomes_are_forgotten_and_counted() {
    let mut config = QueueConfig::default();
    config.limits.results_max = 2;
    let bench = with_done(config.clone(), &queueing(), 4);
    assert_eq!(bench.listed(Listed::Ended), [task(3), task(4)]);
    assert_eq!(bench.info().counts.results_forgotten, 2);
    (config.limits.results_max, config.limits.results_bytes_max) = (100, 3);
    let mut bench = with_done(config, &queueing(), 5);
    assert_eq!(bench.listed(Listed::Ended), [3, 4, 5].map(task));
    assert_eq!((bench.info().ended_bytes, bench.info().counts.results_forgotten), (3, 2));
    assert_eq!(fetch(&mut bench, 2), None);
}

/// So many dead letters.
fn with_dead(config: QueueConfig, count: u64) -> Bench {
    let mut bench = Bench::of(config);
    bench.join(1, 1, &[]);
    for number in 1..=count {
        bench.submit(number, queueing());
        bench.fail(1, number, 1);
        bench.release(number);
    }
    bench
}

#[test]
fn what_failed_for_good_is_a_dead_letter_where_it_was_queueing_or_detached() {
    let mut bench = Bench::new();
    bench.join(1, 1, &[]);
    let keeps = |options: TaskOptions, is_kept| (options, is_kept);
    let cases = [
        keeps(TaskOptions::default(), false),
        keeps(queueing(), true),
        keeps(TaskOptions { detached: true, ..TaskOptions::default() }, true),
        keeps(TaskOptions { dead_letter: Some(true), ..TaskOptions::default() }, true),
        keeps(TaskOptions { dead_letter: Some(false), ..queueing() }, false),
    ];
    for (number, (options, is_kept)) in (1..).zip(cases) {
        bench.submit(number, options);
        bench.fail(1, number, 1);
        assert_eq!(bench.listed(Listed::Dead).contains(&task(number)), is_kept, "case {number}");
    }
    bench.submit(9, queueing());
    bench.done(1, 9, 1);
    bench.submit(10, queueing());
    bench.cancel(10);
    assert_eq!(bench.info().dead, 3, "what is done or cancelled is no dead letter");
}

#[test]
fn lost_and_stalled_ones_are_dead_letters_too() {
    let mut bench = Bench::new();
    bench.join(1, 2, &[]);
    bench.submit(1, TaskOptions { stall_timeout: Some(SECOND), ..queueing() });
    bench.submit(2, queueing());
    bench.pass(SECOND);
    bench.leave(1);
    assert_eq!(bench.listed(Listed::Dead), [task(1), task(2)]);
}

#[test]
fn a_dead_letter_is_shown_tried_again_and_dropped() {
    let mut bench = with_dead(QueueConfig::default(), 2);
    assert_eq!(bench.listed(Listed::Ended), []);
    assert_eq!(&bench.scheduler.payload(task(1)).unwrap()[..], b"p");
    let retry = Input::RetryDead { asker: client(9), task: task(1), as_task: task(11) };
    let effects = bench.tell(retry.clone());
    assert_eq!(assigned(&effects), [(worker(1), task(11), 1)]);
    assert_eq!(answer(&effects).unwrap(), Answer::Accepted { task: task(11), duplicate: false });
    assert_eq!(bench.listed(Listed::Dead), [task(2)]);
    assert!(answer(&bench.tell(retry)).is_err());
    let drop = Input::DropDead { asker: client(9), task: task(2) };
    assert!(answer(&bench.tell(drop.clone())).is_ok());
    let none = format!("queue `q` has no dead letter {}; see `sinew task dead list q`", task(2));
    assert_eq!(refusal(&bench.tell(drop)), none);
    assert_eq!((bench.info().dead, bench.info().dead_bytes), (0, 0));
    bench.tell(Input::Gone { connection: 1 });
    assert_eq!(bench.listed(Listed::Live), [task(11)], "nobody waits for it, and it goes on");
}

#[test]
fn dead_letters_go_at_their_time_or_make_room_and_are_counted() {
    let mut config = QueueConfig::default();
    config.limits.dead_max = 2;
    config.dead_kept = SECOND * 5;
    let mut bench = with_dead(config, 3);
    assert_eq!(bench.listed(Listed::Dead), [task(2), task(3)]);
    assert_eq!(bench.info().counts.dead_forgotten, 1);
    // Those that died at one moment are a nanosecond apart.
    bench.pass(SECOND * 5 + Duration::from_nanos(3));
    assert_eq!((bench.info().dead, bench.info().counts.dead_forgotten), (0, 1));
}
