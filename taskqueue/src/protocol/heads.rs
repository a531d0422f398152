//! Heads of what is said for each task: fixed, little endian, taken apart without an allocation. An unknown tail of a head is
//! skipped.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use sinew_session::{CborError, from_cbor, take_u8, take_u16, take_u32, take_u64, to_cbor};

use super::Member;
use super::endings::{cut_text, put_text, take_text};
use crate::scheduler::{CODE_BYTES_MAX, MESSAGE_BYTES_MAX};
use crate::{Attempt, Level, Recalled, Report, TaskId, TaskOptions, WorkerId};

/// Bytes of an attempt that a worker has.
const HELD_BYTES: usize = 20;

/// Bits in a submit head.
mod flag {
    /// The options follow.
    pub(super) const OPTIONS: u8 = 1;
    /// It may have been sent before, to the server whose epoch follows.
    pub(super) const AGAIN: u8 = 2;
    /// Its outcome is what is waited for: the answer may come with whatever comes next.
    pub(super) const PATIENT: u8 = 4;
}

fn take_id(rest: &mut &[u8]) -> Option<[u8; 16]> {
    let (id, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(*id)
}

/// A queue in a head: length (u8) and name.
pub(crate) fn queue_head(queue: &str, head: &mut Vec<u8>) {
    head.push(queue.len() as u8);
    head.extend_from_slice(queue.as_bytes());
}

/// And back; it is parted off.
pub(crate) fn read_queue<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let length = usize::from(take_u8(rest)?);
    let (name, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    std::str::from_utf8(name).ok()
}

/// A queue and one of its tasks.
pub(crate) fn task_head(queue: &str, task: TaskId) -> Vec<u8> {
    let mut head = Vec::with_capacity(17 + queue.len());
    queue_head(queue, &mut head);
    head.extend_from_slice(&task.to_bytes());
    head
}

/// And back.
pub(crate) fn read_task(mut head: &[u8]) -> Option<(&str, TaskId)> {
    Some((read_queue(&mut head)?, TaskId::from_bytes(take_id(&mut head)?)))
}

/// A new task, but for its payload: queue, task (16), flags (u8: 1 options, 2 again), required level (u8, 0: any), and as the
/// flags say epoch (u64) and length of the options (u16) and the options in CBOR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SubmitHead<'a> {
    pub(crate) queue: &'a str,
    pub(crate) task: TaskId,
    pub(crate) required: Option<Level>,
    /// It may have been sent before, to the server of this epoch.
    pub(crate) again: Option<u64>,
    /// Its outcome is what is waited for.
    pub(crate) patient: bool,
    pub(crate) options: TaskOptions,
}

impl<'a> SubmitHead<'a> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let options = if self.options == TaskOptions::default() { Vec::new() } else { to_cbor(&self.options) };
        let mut head = Vec::with_capacity(32 + self.queue.len() + options.len());
        queue_head(self.queue, &mut head);
        head.extend_from_slice(&self.task.to_bytes());
        let (with_options, again) = (!options.is_empty(), self.again.is_some());
        let flags = [(with_options, flag::OPTIONS), (again, flag::AGAIN), (self.patient, flag::PATIENT)];
        head.push(flags.iter().filter(|(set, _)| *set).fold(0, |flags, (_, flag)| flags | flag));
        head.push(self.required.map_or(0, Level::code));
        head.extend(self.again.iter().flat_map(|epoch| epoch.to_le_bytes()));
        if with_options {
            head.extend_from_slice(&(options.len() as u16).to_le_bytes());
            head.extend_from_slice(&options);
        }
        head
    }

    /// `None` where it does not hold together, an error where the options are none.
    pub(crate) fn read(mut head: &'a [u8]) -> Option<Result<Self, CborError>> {
        let rest = &mut head;
        let (queue, task) = (read_queue(rest)?, TaskId::from_bytes(take_id(rest)?));
        let (flags, level) = (take_u8(rest)?, take_u8(rest)?);
        let required = if level == 0 { None } else { Some(Level::from_code(level)?) };
        let again = if flags & flag::AGAIN != 0 { Some(take_u64(rest)?) } else { None };
        let mut options = TaskOptions::default();
        if flags & flag::OPTIONS != 0 {
            let length = usize::from(take_u16(rest)?);
            match from_cbor(rest.get(..length)?) {
                Ok(read) => options = read,
                Err(error) => return Some(Err(error)),
            }
        }
        let patient = flags & flag::PATIENT != 0;
        Some(Ok(Self { queue, task, required, again, patient, options }))
    }
}

/// The answer to who submits or wants to hear: task (16), level (u8), duplicate (u8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AcceptedHead {
    pub(crate) task: TaskId,
    pub(crate) level: Level,
    pub(crate) duplicate: bool,
}

impl AcceptedHead {
    pub(crate) fn encode(self) -> [u8; 18] {
        let mut head = [0; 18];
        head[..16].copy_from_slice(&self.task.to_bytes());
        (head[16], head[17]) = (self.level.code(), u8::from(self.duplicate));
        head
    }

    pub(crate) fn read(mut head: &[u8]) -> Option<Self> {
        let rest = &mut head;
        let (task, level) = (TaskId::from_bytes(take_id(rest)?), Level::from_code(take_u8(rest)?)?);
        Some(Self { task, level, duplicate: take_u8(rest)? != 0 })
    }
}

/// A wait that ends before its task: queue, task (16), the wait (u32).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WaitHead<'a> {
    pub(crate) queue: &'a str,
    pub(crate) task: TaskId,
    pub(crate) number: u32,
}

impl<'a> WaitHead<'a> {
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut head = task_head(self.queue, self.task);
        head.extend_from_slice(&self.number.to_le_bytes());
        head
    }

    pub(crate) fn read(mut head: &'a [u8]) -> Option<Self> {
        let rest = &mut head;
        let (queue, task) = (read_queue(rest)?, TaskId::from_bytes(take_id(rest)?));
        Some(Self { queue, task, number: take_u32(rest)? })
    }
}

/// Tasks, 16 bytes each.
pub(crate) fn tasks_body(tasks: &[TaskId]) -> Bytes {
    tasks.iter().flat_map(|task| task.to_bytes()).collect()
}

/// And back; what is left over at its end is left out.
pub(crate) fn read_tasks(body: &[u8]) -> impl Iterator<Item = TaskId> {
    body.as_chunks::<16>().0.iter().map(|bytes| TaskId::from_bytes(*bytes))
}

/// A worker as it joins: queue, worker (16), credit (u32), length (u16) of what it says of itself in CBOR, and that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JoinHead<'a> {
    pub(crate) queue: &'a str,
    pub(crate) worker: WorkerId,
    pub(crate) credit: u32,
    pub(crate) member: Member,
}

impl<'a> JoinHead<'a> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let member = to_cbor(&self.member);
        let mut head = Vec::with_capacity(32 + self.queue.len() + member.len());
        queue_head(self.queue, &mut head);
        head.extend_from_slice(&self.worker.to_bytes());
        head.extend_from_slice(&self.credit.to_le_bytes());
        head.extend_from_slice(&(member.len() as u16).to_le_bytes());
        head.extend_from_slice(&member);
        head
    }

    /// `None` where it does not hold together, an error where what it says of itself does not.
    pub(crate) fn read(mut head: &'a [u8]) -> Option<Result<Self, CborError>> {
        let rest = &mut head;
        let (queue, worker) = (read_queue(rest)?, WorkerId::from_bytes(take_id(rest)?));
        let (credit, length) = (take_u32(rest)?, usize::from(take_u16(rest)?));
        let member = from_cbor(rest.get(..length)?);
        Some(member.map(|member| Self { queue, worker, credit, member }))
    }
}

/// An attempt: task (16), number (u32).
pub(crate) fn attempt_head(attempt: Attempt) -> [u8; HELD_BYTES] {
    let mut head = [0; HELD_BYTES];
    head[..16].copy_from_slice(&attempt.task.to_bytes());
    head[16..].copy_from_slice(&attempt.number.to_le_bytes());
    head
}

fn take_attempt(rest: &mut &[u8]) -> Option<Attempt> {
    Some(Attempt { task: TaskId::from_bytes(take_id(rest)?), number: take_u32(rest)? })
}

/// And back.
pub(crate) fn read_attempt(mut head: &[u8]) -> Option<Attempt> {
    take_attempt(&mut head)
}

/// Attempts that a worker has, 20 bytes each.
pub(crate) fn held_body(held: impl IntoIterator<Item = Attempt>) -> Bytes {
    held.into_iter().flat_map(attempt_head).collect()
}

/// And back; what is left over at its end is left out.
pub(crate) fn read_held(body: &[u8]) -> impl Iterator<Item = Attempt> {
    body.chunks_exact(HELD_BYTES).filter_map(read_attempt)
}

/// An attempt that is handed out: task (16), number (u32), attempts there are at most (u32), time left in nanoseconds (u64, the
/// largest: no end).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AssignHead {
    pub(crate) attempt: Attempt,
    pub(crate) attempts_max: u32,
    pub(crate) left: Option<Duration>,
}

impl AssignHead {
    pub(crate) fn encode(self) -> [u8; 32] {
        let nanos = |left: Duration| u64::try_from(left.as_nanos()).unwrap_or(u64::MAX);
        let mut head = [0; 32];
        head[..20].copy_from_slice(&attempt_head(self.attempt));
        head[20..24].copy_from_slice(&self.attempts_max.to_le_bytes());
        head[24..].copy_from_slice(&self.left.map_or(u64::MAX, nanos).to_le_bytes());
        head
    }

    pub(crate) fn read(mut head: &[u8]) -> Option<Self> {
        let rest = &mut head;
        let (attempt, attempts_max, left) = (take_attempt(rest)?, take_u32(rest)?, take_u64(rest)?);
        let left = Some(left).filter(|left| *left < u64::MAX).map(Duration::from_nanos);
        Some(Self { attempt, attempts_max, left })
    }
}

/// An attempt that is taken back: task (16), number (u32), why (u8).
pub(crate) fn recall_head(attempt: Attempt, why: Recalled) -> [u8; 21] {
    let mut head = [0; 21];
    head[..20].copy_from_slice(&attempt_head(attempt));
    head[20] = why as u8;
    head
}

/// And back.
pub(crate) fn read_recall(mut head: &[u8]) -> Option<(Attempt, Recalled)> {
    let attempt = take_attempt(&mut head)?;
    let why = [Recalled::Cancelled, Recalled::DeadlineExceeded, Recalled::Stalled, Recalled::Lost];
    let code = take_u8(&mut head)?;
    Some((attempt, why.into_iter().find(|why| *why as u8 == code)?))
}

/// What became of an attempt: membership (u32), task (16), number (u32), kind (u8: 1 done, 2 failed, 3 failed for good, 4
/// handed back), and of a failure length (u16) and code, length (u16) and message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReportHead<'a> {
    pub(crate) number: u32,
    pub(crate) attempt: Attempt,
    kind: u8,
    code: &'a str,
    message: &'a str,
}

/// A report in a head, and its body.
pub(crate) fn report_of(number: u32, attempt: Attempt, report: &Report) -> (Vec<u8>, Bytes) {
    let mut head = Vec::with_capacity(32);
    head.extend_from_slice(&number.to_le_bytes());
    head.extend_from_slice(&attempt_head(attempt));
    match report {
        Report::Done(result) => {
            head.push(1);
            (head, result.clone())
        }
        Report::Failed { code, message, details, is_final } => {
            head.push(if *is_final { 3 } else { 2 });
            put_text(&mut head, cut_text(code, CODE_BYTES_MAX), cut_text(message, MESSAGE_BYTES_MAX));
            (head, details.clone())
        }
        Report::HandedBack => {
            head.push(4);
            (head, Bytes::new())
        }
    }
}

impl<'a> ReportHead<'a> {
    pub(crate) fn read(mut head: &'a [u8]) -> Option<Self> {
        let rest = &mut head;
        let (number, attempt, kind) = (take_u32(rest)?, take_attempt(rest)?, take_u8(rest)?);
        let (code, message) = match kind {
            1 | 4 => ("", ""),
            2 | 3 => (take_text(rest, CODE_BYTES_MAX)?, take_text(rest, MESSAGE_BYTES_MAX)?),
            _ => return None,
        };
        Some(Self { number, attempt, kind, code, message })
    }

    /// The report, with what its body says.
    pub(crate) fn report(&self, body: Bytes) -> Report {
        match self.kind {
            1 => Report::Done(body),
            4 => Report::HandedBack,
            kind => Report::Failed {
                code: self.code.to_owned(),
                message: self.message.to_owned(),
                details: body,
                is_final: kind == 3,
            },
        }
    }
}

/// A number alone: a membership, say.
pub(crate) fn number_head(number: u32) -> [u8; 4] {
    number.to_le_bytes()
}

/// And back.
pub(crate) fn read_number(mut head: &[u8]) -> Option<u32> {
    take_u32(&mut head)
}

/// What is to be done with a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeadAct {
    /// Again, as this task.
    Retry(TaskId),
    Drop,
}

/// A dead letter: queue, task (16), kind (u8: 1 retry, 2 drop), and of a retry the new task (16).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeadHead<'a> {
    pub(crate) queue: &'a str,
    pub(crate) task: TaskId,
    pub(crate) act: DeadAct,
}

impl<'a> DeadHead<'a> {
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut head = task_head(self.queue, self.task);
        match self.act {
            DeadAct::Retry(task) => {
                head.push(1);
                head.extend_from_slice(&task.to_bytes());
            }
            DeadAct::Drop => head.push(2),
        }
        head
    }

    pub(crate) fn read(mut head: &'a [u8]) -> Option<Self> {
        let rest = &mut head;
        let (queue, task) = (read_queue(rest)?, TaskId::from_bytes(take_id(rest)?));
        let act = match take_u8(rest)? {
            1 => DeadAct::Retry(TaskId::from_bytes(take_id(rest)?)),
            2 => DeadAct::Drop,
            _ => return None,
        };
        Some(Self { queue, task, act })
    }
}

/// The answer to a join: lease in nanoseconds (u64), credit (u32).
pub(crate) fn joined_head(lease: Duration, credit: u32) -> [u8; 12] {
    let mut head = BytesMut::with_capacity(12);
    head.put_u64_le(u64::try_from(lease.as_nanos()).unwrap_or(u64::MAX));
    head.put_u32_le(credit);
    head[..].try_into().expect("twelve bytes")
}

/// And back.
pub(crate) fn read_joined(mut head: &[u8]) -> Option<(Duration, u32)> {
    Some((Duration::from_nanos(take_u64(&mut head)?), take_u32(&mut head)?))
}
