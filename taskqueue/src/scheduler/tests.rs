//! The rules, one by one: each in a few lines, with a hand on the time.

mod attempts;
mod bounds;
mod endings;
mod explain;
mod kept;
mod keys;
mod random;
mod restart;
mod sharing;

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::{Level, Listed, QueueInfo, TaskOptions};

const SECOND: Duration = Duration::from_secs(1);

/// A queue with a hand on the time, and all that it had stored.
struct Bench {
    scheduler: Scheduler,
    now: Moment,
    stored: Vec<Record>,
}

fn task(number: u64) -> TaskId {
    TaskId::of(7, number)
}

fn worker(number: u64) -> WorkerId {
    WorkerId::of(9, number)
}

/// The caller of the submission of this number: connection 1.
fn client(call: u64) -> Asker {
    Asker { connection: 1, call: call as u32 }
}

fn of_worker(number: u64) -> Asker {
    Asker { connection: 100 + number, call: 1 }
}

fn attempt(of: u64, number: u32) -> Attempt {
    Attempt { task: task(of), number }
}

fn spec(number: u64, options: TaskOptions) -> Spec {
    let (id, owner, payload) = (task(number), "ada".into(), Bytes::from_static(b"p"));
    Spec { id, owner, submitted: Moment::default(), options, payload, fingerprint: 0 }
}

impl Bench {
    fn new() -> Self {
        Self::of(QueueConfig::default())
    }

    fn of(config: QueueConfig) -> Self {
        Self { scheduler: Scheduler::new("q", config), now: Moment(1_000_000_000), stored: Vec::new() }
    }

    /// The same queue after a restart of its server.
    fn restarted(&self) -> Self {
        let mut scheduler = Scheduler::new("q", self.scheduler.config.clone());
        self.stored.iter().cloned().for_each(|record| scheduler.apply(record));
        scheduler.recovered(self.now);
        Self { scheduler, now: self.now, stored: self.stored.clone() }
    }

    fn tell(&mut self, input: Input) -> Vec<Effect> {
        self.tell_all(vec![input])
    }

    fn tell_all(&mut self, inputs: Vec<Input>) -> Vec<Effect> {
        let mut out = Output { records: Some(Vec::new()), effects: Vec::new() };
        self.scheduler.handle(self.now, inputs, &mut out);
        self.stored.extend(out.records.unwrap_or_default());
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
        self.stored.extend(out.records.unwrap_or_default());
        out.effects
    }

    /// Time passes, and these workers renew every second.
    fn pass_renewed(&mut self, seconds: u64, workers: &[u64]) -> Vec<Effect> {
        let mut effects = Vec::new();
        for _ in 0..seconds {
            effects.extend(self.pass(SECOND));
            let renewals = workers.iter().map(|number| Input::Renew { worker: worker(*number) });
            effects.extend(self.tell_all(renewals.collect()));
        }
        effects
    }

    fn submit(&mut self, number: u64, options: TaskOptions) -> Vec<Effect> {
        self.submit_from(client(number), number, options)
    }

    fn submit_from(&mut self, asker: Asker, number: u64, options: TaskOptions) -> Vec<Effect> {
        self.tell(Input::Submit { asker, spec: spec(number, options).into() })
    }

    fn attach(&mut self, asker: Asker, of: u64) -> Vec<Effect> {
        self.tell(Input::Attach { asker, task: task(of), owner: Some("ada".into()) })
    }

    fn cancel(&mut self, of: u64) -> Vec<Effect> {
        self.tell(Input::Cancel { asker: Some(client(1_000)), task: task(of), owner: Some("ada".into()) })
    }

    fn release(&mut self, of: u64) {
        self.tell(Input::Release { task: task(of), owner: "ada".into() });
    }

    fn join(&mut self, number: u64, credit: u32, tags: &[&str]) -> Vec<Effect> {
        self.join_with(number, credit, tags, Vec::new())
    }

    fn join_with(&mut self, number: u64, credit: u32, tags: &[&str], held: Vec<Attempt>) -> Vec<Effect> {
        self.join_from(of_worker(number), number, credit, tags, held)
    }

    fn join_from(&mut self, asker: Asker, number: u64, credit: u32, tags: &[&str], held: Vec<Attempt>) -> Vec<Effect> {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        let spec = WorkerSpec { id: worker(number), owner: "bob".into(), name: "w".into(), tags, credit };
        self.tell(Input::Join { asker, worker: spec.into(), held })
    }

    fn cut(&mut self, number: u64) -> Vec<Effect> {
        self.tell(Input::Cut { worker: worker(number), connection: 100 + number })
    }

    fn leave(&mut self, number: u64) -> Vec<Effect> {
        self.tell(Input::Leave { worker: worker(number), connection: 100 + number })
    }

    fn report(&mut self, by: u64, of: u64, number: u32, report: Report) -> Vec<Effect> {
        self.tell(Input::Report { asker: of_worker(by), worker: worker(by), attempt: attempt(of, number), report })
    }

    fn done(&mut self, by: u64, of: u64, number: u32) -> Vec<Effect> {
        self.report(by, of, number, Report::Done(Bytes::from_static(b"r")))
    }

    fn fail(&mut self, by: u64, of: u64, number: u32) -> Vec<Effect> {
        self.report(by, of, number, failed(false))
    }

    fn info(&self) -> QueueInfo {
        self.scheduler.info(Level::Memory, 0)
    }

    fn listed(&self, listed: Listed) -> Vec<TaskId> {
        self.scheduler.tasks(listed, None, usize::MAX).into_iter().map(|info| info.task).collect()
    }
}

fn failed(is_final: bool) -> Report {
    Report::Failed { code: "broken".into(), message: "it broke".into(), details: Bytes::new(), is_final }
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

fn recalls(effects: &[Effect]) -> Vec<(Attempt, Recalled)> {
    let recalls = effects.iter().filter_map(|effect| match effect {
        Effect::Recall { attempt, why, .. } => Some((*attempt, *why)),
        _ => None,
    });
    recalls.collect()
}

/// The one answer that there is.
#[track_caller]
fn answer(effects: &[Effect]) -> Result<Answer, Error> {
    let answers = effects.iter().filter_map(|effect| match effect {
        Effect::Answer { answer, .. } => Some(answer.clone()),
        _ => None,
    });
    let answers: Vec<_> = answers.collect();
    let [answer] = &answers[..] else { panic!("{effects:?}") };
    answer.clone()
}

/// What the one answer says is wrong.
#[track_caller]
fn refusal(effects: &[Effect]) -> String {
    answer(effects).expect_err("it is refused").to_string()
}

fn is_late(effects: &[Effect]) -> bool {
    matches!(answer(effects), Ok(Answer::Settled { late: true }))
}

fn queueing() -> TaskOptions {
    TaskOptions { queueing: true, ..TaskOptions::default() }
}

fn attempts(attempts_max: u32) -> TaskOptions {
    TaskOptions { attempts_max, ..queueing() }
}
