//! The bytes of a queue's journal: what changed, record by record. `docs/STORAGE.md`, "A queue".

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};

use crate::scheduler::{Carried, CarriedState, Record};
use crate::{Backoff, Ending, Moment, Outcome, Spec, TaskId, TaskOptions, WorkerId};

/// A batch of records.
pub(super) const KIND_RECORDS: u16 = 1;

const ACCEPTED: u8 = 1;
const BEGUN: u8 = 2;
const WAITS: u8 = 3;
const ENDED: u8 = 4;
const DETACHED: u8 = 5;
const DEAD_DROPPED: u8 = 6;
const CARRIED: u8 = 7;
const RELEASED: u8 = 8;

const CARRIED_WAITS: u8 = 0;
const CARRIED_BEGUN: u8 = 1;
const CARRIED_ENDED: u8 = 2;
const CARRIED_DEAD: u8 = 3;

const DONE: u8 = 1;
const FAILED: u8 = 2;
const WORKER_LOST: u8 = 3;
const STALLED: u8 = 4;
const DEADLINE_EXCEEDED: u8 = 5;
const CANCELLED: u8 = 6;
const NO_WORKERS: u8 = 7;

/// How options are written.
const OPTIONS_VERSION: u8 = 1;
const HAS_DELAY: u16 = 1;
const HAS_DEADLINE: u16 = 1 << 1;
const HAS_STALL_TIMEOUT: u16 = 1 << 2;
const HAS_RESULT_KEPT: u16 = 1 << 3;
const HAS_KEY: u16 = 1 << 4;
const HAS_TAGS: u16 = 1 << 5;
const HAS_BACKOFF: u16 = 1 << 6;
const HAS_ATTEMPTS: u16 = 1 << 7;
const HAS_DEAD_LETTER: u16 = 1 << 8;
const IS_DEAD_LETTER: u16 = 1 << 9;
const IS_QUEUEING: u16 = 1 << 10;
const IS_DETACHED: u16 = 1 << 11;
const KNOWN_FLAGS: u16 = (1 << 12) - 1;

/// Puts a record behind the others.
pub(super) fn put(bytes: &mut Vec<u8>, record: &Record) {
    match record {
        Record::Accepted { spec, sequence } => {
            bytes.push(ACCEPTED);
            bytes.extend(sequence.to_le_bytes());
            put_spec(bytes, spec);
        }
        Record::Begun { task, number, worker, owner, at } => {
            put_head(bytes, BEGUN, *task);
            bytes.extend(number.to_le_bytes());
            put_begun(bytes, *worker, owner, *at);
        }
        Record::Waits { task, spent, until } => {
            put_head(bytes, WAITS, *task);
            bytes.extend(spent.to_le_bytes());
            put_until(bytes, *until);
        }
        Record::Ended { task, outcome, at } => {
            put_head(bytes, ENDED, *task);
            bytes.extend(at.0.to_le_bytes());
            put_outcome(bytes, outcome);
        }
        Record::Detached { task } => put_head(bytes, DETACHED, *task),
        Record::DeadDropped { task } => put_head(bytes, DEAD_DROPPED, *task),
        Record::Carried(carried) => put_carried(bytes, carried),
        Record::Released { task } => put_head(bytes, RELEASED, *task),
    }
}

fn put_head(bytes: &mut Vec<u8>, kind: u8, task: TaskId) {
    bytes.push(kind);
    bytes.extend(task.to_bytes());
}

fn put_begun(bytes: &mut Vec<u8>, worker: WorkerId, owner: &str, at: Moment) {
    bytes.extend(worker.to_bytes());
    bytes.extend(at.0.to_le_bytes());
    bytes.extend((owner.len() as u32).to_le_bytes());
    bytes.extend_from_slice(owner.as_bytes());
}

fn put_until(bytes: &mut Vec<u8>, until: Option<Moment>) {
    bytes.push(u8::from(until.is_some()));
    bytes.extend(until.iter().flat_map(|until| until.0.to_le_bytes()));
}

fn put_carried(bytes: &mut Vec<u8>, carried: &Carried) {
    let Carried { spec, sequence, number, spent, detached, state } = carried;
    let kind = match state {
        CarriedState::Waits(_) => CARRIED_WAITS,
        CarriedState::Begun { .. } => CARRIED_BEGUN,
        CarriedState::Ended { .. } => CARRIED_ENDED,
        CarriedState::Dead { .. } => CARRIED_DEAD,
    };
    bytes.extend([CARRIED, kind, u8::from(*detached)]);
    bytes.extend(sequence.to_le_bytes());
    bytes.extend(number.to_le_bytes());
    bytes.extend(spent.to_le_bytes());
    put_spec(bytes, spec);
    match state {
        CarriedState::Waits(until) => put_until(bytes, *until),
        CarriedState::Begun { worker, owner, at } => put_begun(bytes, *worker, owner, *at),
        CarriedState::Ended { outcome, at } | CarriedState::Dead { outcome, at } => {
            bytes.extend(at.0.to_le_bytes());
            put_outcome(bytes, outcome);
        }
    }
}

fn put_spec(bytes: &mut Vec<u8>, spec: &Spec) {
    bytes.extend(spec.id.to_bytes());
    bytes.extend(spec.submitted.0.to_le_bytes());
    bytes.extend(spec.fingerprint.to_le_bytes());
    bytes.extend((spec.owner.len() as u32).to_le_bytes());
    bytes.extend((spec.payload.len() as u32).to_le_bytes());
    bytes.extend_from_slice(spec.owner.as_bytes());
    put_options(bytes, &spec.options);
    bytes.extend_from_slice(&spec.payload);
}

fn put_options(bytes: &mut Vec<u8>, options: &TaskOptions) {
    let backoff = Some(options.backoff).filter(|backoff| *backoff != Backoff::default());
    let flags = [
        (HAS_DELAY, options.delay.is_some()),
        (HAS_DEADLINE, options.deadline.is_some()),
        (HAS_STALL_TIMEOUT, options.stall_timeout.is_some()),
        (HAS_RESULT_KEPT, options.result_kept.is_some()),
        (HAS_KEY, options.idempotency_key.is_some()),
        (HAS_TAGS, !options.tags.is_empty()),
        (HAS_BACKOFF, backoff.is_some()),
        (HAS_ATTEMPTS, options.attempts_max != 1),
        (HAS_DEAD_LETTER, options.dead_letter.is_some()),
        (IS_DEAD_LETTER, options.dead_letter == Some(true)),
        (IS_QUEUEING, options.queueing),
        (IS_DETACHED, options.detached),
    ];
    let flags = flags.into_iter().filter(|(_, is)| *is).fold(0_u16, |all, (flag, _)| all | flag);
    bytes.push(OPTIONS_VERSION);
    bytes.extend(flags.to_le_bytes());
    bytes.push(options.priority);
    if flags & HAS_ATTEMPTS != 0 {
        bytes.extend(options.attempts_max.to_le_bytes());
    }
    let backoff = [backoff.map(|backoff| backoff.first), backoff.map(|backoff| backoff.max)];
    let spans = [options.delay, options.deadline, options.stall_timeout, options.result_kept];
    for span in spans.into_iter().chain(backoff).flatten() {
        bytes.extend(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX).to_le_bytes());
    }
    if let Some(key) = &options.idempotency_key {
        put_text(bytes, key);
    }
    if !options.tags.is_empty() {
        bytes.extend((options.tags.len() as u32).to_le_bytes());
        options.tags.iter().for_each(|tag| put_text(bytes, tag));
    }
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u32).to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

fn put_outcome(bytes: &mut Vec<u8>, outcome: &Outcome) {
    let (kind, worker, number) = match &outcome.ending {
        Ending::Done { worker, attempt } => (DONE, Some(worker), attempt),
        Ending::Failed { worker, attempt, .. } => (FAILED, Some(worker), attempt),
        Ending::WorkerLost { worker, attempt } => (WORKER_LOST, Some(worker), attempt),
        Ending::Stalled { worker, attempt } => (STALLED, Some(worker), attempt),
        Ending::DeadlineExceeded { attempts } => (DEADLINE_EXCEEDED, None, attempts),
        Ending::Cancelled { attempts } => (CANCELLED, None, attempts),
        Ending::NoWorkers { attempts } => (NO_WORKERS, None, attempts),
    };
    bytes.push(kind);
    bytes.extend(number.to_le_bytes());
    bytes.extend(worker.iter().flat_map(|worker| worker.to_bytes()));
    if let Ending::Failed { code, message, .. } = &outcome.ending {
        put_text(bytes, code);
        put_text(bytes, message);
    }
    bytes.extend((outcome.body.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&outcome.body);
}

type Read<T> = Result<T, &'static str>;

/// Reads the records of a batch one by one; `Err` says what does not hold, and nothing behind it is read.
pub(super) struct Records(Bytes);

impl Records {
    pub(super) fn of(body: Bytes) -> Self {
        Self(body)
    }
}

impl Iterator for Records {
    type Item = Read<Record>;

    fn next(&mut self) -> Option<Read<Record>> {
        if self.0.is_empty() {
            return None;
        }
        let read = Reading(&mut self.0).record();
        if read.is_err() {
            self.0.clear();
        }
        Some(read)
    }
}

struct Reading<'a>(&'a mut Bytes);

impl Reading<'_> {
    fn take(&mut self, count: usize) -> Read<Bytes> {
        if count > self.0.len() { Err("it is cut short") } else { Ok(self.0.split_to(count)) }
    }

    fn byte(&mut self) -> Read<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u16(&mut self) -> Read<u16> {
        self.take(2).map(|mut bytes| bytes.get_u16_le())
    }

    fn u32(&mut self) -> Read<u32> {
        self.take(4).map(|mut bytes| bytes.get_u32_le())
    }

    fn u64(&mut self) -> Read<u64> {
        self.take(8).map(|mut bytes| bytes.get_u64_le())
    }

    fn id(&mut self) -> Read<[u8; 16]> {
        let bytes = self.take(16)?;
        <[u8; 16]>::try_from(&bytes[..]).map_err(|_| "it is cut short")
    }

    fn moment(&mut self) -> Read<Moment> {
        self.u64().map(Moment)
    }

    fn span(&mut self, is_there: bool) -> Read<Option<Duration>> {
        if is_there { self.u64().map(|nanoseconds| Some(Duration::from_nanos(nanoseconds))) } else { Ok(None) }
    }

    fn flag(&mut self) -> Read<bool> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err("a flag is neither 0 nor 1"),
        }
    }

    /// A copy: what it lies in is the buffer that the journal was read into.
    fn copied(&mut self, count: u32) -> Read<Bytes> {
        self.take(count as usize).map(|bytes| Bytes::copy_from_slice(&bytes))
    }

    fn text_of(&mut self, count: u32) -> Read<String> {
        let bytes = self.take(count as usize)?;
        std::str::from_utf8(&bytes).map(str::to_owned).map_err(|_| "a text is not UTF-8")
    }

    fn text(&mut self) -> Read<String> {
        let count = self.u32()?;
        self.text_of(count)
    }

    fn record(&mut self) -> Read<Record> {
        let kind = self.byte()?;
        if kind == ACCEPTED {
            let sequence = self.u64()?;
            return Ok(Record::Accepted { spec: Arc::new(self.spec()?), sequence });
        }
        if kind == CARRIED {
            return self.carried().map(Record::Carried);
        }
        let task = TaskId::from_bytes(self.id()?);
        match kind {
            BEGUN => {
                let number = self.u32()?;
                let (worker, at, owner) = self.begun()?;
                Ok(Record::Begun { task, number, worker, owner, at })
            }
            WAITS => Ok(Record::Waits { task, spent: self.u32()?, until: self.until()? }),
            ENDED => {
                let at = self.moment()?;
                Ok(Record::Ended { task, outcome: Arc::new(self.outcome()?), at })
            }
            DETACHED => Ok(Record::Detached { task }),
            DEAD_DROPPED => Ok(Record::DeadDropped { task }),
            RELEASED => Ok(Record::Released { task }),
            _ => Err("a record is of a kind that this version does not know"),
        }
    }

    fn begun(&mut self) -> Read<(WorkerId, Moment, Arc<str>)> {
        Ok((WorkerId::from_bytes(self.id()?), self.moment()?, self.text()?.into()))
    }

    fn until(&mut self) -> Read<Option<Moment>> {
        if self.flag()? { self.moment().map(Some) } else { Ok(None) }
    }

    fn carried(&mut self) -> Read<Carried> {
        let (kind, detached) = (self.byte()?, self.flag()?);
        let (sequence, number, spent) = (self.u64()?, self.u32()?, self.u32()?);
        let spec = Arc::new(self.spec()?);
        let state = match kind {
            CARRIED_WAITS => CarriedState::Waits(self.until()?),
            CARRIED_BEGUN => {
                let (worker, at, owner) = self.begun()?;
                CarriedState::Begun { worker, owner, at }
            }
            CARRIED_ENDED | CARRIED_DEAD => {
                let at = self.moment()?;
                let outcome = Arc::new(self.outcome()?);
                if kind == CARRIED_ENDED {
                    CarriedState::Ended { outcome, at }
                } else {
                    CarriedState::Dead { outcome, at }
                }
            }
            _ => return Err("a task does what this version does not know"),
        };
        Ok(Carried { spec, sequence, number, spent, detached, state })
    }

    fn spec(&mut self) -> Read<Spec> {
        let id = TaskId::from_bytes(self.id()?);
        let (submitted, fingerprint) = (self.moment()?, self.u32()?);
        let (owner, payload) = (self.u32()?, self.u32()?);
        let owner = self.text_of(owner)?.into();
        let options = self.options()?;
        Ok(Spec { id, owner, submitted, options, payload: self.copied(payload)?, fingerprint })
    }

    fn options(&mut self) -> Read<TaskOptions> {
        if self.byte()? != OPTIONS_VERSION {
            return Err("options are written in a way that this version does not know");
        }
        let (flags, priority) = (self.u16()?, self.byte()?);
        if flags & !KNOWN_FLAGS != 0 {
            return Err("options have flags that this version does not know");
        }
        let has = |flag| flags & flag != 0;
        let attempts_max = if has(HAS_ATTEMPTS) { self.u32()? } else { 1 };
        let (delay, deadline) = (self.span(has(HAS_DELAY))?, self.span(has(HAS_DEADLINE))?);
        let (stall_timeout, result_kept) = (self.span(has(HAS_STALL_TIMEOUT))?, self.span(has(HAS_RESULT_KEPT))?);
        let (first, max) = (self.span(has(HAS_BACKOFF))?, self.span(has(HAS_BACKOFF))?);
        let backoff = first.zip(max).map_or_else(Backoff::default, |(first, max)| Backoff { first, max });
        let idempotency_key = if has(HAS_KEY) { Some(self.text()?) } else { None };
        let count = if has(HAS_TAGS) { self.u32()? } else { 0 };
        let tags = (0..count).map(|_| self.text()).collect::<Read<_>>()?;
        Ok(TaskOptions {
            tags,
            priority,
            delay,
            deadline,
            attempts_max,
            backoff,
            stall_timeout,
            queueing: has(IS_QUEUEING),
            detached: has(IS_DETACHED),
            result_kept,
            idempotency_key,
            dead_letter: has(HAS_DEAD_LETTER).then_some(has(IS_DEAD_LETTER)),
        })
    }

    fn outcome(&mut self) -> Read<Outcome> {
        let (kind, number) = (self.byte()?, self.u32()?);
        let (attempt, attempts) = (number, number);
        let ending = match kind {
            DEADLINE_EXCEEDED => Ending::DeadlineExceeded { attempts },
            CANCELLED => Ending::Cancelled { attempts },
            NO_WORKERS => Ending::NoWorkers { attempts },
            DONE..=STALLED => {
                let worker = WorkerId::from_bytes(self.id()?);
                match kind {
                    DONE => Ending::Done { worker, attempt },
                    FAILED => {
                        let (code, message) = (self.text()?, self.text()?);
                        Ending::Failed { worker, attempt, code, message }
                    }
                    WORKER_LOST => Ending::WorkerLost { worker, attempt },
                    _ => Ending::Stalled { worker, attempt },
                }
            }
            _ => return Err("a task ended in a way that this version does not know"),
        };
        let count = self.u32()?;
        Ok(Outcome { ending, body: self.copied(count)? })
    }
}

#[cfg(test)]
mod tests;
