//! Errors on their way to a client.

use crate::Error;

sinew_session::failures! {
    Error,
    malformed Error::Name(_) | Error::Id(_),
    known ["verify", "backup", "restore", "do this with"];
    "unknown-queue" = UnknownQueue { queue: text };
    "queue-exists" = QueueExists { queue: text };
    "config" = Config { queue: text, field: text, value: text, why: text };
    "invalid" = Invalid { queue: text, why: text };
    "too-large" = TooLarge { queue: text, what: text, bytes: size, max: size, advice: text };
    "full" = Full { queue: text, what: text, max: number };
    "no-workers" = NoWorkers { queue: text, tags: lines };
    "unknown-task" = UnknownTask { queue: text, task: id };
    "unknown-dead-letter" = UnknownDeadLetter { queue: text, task: id };
    "task-exists" = TaskExists { queue: text, what: text };
    "not-yours" = NotYours { queue: text, task: id };
    "unknown-worker" = UnknownWorker { queue: text, worker: id };
    "lease-over" = LeaseOver { queue: text, worker: id };
    "replaced" = Replaced { queue: text, worker: id };
    "outcome-unknown" = OutcomeUnknown { queue: text, task: id };
    "busy" = Busy { queue: text, bytes: size };
    "no-space" = NoSpace { queue: text };
    "storage" = Storage { queue: text, why: text };
    "backup" = Backup { path: text, why: text };
    "unsupported" = Unsupported { queue: text, what: known };
    "ended" = Ended { queue: text };
    "level" = LevelUnmet { queue: text, required: level, level: level };
    "limit" = Limit { reason: words };
    "denied" = Denied { reason: words };
}
