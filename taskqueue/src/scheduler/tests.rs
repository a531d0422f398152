//! The rules, one by one.

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::TaskOptions;

const SECOND: Duration = Duration::from_secs(1);

/// A queue with a hand on the time.
struct Bench {
    scheduler: Scheduler,
    now: Moment,
}

fn task(number: u64) -> TaskId {
    TaskId::of(7, number)
}

fn worker(number: u64) -> WorkerId {
    WorkerId::of(9, number)
}

fn client(call: u32) -> Asker {
    Asker { connection: 1, call }
}

fn of_worker(number: u64) -> Asker {
    Asker { connection: 100 + number, call: 1 }
}

impl Bench {
    fn new() -> Self {
        Self { scheduler: Scheduler::new("q", QueueConfig::default()), now: Moment(1_000_000_000) }
    }

    fn tell(&mut self, input: Input) -> Vec<Effect> {
        let mut out = Output { records: Some(Vec::new()), effects: Vec::new() };
        self.scheduler.handle(self.now, vec![input], &mut out);
        out.effects
    }

    /// Time passes, and what is due is done on the way.
    fn pass(&mut self, span: Duration) -> Vec<Effect> {
        let until = self.now + span;
        let mut out = Output { records: Some(Vec::new()), effects: Vec::new() };
        while let Some(at) = self.scheduler.next_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.scheduler.handle_timeout(self.now, &mut out);
        }
        self.now = until;
        out.effects
    }

    fn submit(&mut self, number: u64, options: TaskOptions) -> Vec<Effect> {
        let (id, owner, payload) = (task(number), "ada".into(), Bytes::from_static(b"p"));
        let spec = Spec { id, owner, submitted: Moment::default(), options, payload, fingerprint: 0 };
        self.tell(Input::Submit { asker: client(number as u32), spec })
    }

    fn join(&mut self, number: u64, credit: u32, tags: &[&str]) -> Vec<Effect> {
        self.join_with(number, credit, tags, Vec::new())
    }

    fn join_with(&mut self, number: u64, credit: u32, tags: &[&str], held: Vec<Attempt>) -> Vec<Effect> {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        let spec = WorkerSpec { id: worker(number), owner: "bob".into(), name: "w".into(), tags, credit };
        self.tell(Input::Join { asker: of_worker(number), worker: spec, held })
    }

    fn report(&mut self, by: u64, of: u64, number: u32, report: Report) -> Vec<Effect> {
        let attempt = Attempt { task: task(of), number };
        self.tell(Input::Report { asker: of_worker(by), worker: worker(by), attempt, report })
    }

    fn done(&mut self, by: u64, of: u64, number: u32) -> Vec<Effect> {
        self.report(by, of, number, Report::Done(Bytes::from_static(b"r")))
    }
}

/// What was handed out: worker, task, attempt.
fn assigned(effects: &[Effect]) -> Vec<(WorkerId, TaskId, u32)> {
    let assigned = effects.iter().filter_map(|effect| match effect {
        Effect::Assign { worker, spec, number, .. } => Some((*worker, spec.id, *number)),
        _ => None,
    });
    assigned.collect()
}

fn endings(effects: &[Effect]) -> Vec<(TaskId, Ending)> {
    let endings = effects.iter().filter_map(|effect| match effect {
        Effect::Ended { task, outcome, .. } => Some((*task, outcome.ending.clone())),
        _ => None,
    });
    endings.collect()
}

fn queueing() -> TaskOptions {
    TaskOptions { queueing: true, ..TaskOptions::default() }
}

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
        bench.tell(Input::Report {
            asker: of_worker(0),
            worker: by,
            attempt: Attempt { task: of, number: attempt },
            report: Report::Done(Bytes::new()),
        });
    }
    for (at, by) in handed.iter().enumerate() {
        assert_eq!(*by, worker(at as u64 % 3), "in turn");
    }
}

#[test]
fn a_result_reaches_who_submitted_once() {
    let mut bench = Bench::new();
    bench.join(1, 1, &[]);
    bench.submit(1, TaskOptions::default());
    let effects = bench.done(1, 1, 1);
    assert_eq!(endings(&effects), [(task(1), Ending::Done { worker: worker(1), attempt: 1 })]);
    let effects = bench.done(1, 1, 1);
    assert!(matches!(effects[..], [Effect::Answer { answer: Ok(Answer::Settled { late: true }), .. }]), "{effects:?}");
}

#[test]
fn nobody_there_is_told_at_once() {
    let mut bench = Bench::new();
    let effects = bench.submit(1, TaskOptions::default());
    assert!(matches!(&effects[..], [Effect::Answer { answer: Err(Error::NoWorkers { .. }), .. }]), "{effects:?}");
    assert!(assigned(&bench.submit(2, queueing())).is_empty());
    assert_eq!(assigned(&bench.join(1, 1, &[])), [(worker(1), task(2), 1)]);
}

#[test]
fn a_lost_worker_s_task_goes_to_another_where_attempts_are_left() {
    let mut bench = Bench::new();
    bench.join(1, 2, &[]);
    bench.submit(1, TaskOptions { attempts_max: 2, ..queueing() });
    bench.submit(2, TaskOptions::default());
    bench.tell(Input::Cut { worker: worker(1), connection: 101 });
    let effects = bench.pass(QueueConfig::default().lease + SECOND);
    assert_eq!(endings(&effects), [(task(2), Ending::WorkerLost { worker: worker(1), attempt: 1 })]);
    assert_eq!(assigned(&bench.join(2, 1, &[])), [(worker(2), task(1), 2)]);
    bench.done(1, 1, 1);
    assert_eq!(endings(&bench.done(2, 1, 2)), [(task(1), Ending::Done { worker: worker(2), attempt: 2 })]);
}

#[test]
fn renewing_keeps_a_task_for_as_long_as_it_takes() {
    let mut bench = Bench::new();
    bench.join(1, 1, &[]);
    bench.submit(1, TaskOptions { attempts_max: 5, ..queueing() });
    for _ in 0..40 {
        assert!(assigned(&bench.pass(SECOND)).is_empty());
        bench.tell(Input::Renew { worker: worker(1) });
    }
    assert_eq!(endings(&bench.done(1, 1, 1)).len(), 1);
}

#[test]
fn a_worker_that_comes_back_keeps_what_it_has_and_the_rest_goes_to_others() {
    let mut bench = Bench::new();
    bench.join(1, 2, &[]);
    bench.submit(1, queueing());
    bench.submit(2, queueing());
    bench.tell(Input::Cut { worker: worker(1), connection: 101 });
    assert!(assigned(&bench.join(2, 2, &[])).is_empty());
    let held = vec![Attempt { task: task(1), number: 1 }, Attempt { task: task(9), number: 1 }];
    let effects = bench.join_with(1, 2, &[], held);
    // Task 2 never got there: another attempt, which is not its last one used up.
    assert_eq!(assigned(&effects), [(worker(2), task(2), 2)]);
    let recalled = |effect: &Effect| matches!(effect, Effect::Recall { attempt, why: Recalled::Lost, .. } if attempt.task == task(9));
    assert!(effects.iter().any(recalled), "{effects:?}");
    assert_eq!(endings(&bench.done(1, 1, 1)).len(), 1);
}

#[test]
fn tags_priorities_and_delays() {
    let mut bench = Bench::new();
    let tagged = |tag: &str| TaskOptions { tags: vec![tag.into()], ..queueing() };
    bench.submit(1, tagged("gpu"));
    bench.submit(2, queueing());
    bench.submit(3, TaskOptions { priority: 200, ..queueing() });
    bench.submit(4, TaskOptions { delay: Some(SECOND), ..queueing() });
    assert_eq!(assigned(&bench.join(1, 1, &[])), [(worker(1), task(3), 1)]);
    assert_eq!(assigned(&bench.done(1, 3, 1)), [(worker(1), task(2), 1)]);
    assert!(assigned(&bench.done(1, 2, 1)).is_empty());
    assert_eq!(assigned(&bench.pass(SECOND)), [(worker(1), task(4), 1)]);
    assert_eq!(assigned(&bench.join(2, 1, &["arm", "gpu"])), [(worker(2), task(1), 1)]);
}
