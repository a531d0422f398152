//! The same submission twice: ids and idempotency keys.

use super::*;

fn keyed(key: &str) -> TaskOptions {
    TaskOptions { idempotency_key: Some(key.into()), ..queueing() }
}

fn accepted(of: u64, duplicate: bool) -> Answer {
    Answer::Accepted { task: task(of), duplicate }
}

#[test]
fn the_same_id_is_the_same_task() {
    let mut bench = Bench::new();
    bench.submit(1, queueing());
    assert_eq!(answer(&bench.submit_from(client(2), 1, queueing())).unwrap(), accepted(1, true));
    assert_eq!(bench.info().counts.accepted, 1);
    bench.join(1, 1, &[]);
    let effects = bench.done(1, 1, 1);
    let to = effects.iter().find_map(|effect| match effect {
        Effect::Ended { to, .. } => Some(to.clone()),
        _ => None,
    });
    assert_eq!(to, Some(vec![client(1), client(2)]), "both hear of it");
    let effects = bench.submit_from(client(3), 1, queueing());
    assert_eq!((answer(&effects).unwrap(), endings(&effects).len()), (accepted(1, true), 1));
}

#[test]
fn the_same_key_is_the_same_task_while_it_runs_and_after_it_has_ended() {
    let mut bench = Bench::new();
    bench.submit(1, keyed("k"));
    assert_eq!(answer(&bench.submit(2, keyed("k"))).unwrap(), accepted(1, true));
    bench.join(1, 1, &[]);
    bench.done(1, 1, 1);
    bench.release(1);
    bench.pass(QueueConfig::default().idempotency_kept - SECOND);
    let effects = bench.submit(3, keyed("k"));
    assert_eq!((answer(&effects).unwrap(), endings(&effects).len()), (accepted(1, true), 1));
    bench.pass(SECOND);
    assert_eq!(answer(&bench.submit(4, keyed("k"))).unwrap(), accepted(4, false));
}

#[test]
fn the_same_key_with_another_payload_or_of_somebody_else() {
    let mut bench = Bench::new();
    bench.submit(1, keyed("k"));
    let other = Spec { payload: "other".into(), ..spec(2, keyed("k")) };
    let taken = "queue `q` has another task with idempotency key `k` and another payload; choose another one";
    assert_eq!(refusal(&bench.tell(Input::Submit { asker: client(2), spec: other.into() })), taken);
    let hers = Spec { owner: "eve".into(), ..spec(3, keyed("k")) };
    assert_eq!(answer(&bench.tell(Input::Submit { asker: client(3), spec: hers.into() })).unwrap(), accepted(3, false));
    assert_eq!(answer(&bench.submit(4, keyed("l"))).unwrap(), accepted(4, false));
}

#[test]
fn keys_hold_across_restarts() {
    let mut bench = Bench::new();
    bench.submit(1, keyed("waits"));
    bench.submit(2, TaskOptions { priority: 200, ..keyed("ends") });
    bench.join(1, 1, &[]);
    bench.done(1, 2, 1);
    let mut bench = bench.restarted();
    assert_eq!(answer(&bench.submit(3, keyed("waits"))).unwrap(), accepted(1, true));
    let effects = bench.submit(4, keyed("ends"));
    assert_eq!((answer(&effects).unwrap(), endings(&effects).len()), (accepted(2, true), 1));
}

#[test]
fn a_key_is_free_when_its_task_is_forgotten() {
    let mut config = QueueConfig::default();
    config.limits.results_max = 1;
    let mut bench = Bench::of(config);
    bench.join(1, 1, &[]);
    bench.submit(1, keyed("k"));
    bench.done(1, 1, 1);
    bench.submit(2, keyed("l"));
    bench.done(1, 2, 1);
    assert_eq!(answer(&bench.submit(3, keyed("k"))).unwrap(), accepted(3, false));
    assert_eq!(bench.scheduler.keys.len(), 2);
}
