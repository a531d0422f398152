//! How tasks, their outcomes and the reasons why they wait look on standard output.

use serde::Serialize;
use sinew::rfc3339;
use sinew::taskqueue::{Ending, Outcome, Reason, TaskId, TaskInfo, TaskState};

use crate::format::text_or_base64;

/// What became of a task, as an object.
#[derive(Serialize)]
struct OutcomeObject<'a> {
    task: String,
    ending: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result_base64: Option<String>,
}

/// Appends it, on a line.
pub(super) fn outcome(task: TaskId, outcome: &Outcome, out: &mut Vec<u8>) {
    let (worker, attempt) = match &outcome.ending {
        Ending::Done { worker, attempt }
        | Ending::Failed { worker, attempt, .. }
        | Ending::WorkerLost { worker, attempt }
        | Ending::Stalled { worker, attempt } => (Some(worker.to_string()), Some(*attempt)),
        _ => (None, None),
    };
    let attempts = match &outcome.ending {
        Ending::DeadlineExceeded { attempts } | Ending::Cancelled { attempts } | Ending::NoWorkers { attempts } => {
            Some(*attempts)
        }
        _ => None,
    };
    let (code, message) = match &outcome.ending {
        Ending::Failed { code, message, .. } => (Some(&code[..]), Some(&message[..])),
        _ => (None, None),
    };
    let (result, result_base64) = if outcome.is_done() { text_or_base64(&outcome.body) } else { (None, None) };
    let ending = ending(&outcome.ending);
    let object = OutcomeObject {
        task: task.to_string(),
        ending,
        worker,
        attempt,
        attempts,
        code,
        message,
        result,
        result_base64,
    };
    serde_json::to_writer(&mut *out, &object).expect("numbers and texts can be written into memory");
    out.push(b'\n');
}

/// A word for it.
pub(super) fn ending(ending: &Ending) -> &'static str {
    match ending {
        Ending::Done { .. } => "done",
        Ending::Failed { .. } => "failed",
        Ending::WorkerLost { .. } => "worker-lost",
        Ending::Stalled { .. } => "stalled",
        Ending::DeadlineExceeded { .. } => "deadline-exceeded",
        Ending::Cancelled { .. } => "cancelled",
        Ending::NoWorkers { .. } => "no-workers",
    }
}

/// What a task does, in a word or two.
pub(super) fn state(state: &TaskState) -> String {
    match state {
        TaskState::Waiting => "waiting".into(),
        TaskState::Delayed { .. } => "delayed".into(),
        TaskState::Running { .. } => "running".into(),
        TaskState::Ended { ending: how, .. } | TaskState::Dead { ending: how, .. } => ending(how).into(),
    }
}

/// The same with who and when.
pub(super) fn doing(state: &TaskState) -> String {
    match state {
        TaskState::Waiting => "waits".into(),
        TaskState::Delayed { until } => format!("waits until {}", rfc3339(until.0)),
        TaskState::Running { worker, since } => format!("worker {worker} is at it since {}", rfc3339(since.0)),
        TaskState::Ended { ending, at } => format!("ended at {}: {ending}", rfc3339(at.0)),
        TaskState::Dead { ending, at } => format!("a dead letter since {}: {ending}", rfc3339(at.0)),
    }
}

/// The columns of [`row`].
pub(super) const HEAD: [&str; 7] = ["task", "state", "attempts", "priority", "bytes", "tags", "submitted"];

/// A task in a table.
pub(super) fn row(info: &TaskInfo) -> Vec<String> {
    let options = &info.options;
    let attempts = format!("{} of {}", info.attempts, options.attempts_max);
    let tags = if options.tags.is_empty() { "-".into() } else { options.tags.join(",") };
    let (task, bytes) = (info.task.to_string(), info.bytes.to_string());
    vec![task, state(&info.state), attempts, options.priority.to_string(), bytes, tags, rfc3339(info.submitted.0)]
}

/// A task on lines of its own.
pub(super) fn text(info: &TaskInfo) -> String {
    let options = &info.options;
    let mut rows = vec![
        ("task", info.task.to_string()),
        ("state", doing(&info.state)),
        ("submitted", format!("{} by {}", rfc3339(info.submitted.0), owner(&info.owner))),
        ("attempts", format!("{} of at most {}", info.attempts, options.attempts_max)),
        ("payload", format!("{} bytes", info.bytes)),
        ("priority", options.priority.to_string()),
    ];
    if !options.tags.is_empty() {
        rows.push(("needs the tags", options.tags.join(", ")));
    }
    if let Some(deadline) = options.deadline {
        rows.push(("deadline", format!("{} s after it was submitted", deadline.as_secs_f64())));
    }
    if let Some(key) = &options.idempotency_key {
        rows.push(("idempotency key", key.clone()));
    }
    rows.iter().map(|(name, value)| format!("{name:<16} {value}\n")).collect()
}

/// Who submitted it, where keys are asked for.
fn owner(key: &str) -> &str {
    if key.is_empty() { "somebody without a key" } else { key }
}

/// Why a task waits, and what helps.
pub(super) fn reason(reason: &Reason) -> String {
    let seconds = |left: &std::time::Duration| format!("{:.1} s", left.as_secs_f64());
    match reason {
        Reason::Delayed { left } => format!("it is delayed for {} more", seconds(left)),
        Reason::BetweenAttempts { left } => format!("its last attempt failed; the next begins in {}", seconds(left)),
        Reason::NoWorker => "nobody works on this queue; start a worker".into(),
        Reason::NoTag { missing } if missing.is_empty() => {
            "each of its tags some worker has, and no single worker has all of them".into()
        }
        Reason::NoTag { missing } => format!("no worker has the tags {}; start one that has", missing.join(", ")),
        Reason::NoCredit { workers: 1 } => "1 worker could do it, and has as much as it takes".into(),
        Reason::NoCredit { workers } => format!("{workers} workers could do it, and have as much as they take"),
        Reason::CutOff { workers: 1 } => {
            "1 worker could do it; it is cut off, and may come back within its lease".into()
        }
        Reason::CutOff { workers } => {
            format!("{workers} workers could do it; they are cut off, and may come back within their lease")
        }
        Reason::Draining { workers: 1 } => "1 worker could do it; it takes no more, and finishes what it has".into(),
        Reason::Draining { workers } => {
            format!("{workers} workers could do it; they take no more, and finish what they have")
        }
        Reason::Behind { tasks: 1 } => "1 task goes before it".into(),
        Reason::Behind { tasks } => format!("{tasks} tasks go before it"),
    }
}

#[cfg(test)]
mod tests {
    use sinew::taskqueue::WorkerId;

    use super::*;

    fn shown(ending: Ending, body: &'static [u8]) -> String {
        let mut out = Vec::new();
        let task = TaskId::from_bytes([1; 16]);
        outcome(task, &Outcome { ending, body: body.into() }, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_outcome_is_one_object() {
        let (task, worker) = ("01".repeat(16), WorkerId::from_bytes([2; 16]));
        let by = format!("\"worker\":\"{worker}\",\"attempt\":3");
        let done = |body| shown(Ending::Done { worker, attempt: 3 }, body);
        let start = format!("{{\"task\":\"{task}\",\"ending\":");
        assert_eq!(done(b"a\nb"), format!("{start}\"done\",{by},\"result\":\"a\\nb\"}}\n"));
        assert_eq!(done(b"\xff\xd8"), format!("{start}\"done\",{by},\"result_base64\":\"/9g=\"}}\n"));
        let failed = Ending::Failed { worker, attempt: 3, code: "exit-7".into(), message: "no".into() };
        let told = "\"code\":\"exit-7\",\"message\":\"no\"";
        assert_eq!(shown(failed, b"details"), format!("{start}\"failed\",{by},{told}}}\n"));
        let cancelled = shown(Ending::Cancelled { attempts: 0 }, b"");
        assert_eq!(cancelled, format!("{start}\"cancelled\",\"attempts\":0}}\n"));
    }

    #[test]
    fn reasons_say_what_helps() {
        assert_eq!(reason(&Reason::NoWorker), "nobody works on this queue; start a worker");
        let missing = vec!["gpu".to_owned(), "big".to_owned()];
        assert_eq!(reason(&Reason::NoTag { missing }), "no worker has the tags gpu, big; start one that has");
        assert_eq!(reason(&Reason::Behind { tasks: 1 }), "1 task goes before it");
        assert_eq!(reason(&Reason::NoCredit { workers: 2 }), "2 workers could do it, and have as much as they take");
    }
}
