//! Who gets what, and in which order.

use super::*;

#[test]
fn three_workers_get_a_thousand_each_in_turn() {
    let mut bench = Bench::new();
    for number in 0..3 {
        bench.join(number, 1, &[]);
    }
    let mut handed = Vec::new();
    for number in 0..3_000 {
        let effects = bench.submit(number, TaskOptions::default());
        let [(by, of, attempt)] = assigned(&effects)[..] else { panic!("{effects:?}") };
        handed.push(by);
        let attempt = Attempt { task: of, number: attempt };
        bench.tell(Input::Report { asker: of_worker(0), worker: by, attempt, report: Report::Done(Bytes::new()) });
    }
    for (at, by) in handed.iter().enumerate() {
        assert_eq!(*by, worker(at as u64 % 3), "in turn");
    }
}

#[test]
fn a_batch_for_three_workers_goes_in_turn_too() {
    let mut bench = Bench::new();
    for number in 0..3 {
        bench.join(number, 1_000, &[]);
    }
    let submit = |number| Input::Submit { asker: client(number), spec: spec(number, TaskOptions::default()).into() };
    let effects = bench.tell_all((0..3_000).map(submit).collect());
    let handed = assigned(&effects);
    assert_eq!(handed.len(), 3_000);
    for (at, (by, of, _)) in handed.iter().enumerate() {
        assert_eq!((*by, *of), (worker(at as u64 % 3), task(at as u64)), "in turn, in the order of acceptance");
    }
}

#[test]
fn nobody_has_more_than_its_credit() {
    let mut bench = Bench::new();
    bench.join(1, 2, &[]);
    for number in 1..=3 {
        bench.submit(number, queueing());
    }
    assert_eq!((bench.info().running, bench.info().waiting), (2, 1));
    assert_eq!(assigned(&bench.done(1, 1, 1)), [(worker(1), task(3), 1)]);
}

#[test]
fn who_has_credit_left_gets_more_than_who_has_none() {
    let mut bench = Bench::new();
    bench.join(1, 1, &[]);
    bench.join(2, 3, &[]);
    let effects: Vec<_> = (1..=5).flat_map(|number| bench.submit(number, queueing())).collect();
    let by: Vec<_> = assigned(&effects).into_iter().map(|(by, ..)| by).collect();
    assert_eq!(by, [worker(1), worker(2), worker(2), worker(2)]);
}

#[test]
fn higher_priorities_go_first_then_who_came_first() {
    let mut bench = Bench::new();
    for (number, priority) in [(1, 100), (2, 7), (3, 200), (4, 100), (5, 200), (6, 0), (7, 255)] {
        bench.submit(number, TaskOptions { priority, ..queueing() });
    }
    let order = assigned(&bench.join(1, 7, &[]));
    assert_eq!(order.into_iter().map(|(_, of, _)| of).collect::<Vec<_>>(), [7, 3, 5, 1, 4, 2, 6].map(task));
}

#[test]
fn a_delay_is_kept_and_then_the_order_of_acceptance() {
    let mut bench = Bench::new();
    bench.submit(1, TaskOptions { delay: Some(SECOND * 2), ..queueing() });
    bench.submit(2, TaskOptions { delay: Some(SECOND), ..queueing() });
    bench.join(1, 1, &[]);
    assert_eq!(bench.info().delayed, 2);
    assert!(assigned(&bench.pass_renewed(0, &[1])).is_empty());
    assert!(assigned(&bench.pass(SECOND - Duration::from_nanos(1))).is_empty());
    assert_eq!(assigned(&bench.pass(Duration::from_nanos(1))), [(worker(1), task(2), 1)]);
    bench.pass(SECOND);
    bench.submit(3, queueing());
    assert_eq!(assigned(&bench.done(1, 2, 1)), [(worker(1), task(1), 1)], "it was accepted before the third");
}

#[test]
fn a_task_goes_only_to_who_has_all_of_its_tags_and_holds_up_none_behind_it() {
    let mut bench = Bench::new();
    let tagged = |tags: &[&str]| TaskOptions {
        tags: tags.iter().map(|tag| (*tag).into()).collect(),
        priority: 255,
        ..queueing()
    };
    bench.submit(1, tagged(&["gpu"]));
    bench.submit(2, tagged(&["gpu", "arm"]));
    bench.submit(3, queueing());
    assert_eq!(assigned(&bench.join(1, 9, &["arm"])), [(worker(1), task(3), 1)]);
    assert_eq!(assigned(&bench.join(2, 9, &["gpu", "big"])), [(worker(2), task(1), 1)]);
    assert_eq!(assigned(&bench.join(3, 9, &["gpu", "arm", "big"])), [(worker(3), task(2), 1)]);
}

#[test]
fn the_order_and_the_number_of_tags_do_not_matter() {
    let mut bench = Bench::new();
    let tags = ["b", "a", "b"].map(str::to_owned).to_vec();
    bench.submit(1, TaskOptions { tags, ..queueing() });
    assert_eq!(assigned(&bench.join(1, 1, &["c", "b", "a", "a"])), [(worker(1), task(1), 1)]);
}

#[test]
fn who_drains_gets_no_more_and_finishes_what_it_has() {
    let mut bench = Bench::new();
    bench.join(1, 2, &[]);
    bench.submit(1, queueing());
    bench.tell(Input::Drain { worker: worker(1) });
    assert!(assigned(&bench.submit(2, queueing())).is_empty());
    assert_eq!(endings(&bench.done(1, 1, 1)), [(task(1), Ending::Done { worker: worker(1), attempt: 1 })]);
    assert_eq!(bench.leave(1).len(), 0);
    assert_eq!(assigned(&bench.join(2, 2, &[])), [(worker(2), task(2), 1)]);
}

#[test]
fn who_is_cut_off_gets_no_more() {
    let mut bench = Bench::new();
    bench.join(1, 2, &[]);
    bench.cut(1);
    assert!(assigned(&bench.submit(1, TaskOptions::default())).is_empty(), "it may come back within its lease");
    assert_eq!(assigned(&bench.join(1, 2, &[])), [(worker(1), task(1), 1)]);
}

#[test]
fn a_cut_of_an_older_connection_changes_nothing() {
    let mut bench = Bench::new();
    bench.join(1, 2, &[]);
    let newer = Asker { connection: 900, call: 1 };
    let effects = bench.join_from(newer, 1, 2, &[], Vec::new());
    let [Effect::Dismissed { to, why: Error::Replaced { .. } }, Effect::Answer { .. }] = &effects[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(*to, of_worker(1));
    bench.cut(1);
    bench.leave(1);
    let effects = bench.submit(1, TaskOptions::default());
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Assign { to, .. } if *to == newer)), "{effects:?}");
}
