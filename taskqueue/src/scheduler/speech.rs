//! What a scheduler is told, and what it says: everything that it has to do with the world.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::{Error, Moment, Outcome, QueueConfig, TaskId, TaskOptions, WorkerId};

/// Who asked and is to be answered: a connection's number, and that of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Asker {
    /// The session's number, never used twice by a server.
    pub connection: u64,
    /// The call's number in it.
    pub call: u32,
}

/// What never changes of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Its id.
    pub id: TaskId,
    /// Whose it is: the key of who submitted it, as text.
    pub owner: Arc<str>,
    /// When it was accepted; set by the scheduler.
    pub submitted: Moment,
    /// How it is to be done.
    pub options: TaskOptions,
    /// What it is. Not kept any longer once the task has ended, unless it is a dead letter.
    pub payload: Bytes,
    /// The checksum of the payload where there is an idempotency key, else 0; set by the scheduler.
    pub fingerprint: u32,
}

/// A worker as it joins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerSpec {
    /// Its id.
    pub id: WorkerId,
    /// Whose it is: its key, as text.
    pub owner: Arc<str>,
    /// What it calls itself, for people.
    pub name: Arc<str>,
    /// What it can do.
    pub tags: Vec<String>,
    /// Tasks that it works on at one time, at most.
    pub credit: u32,
}

/// One attempt at a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt {
    /// The task.
    pub task: TaskId,
    /// From 1, a new one each time it is handed out.
    pub number: u32,
}

/// What became of an attempt, as its worker says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// It is done.
    Done(Bytes),
    /// It failed.
    Failed {
        /// What failed, in a word that programs can tell apart.
        code: String,
        /// What failed, for people.
        message: String,
        /// What else there is to say.
        details: Bytes,
        /// Another attempt would fail as well.
        is_final: bool,
    },
    /// The worker has not begun, or has undone it: somebody else may have it, and it counts as no attempt.
    HandedBack,
}

/// What a scheduler is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A new task; answered by `Accepted`, or by why not. The `submitted` of its spec is set by the scheduler. One that is
    /// there already is the same task, and so is one with the same idempotency key; who asks then hears of that one.
    Submit {
        /// Who asks; the outcome goes to the same.
        asker: Asker,
        /// What.
        spec: Arc<Spec>,
    },
    /// Somebody wants to hear of a task that was submitted before; answered by `Accepted`, or by why not.
    Attach {
        /// Who asks; the outcome goes to the same.
        asker: Asker,
        /// The task.
        task: TaskId,
        /// Whose it must be.
        owner: Option<Arc<str>>,
    },
    /// Who submitted it does not wait any more, and it goes on. Answered by `Settled`.
    Detach {
        /// Who asks.
        asker: Asker,
        /// The call that hears of the task no longer.
        call: u32,
        /// The task.
        task: TaskId,
    },
    /// Somebody does not wait any more: the task is cancelled, unless it is detached or others wait for it.
    Abandon {
        /// Who waited.
        asker: Asker,
        /// The task.
        task: TaskId,
    },
    /// Who submitted it has the outcome, and does not ask for it again.
    Release {
        /// The task.
        task: TaskId,
        /// Whose it must be; it changes nothing for anybody else's.
        owner: Arc<str>,
    },
    /// Somebody wants it to end; answered by `Cancelled`.
    Cancel {
        /// Who asks.
        asker: Option<Asker>,
        /// The task.
        task: TaskId,
        /// Whose it must be.
        owner: Option<Arc<str>>,
    },
    /// A session is over for good: what it waited for is cancelled, unless it is detached or others wait for it.
    Gone {
        /// Its connection.
        connection: u64,
    },
    /// A worker comes, or comes back; answered by `Joined`, or by why not. Attempts that it says it has and that are not its
    /// own are recalled; those that are its own and that it does not have go to others.
    Join {
        /// Who asks; tasks are handed to the same.
        asker: Asker,
        /// What it can do.
        worker: Box<WorkerSpec>,
        /// What it has.
        held: Vec<Attempt>,
    },
    /// A worker is there: its lease runs anew.
    Renew {
        /// Which.
        worker: WorkerId,
    },
    /// A worker's connection was cut. Its lease runs on.
    Cut {
        /// Which.
        worker: WorkerId,
        /// The connection that was cut: what comes later than the worker over another one changes nothing.
        connection: u64,
    },
    /// A worker wants no more tasks, and finishes what it has.
    Drain {
        /// Which.
        worker: WorkerId,
    },
    /// A worker leaves in order: what it still has, it has not begun or has dropped, or it never got there. Others may have it,
    /// and it counts as no attempt.
    Resign {
        /// Which.
        worker: WorkerId,
        /// The connection it leaves by.
        connection: u64,
    },
    /// A worker is gone: its session is over, or it may not work here any more. What it has is lost to it.
    Leave {
        /// Which.
        worker: WorkerId,
        /// The connection it leaves by.
        connection: u64,
    },
    /// A worker reports an attempt; answered by `Settled`, whose `late` says that it counts no more.
    Report {
        /// Who asks.
        asker: Asker,
        /// Which worker.
        worker: WorkerId,
        /// Which attempt.
        attempt: Attempt,
        /// What became of it.
        report: Report,
    },
    /// An attempt goes on: those who wait are told.
    Progress {
        /// Which worker.
        worker: WorkerId,
        /// Which attempt.
        attempt: Attempt,
        /// How far it is.
        data: Bytes,
    },
    /// A dead letter is to be tried again, as a new task; answered by `Accepted`.
    RetryDead {
        /// Who asks; hears nothing more of it.
        asker: Asker,
        /// The dead letter.
        task: TaskId,
        /// The new task.
        as_task: TaskId,
    },
    /// A dead letter is to be dropped; answered by `Settled`.
    DropDead {
        /// Who asks.
        asker: Asker,
        /// The dead letter.
        task: TaskId,
    },
    /// The queue is to be otherwise.
    Alter(Box<QueueConfig>),
}

impl Input {
    /// Who is to be answered.
    pub fn asker(&self) -> Option<Asker> {
        match self {
            Self::Submit { asker, .. }
            | Self::Attach { asker, .. }
            | Self::Detach { asker, .. }
            | Self::Join { asker, .. }
            | Self::Report { asker, .. }
            | Self::RetryDead { asker, .. }
            | Self::DropDead { asker, .. } => Some(*asker),
            Self::Cancel { asker, .. } => *asker,
            Self::Abandon { .. }
            | Self::Release { .. }
            | Self::Gone { .. }
            | Self::Renew { .. }
            | Self::Cut { .. }
            | Self::Drain { .. }
            | Self::Resign { .. }
            | Self::Leave { .. }
            | Self::Progress { .. }
            | Self::Alter(_) => None,
        }
    }
}

/// What a scheduler says, to be let out in this order once the records that were made with it are stored.
#[derive(Clone, Debug)]
pub enum Effect {
    /// An answer to a call.
    Answer {
        /// Whom.
        to: Asker,
        /// What, or why not.
        answer: Result<Answer, Error>,
    },
    /// A task has ended: for everybody who waits for it.
    Ended {
        /// Whom.
        to: Vec<Asker>,
        /// The task.
        task: TaskId,
        /// How.
        outcome: Arc<Outcome>,
    },
    /// A task goes on.
    Progress {
        /// Whom.
        to: Vec<Asker>,
        /// The task.
        task: TaskId,
        /// How far it is.
        data: Bytes,
    },
    /// An attempt is handed to a worker.
    Assign {
        /// The call by which it joined.
        to: Asker,
        /// Which worker.
        worker: WorkerId,
        /// What.
        spec: Arc<Spec>,
        /// The number of the attempt.
        number: u32,
        /// When it is over, if ever.
        deadline: Option<Duration>,
    },
    /// An attempt is no longer the worker's: it is to stop, and a report of it counts no more.
    Recall {
        /// The call by which it joined.
        to: Asker,
        /// Which attempt.
        attempt: Attempt,
        /// Why.
        why: Recalled,
    },
    /// A worker is none any more.
    Dismissed {
        /// The call by which it joined.
        to: Asker,
        /// Why.
        why: Error,
    },
}

/// Why an attempt is taken from its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Recalled {
    /// The task was cancelled.
    Cancelled = 1,
    /// Its deadline has passed.
    DeadlineExceeded = 2,
    /// It told no progress within its stall timeout.
    Stalled = 3,
    /// It is not the worker's: it is done, or somebody else's by now.
    Lost = 4,
}

/// What calls are answered with.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The task is there.
    Accepted {
        /// Which one: another than was submitted where the idempotency key was known.
        task: TaskId,
        /// It was there before.
        duplicate: bool,
    },
    /// It ends, or has ended before.
    Cancelled {
        /// Whether it had ended before, and is as it was.
        had_ended: bool,
    },
    /// The worker is one of the queue's.
    Joined {
        /// How long a worker's attempts are its own after it was heard last.
        lease: Duration,
    },
    /// It is so.
    Settled {
        /// It counts no more: the attempt was another's by then, or the task had ended.
        late: bool,
    },
}
