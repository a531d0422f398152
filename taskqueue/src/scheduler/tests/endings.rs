//! How tasks end that no worker ends: deadlines, cancels, clients that go away, nobody to do them.

use super::*;

#[test]
fn a_result_reaches_who_submitted_once() {
    let mut bench = Bench::new();
    bench.join(1, 1, &[]);
    bench.submit(1, TaskOptions::default());
    let effects = bench.done(1, 1, 1);
    let [Effect::Ended { to, task: of, outcome }, Effect::Answer { .. }] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!((&to[..], *of), (&[client(1)][..], task(1)));
    assert_eq!(outcome.ending, Ending::Done { worker: worker(1), attempt: 1 });
    assert_eq!(&outcome.body[..], b"r");
    assert!(endings(&bench.done(1, 1, 1)).is_empty());
}

#[test]
fn a_deadline_ends_what_waits_and_what_runs() {
    let mut bench = Bench::new();
    bench.join(1, 1, &[]);
    let options = TaskOptions { deadline: Some(SECOND * 3), ..attempts(5) };
    let effects = bench.submit(1, options.clone());
    let told = |effect: &Effect| matches!(effect, Effect::Assign { deadline: Some(left), .. } if *left == SECOND * 3);
    assert!(effects.iter().any(told), "{effects:?}");
    bench.submit(2, options);
    bench.pass(SECOND * 2);
    assert_eq!(bench.info().running, 1);
    let effects = bench.pass(SECOND);
    let ended = |of, attempts| (task(of), Ending::DeadlineExceeded { attempts });
    assert_eq!(endings(&effects), [ended(1, 1), ended(2, 0)]);
    assert_eq!(recalls(&effects), [(attempt(1, 1), Recalled::DeadlineExceeded)]);
    assert_eq!(bench.info().counts.deadline_exceeded, 2);
    assert!(is_late(&bench.done(1, 1, 1)));
}

#[test]
fn a_deadline_comes_before_what_is_told_at_that_moment() {
    let mut bench = Bench::new();
    bench.join(1, 1, &[]);
    bench.submit(1, TaskOptions { deadline: Some(SECOND), ..queueing() });
    bench.now = bench.now + SECOND;
    assert!(is_late(&bench.done(1, 1, 1)));
}

#[test]
fn cancelling_ends_what_waits_what_is_delayed_and_what_runs() {
    let mut bench = Bench::new();
    bench.join(1, 1, &[]);
    bench.submit(1, attempts(3));
    bench.submit(2, queueing());
    bench.submit(3, TaskOptions { delay: Some(SECOND), ..queueing() });
    for (of, attempts) in [(3, 0), (2, 0), (1, 1)] {
        let effects = bench.cancel(of);
        assert_eq!(endings(&effects), [(task(of), Ending::Cancelled { attempts })]);
        assert_eq!(answer(&effects).unwrap(), Answer::Cancelled { had_ended: false });
        let recalled = recalls(&effects);
        assert_eq!(recalled, if of == 1 { vec![(attempt(1, 1), Recalled::Cancelled)] } else { Vec::new() });
        assert_eq!(answer(&bench.cancel(of)).unwrap(), Answer::Cancelled { had_ended: true });
    }
    assert!(bench.pass_renewed(5, &[1]).is_empty());
    assert!(is_late(&bench.done(1, 1, 1)));
    assert_eq!(bench.info().counts.cancelled, 3);
    assert!(refusal(&bench.cancel(7)).starts_with("queue `q` knows no task "), "never there");
}

#[test]
fn a_slot_that_a_cancel_frees_is_used() {
    let mut bench = Bench::new();
    bench.join(1, 1, &[]);
    bench.submit(1, queueing());
    bench.submit(2, queueing());
    assert_eq!(assigned(&bench.cancel(1)), [(worker(1), task(2), 1)]);
}

#[test]
fn only_its_own_or_who_may_manage() {
    let mut bench = Bench::new();
    bench.submit(1, queueing());
    let (asker, task, other) = (client(5), task(1), Some("eve".into()));
    let refused =
        format!("task {task} of queue `q` was submitted by somebody else; that needs the permission `task.manage`");
    assert_eq!(refusal(&bench.tell(Input::Cancel { asker: Some(asker), task, owner: other.clone() })), refused);
    assert_eq!(refusal(&bench.tell(Input::Attach { asker, task, owner: other })), refused);
    let spec = Spec { owner: "eve".into(), ..spec(1, queueing()) };
    let taken = "queue `q` has another task with this id; choose another one";
    assert_eq!(refusal(&bench.tell(Input::Submit { asker, spec: spec.into() })), taken);
    assert!(answer(&bench.tell(Input::Cancel { asker: Some(asker), task, owner: None })).is_ok());
}

#[test]
fn what_a_client_waits_for_is_cancelled_when_it_goes_away() {
    let mut bench = Bench::new();
    bench.join(1, 1, &[]);
    bench.submit(1, queueing());
    bench.submit(2, TaskOptions { detached: true, ..queueing() });
    bench.submit(3, queueing());
    bench.attach(Asker { connection: 2, call: 1 }, 3);
    bench.submit(4, queueing());
    bench.tell(Input::Detach { asker: client(50), call: 4, task: task(4) });
    let effects = bench.tell(Input::Gone { connection: 1 });
    assert_eq!(recalls(&effects), [(attempt(1, 1), Recalled::Cancelled)]);
    assert_eq!(bench.listed(Listed::Live), [task(2), task(3), task(4)]);
    bench.tell(Input::Gone { connection: 2 });
    assert_eq!(bench.listed(Listed::Live), [task(2), task(4)]);
}

#[test]
fn who_detaches_hears_no_more_and_can_fetch_it() {
    let mut bench = Bench::new();
    bench.join(1, 1, &[]);
    bench.submit(1, queueing());
    bench.tell(Input::Detach { asker: client(50), call: 1, task: task(1) });
    bench.tell(Input::Gone { connection: 1 });
    assert!(endings(&bench.done(1, 1, 1)).is_empty());
    bench.pass(SECOND * 3_599);
    let effects = bench.attach(Asker { connection: 2, call: 1 }, 1);
    assert_eq!(endings(&effects), [(task(1), Ending::Done { worker: worker(1), attempt: 1 })]);
    bench.pass(SECOND);
    assert!(refusal(&bench.attach(client(60), 1)).starts_with("queue `q` knows no task "));
}

#[test]
fn only_who_waits_for_a_task_can_detach_it() {
    let mut bench = Bench::new();
    bench.submit(1, queueing());
    assert!(answer(&bench.tell(Input::Detach { asker: client(50), call: 2, task: task(1) })).is_err());
    let of_another = Asker { connection: 2, call: 1 };
    assert!(answer(&bench.tell(Input::Detach { asker: of_another, call: 1, task: task(1) })).is_err());
    bench.tell(Input::Gone { connection: 1 });
    assert!(bench.listed(Listed::Live).is_empty());
}

#[test]
fn nobody_there_is_told_at_once() {
    let mut bench = Bench::new();
    let refused = refusal(&bench.submit(1, TaskOptions::default()));
    let advice = "start a worker, or submit it so that it waits for one (`queueing`)";
    assert_eq!(refused, format!("nobody works on queue `q`; {advice}"));
    bench.join(1, 1, &["arm"]);
    let tagged = TaskOptions { tags: vec!["gpu".into()], ..TaskOptions::default() };
    assert_eq!(refusal(&bench.submit(1, tagged)), format!("nobody works on queue `q` with the tags gpu; {advice}"));
    bench.tell(Input::Drain { worker: worker(1) });
    assert!(answer(&bench.submit(1, TaskOptions::default())).is_err());
    assert_eq!(bench.info().counts.accepted, 0);
}

#[test]
fn what_waits_for_nobody_ends_when_the_last_one_leaves() {
    let mut bench = Bench::new();
    bench.join(1, 1, &[]);
    bench.join(2, 1, &["gpu"]);
    for number in 1..=2 {
        bench.submit(number, queueing());
    }
    bench.submit(3, TaskOptions::default());
    let gpu = TaskOptions { tags: vec!["gpu".into()], ..TaskOptions::default() };
    bench.submit(4, gpu);
    assert_eq!(
        endings(&bench.leave(2)),
        [(task(2), Ending::WorkerLost { worker: worker(2), attempt: 1 }), (task(4), Ending::NoWorkers { attempts: 0 }),]
    );
    let effects = bench.leave(1);
    assert_eq!(
        endings(&effects),
        [(task(1), Ending::WorkerLost { worker: worker(1), attempt: 1 }), (task(3), Ending::NoWorkers { attempts: 0 }),]
    );
    assert_eq!(bench.info().counts.no_workers, 2);
}

#[test]
fn what_is_delayed_needs_somebody_only_then() {
    let mut bench = Bench::new();
    bench.submit(1, TaskOptions { delay: Some(SECOND), ..TaskOptions::default() });
    assert_eq!(endings(&bench.pass(SECOND)), [(task(1), Ending::NoWorkers { attempts: 0 })]);
    bench.join(1, 1, &[]);
    bench.submit(2, TaskOptions { attempts_max: 2, ..TaskOptions::default() });
    bench.fail(1, 2, 1);
    bench.leave(1);
    assert_eq!(bench.info().delayed, 1);
    assert_eq!(endings(&bench.pass(SECOND)), [(task(2), Ending::NoWorkers { attempts: 1 })]);
}
