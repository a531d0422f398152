//! What cannot be, whatever is in the queue.

use std::borrow::Cow;
use std::fmt::Display;
use std::time::Duration;

use super::{Scheduler, Spec, WorkerSpec};
use crate::{
    ATTEMPTS_MAX, Error, IDEMPOTENCY_KEY_BYTES_MAX, LEASE_MAX, LEASE_MIN, Level, PAYLOAD_BYTES_MAX, QueueConfig,
    Result, TAG_BYTES_MAX, TAGS_MAX, TaskOptions,
};

/// Tasks that a worker works on at one time, at most.
pub(crate) const CREDIT_MAX: u32 = 65_536;
/// Bytes of the name that a worker gives itself, at most.
pub(crate) const WORKER_NAME_BYTES_MAX: usize = 256;
/// Bytes of the word for what failed, at most.
pub(crate) const CODE_BYTES_MAX: usize = 256;
/// Bytes of the message of what failed, at most; a longer one is cut.
pub(crate) const MESSAGE_BYTES_MAX: usize = 16 * 1024;
/// The longest of all spans of time, a hundred years: what is longer was meant to be none.
const SPAN_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Whether a queue can be like this.
///
/// # Errors
/// `Config`.
pub(crate) fn check_config(queue: &str, config: &QueueConfig) -> Result<()> {
    let wrong = |field: &'static str, value: &dyn Display, why: String| {
        Err(Error::Config { queue: queue.into(), field: field.into(), value: value.to_string(), why })
    };
    let limits = &config.limits;
    if config.level == Level::Replicated {
        return wrong("level", &config.level, "one server keeps a queue; it can be memory, written or fsynced".into());
    }
    if config.lease < LEASE_MIN || config.lease > LEASE_MAX {
        return wrong("lease", &format!("{:?}", config.lease), format!("it is from {LEASE_MIN:?} to {LEASE_MAX:?}"));
    }
    let spans = [("idempotency_kept", config.idempotency_kept), ("dead_kept", config.dead_kept)];
    if let Some((field, span)) = spans.into_iter().find(|(_, span)| *span > SPAN_MAX) {
        return wrong(field, &format!("{span:?}"), "it is a hundred years at most".into());
    }
    let sizes = [("payload_bytes_max", limits.payload_bytes_max), ("result_bytes_max", limits.result_bytes_max)];
    if let Some((field, size)) = sizes.into_iter().find(|(_, size)| *size > PAYLOAD_BYTES_MAX) {
        return wrong(field, &size, format!("it is at most {PAYLOAD_BYTES_MAX}"));
    }
    let counts =
        [("tasks_max", limits.tasks_max), ("workers_max", limits.workers_max), ("results_max", limits.results_max)];
    if let Some((field, count)) = counts.into_iter().find(|(_, count)| *count == 0) {
        return wrong(field, &count, "a queue with none is of no use".into());
    }
    Ok(())
}

/// Tags in order, each once.
pub(super) fn in_order(tags: &mut Vec<String>) -> Result<(), Cow<'static, str>> {
    if tags.len() > TAGS_MAX {
        return Err(format!("{} tags; there can be {TAGS_MAX}", tags.len()).into());
    }
    if let Some(tag) = tags.iter().find(|tag| tag.is_empty() || tag.len() > TAG_BYTES_MAX) {
        return Err(format!("a tag of {} bytes; one has 1 to {TAG_BYTES_MAX}", tag.len()).into());
    }
    tags.sort_unstable();
    tags.dedup();
    // They are kept for as long as the task or the worker is.
    tags.shrink_to_fit();
    Ok(())
}

fn options(options: &mut TaskOptions) -> Result<(), Cow<'static, str>> {
    in_order(&mut options.tags)?;
    if !(1..=ATTEMPTS_MAX).contains(&options.attempts_max) {
        return Err(format!("{} attempts; there are 1 to {ATTEMPTS_MAX}", options.attempts_max).into());
    }
    let key = options.idempotency_key.as_deref();
    if let Some(key) = key.filter(|key| key.is_empty() || key.len() > IDEMPOTENCY_KEY_BYTES_MAX) {
        let bytes = key.len();
        return Err(format!("an idempotency key of {bytes} bytes; one has 1 to {IDEMPOTENCY_KEY_BYTES_MAX}").into());
    }
    if options.stall_timeout.is_some_and(|timeout| timeout < Duration::from_millis(1)) {
        return Err("a stall timeout below 1 ms; leave it out, or tell progress".into());
    }
    if options.deadline == Some(Duration::ZERO) {
        return Err("a deadline of no time at all; leave it out, or give the task some".into());
    }
    let spans = [options.delay, options.deadline, options.stall_timeout, options.result_kept];
    let spans = spans.into_iter().flatten().chain([options.backoff.first, options.backoff.max]);
    if let Some(span) = spans.into_iter().find(|span| *span > SPAN_MAX) {
        return Err(format!("a span of {span:?}; the longest is a hundred years").into());
    }
    Ok(())
}

impl Scheduler {
    /// Whether a task can be like this; puts its tags in order.
    pub(super) fn check_spec(&self, spec: &mut Spec) -> Result<()> {
        options(&mut spec.options).map_err(|why| self.invalid(why))?;
        let (bytes, max) = (spec.payload.len(), self.config.limits.payload_bytes_max as usize);
        if bytes > max {
            let advice = "store it elsewhere and submit where it is, or alter `payload_bytes_max`".into();
            return Err(Error::TooLarge { queue: self.name.to_string(), what: "a payload".into(), bytes, max, advice });
        }
        Ok(())
    }

    /// Whether a worker can be like this; puts its tags in order.
    pub(super) fn check_worker(&self, worker: &mut WorkerSpec) -> Result<()> {
        in_order(&mut worker.tags).map_err(|why| self.invalid(why))?;
        if !(1..=CREDIT_MAX).contains(&worker.credit) {
            return Err(self.invalid(format!("{} tasks at one time; a worker takes 1 to {CREDIT_MAX}", worker.credit)));
        }
        if worker.name.len() > WORKER_NAME_BYTES_MAX {
            let bytes = worker.name.len();
            return Err(
                self.invalid(format!("a name of {bytes} bytes; a worker's has at most {WORKER_NAME_BYTES_MAX}"))
            );
        }
        Ok(())
    }
}

/// A text of at most so many bytes, cut at a character.
pub(super) fn cut(mut text: String, max: usize) -> String {
    if text.len() > max {
        let end = (0..=max).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
    }
    text
}

/// The message of a failure whose details are too large to be kept: it says so at its end.
pub(crate) fn without_details(message: String, bytes: usize, max: usize) -> String {
    let left_out = format!(" ({bytes} bytes of details were left out: the limit is {max})");
    cut(message, MESSAGE_BYTES_MAX - left_out.len()) + &left_out
}
