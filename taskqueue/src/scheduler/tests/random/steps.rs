//! What may happen: numbers that are looked up in whatever there is by then.

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;

use crate::Backoff;
use crate::scheduler::tests::*;

/// A task that was submitted, counted from the newest one back.
pub(super) type Back = usize;

#[derive(Clone, Debug)]
pub(super) enum Step {
    /// As an id that is new, or one that was there.
    Submit {
        client: u64,
        again: Option<Back>,
        options: TaskOptions,
        bytes: usize,
    },
    Attach {
        client: u64,
        task: Back,
    },
    Detach {
        client: u64,
        task: Back,
    },
    Abandon {
        client: u64,
        task: Back,
    },
    Release {
        task: Back,
    },
    Cancel {
        task: Back,
    },
    Gone {
        client: u64,
    },
    /// By the connection that it had, or another; with all that it has, or only some.
    Join {
        worker: u64,
        anew: bool,
        credit: u32,
        tags: Vec<String>,
        brings: u8,
    },
    Renew {
        worker: u64,
    },
    Cut {
        worker: u64,
    },
    Drain {
        worker: u64,
    },
    Resign {
        worker: u64,
    },
    Leave {
        worker: u64,
    },
    /// An attempt that was handed out, counted from the newest one back; by who had it, or by another.
    Report {
        handed: usize,
        by_another: bool,
        report: Report,
    },
    Progress {
        handed: usize,
    },
    RetryDead {
        task: Back,
    },
    DropDead {
        task: Back,
    },
    Pass {
        millis: u64,
    },
    /// The server is killed and started again.
    Restart,
    /// So much of what is stored, in hundredths, is copied forward and goes.
    Forward {
        part: usize,
    },
}

fn options() -> impl Strategy<Value = TaskOptions> {
    let seconds = |max: u64| (1..=max).prop_map(Duration::from_secs);
    let first = (
        prop_oneof![3 => Just(vec![]), 1 => Just(vec!["gpu".to_owned()])],
        prop_oneof![Just(100_u8), Just(7)],
        weighted(0.15, seconds(4)),
        weighted(0.15, seconds(12)),
        1..=3_u32,
        weighted(0.1, seconds(3)),
    );
    let second = (
        prop::bool::weighted(0.7),
        prop::bool::weighted(0.5),
        weighted(0.5, (0..=15_u64).prop_map(Duration::from_secs)),
        weighted(0.25, 0..3_u8),
        weighted(0.2, any::<bool>()),
    );
    (first, second).prop_map(|(first, second)| {
        let (tags, priority, delay, deadline, attempts_max, stall_timeout) = first;
        let (queueing, detached, result_kept, key, dead_letter) = second;
        let (backoff, idempotency_key) = (Backoff { first: SECOND, max: 2 * SECOND }, key.map(|key| format!("k{key}")));
        TaskOptions {
            tags,
            priority,
            delay,
            deadline,
            attempts_max,
            backoff,
            stall_timeout,
            queueing,
            detached,
            result_kept,
            idempotency_key,
            dead_letter,
        }
    })
}

fn report() -> impl Strategy<Value = Report> {
    prop_oneof![
        4 => (0..20_usize).prop_map(|bytes| Report::Done(vec![7; bytes].into())),
        3 => any::<bool>().prop_map(failed),
        2 => Just(Report::HandedBack),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let (client, worker, task) = (0..3_u64, 0..3_u64, 0..8_usize);
    let tags = prop_oneof![Just(vec![]), Just(vec!["gpu".to_owned()])];
    let submit = (client.clone(), weighted(0.1, task.clone()), options(), 0..30_usize);
    let submit = submit.prop_map(|(client, again, options, bytes)| Step::Submit { client, again, options, bytes });
    let join = (worker.clone(), any::<bool>(), 1..4_u32, tags, any::<u8>());
    let join = join.prop_map(|(worker, anew, credit, tags, brings)| Step::Join { worker, anew, credit, tags, brings });
    let report = (0..5_usize, prop::bool::weighted(0.1), report())
        .prop_map(|(handed, by_another, report)| Step::Report { handed, by_another, report });
    let asked = (client.clone(), task.clone());
    let of_client = prop_oneof![
        asked.clone().prop_map(|(client, task)| Step::Attach { client, task }),
        asked.clone().prop_map(|(client, task)| Step::Detach { client, task }),
        asked.prop_map(|(client, task)| Step::Abandon { client, task }),
        task.clone().prop_map(|task| Step::Release { task }),
        task.clone().prop_map(|task| Step::Cancel { task }),
        client.prop_map(|client| Step::Gone { client }),
        task.clone().prop_map(|task| Step::RetryDead { task }),
        task.prop_map(|task| Step::DropDead { task }),
    ];
    let of_worker = prop_oneof![
        4 => worker.clone().prop_map(|worker| Step::Renew { worker }),
        1 => worker.clone().prop_map(|worker| Step::Cut { worker }),
        1 => worker.clone().prop_map(|worker| Step::Drain { worker }),
        1 => worker.clone().prop_map(|worker| Step::Resign { worker }),
        1 => worker.prop_map(|worker| Step::Leave { worker }),
        2 => (0..5_usize).prop_map(|handed| Step::Progress { handed }),
    ];
    let millis = prop_oneof![Just(1_u64), Just(400), Just(1_000), Just(2_500), Just(30_000)];
    prop_oneof![
        28 => submit,
        10 => join,
        22 => report,
        14 => of_client,
        12 => of_worker,
        10 => millis.prop_map(|millis| Step::Pass { millis }),
        2 => Just(Step::Restart),
        2 => (0..=100_usize).prop_map(|part| Step::Forward { part }),
    ]
}

/// So many steps at most.
pub(super) fn many(steps_max: usize) -> impl Strategy<Value = Vec<Step>> {
    vec(step(), 1..steps_max)
}
