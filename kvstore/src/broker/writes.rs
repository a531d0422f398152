//! Writes: to the engine in the order in which they came, and answered from wherever the engine ends them.

use bytes::Bytes;
use sinew_session::{Failure, Lane, Record};

use super::answers::Answer;
use super::attachment::KvAttachment;
use super::doors::{Job, Opened};
use crate::protocol::{Asks, bad_request, failure_of, read_put, read_write, written_head};
use crate::{Action, Condition, Error, Key, Level, Operation, Result, Write, Written};

/// A value below this is copied, so that a small one that is kept for long pins no receive buffer.
const SHARED_FROM: usize = 16 * 1024;
/// What a write that waits takes beside its keys and values, about.
const WAITING_BYTES: usize = 256;

/// A write, and how it is answered.
#[derive(Debug)]
pub(super) struct Writing {
    pub(super) answer: Answer,
    write: Write,
    required: Option<Level>,
}

impl Writing {
    pub(super) fn bytes(&self) -> usize {
        let value = |action: &Action| match &action.operation {
            Operation::Put { value, .. } => value.len(),
            _ => 0,
        };
        let actions: usize = self.write.actions.iter().map(|action| value(action) + action.key.as_bytes().len()).sum();
        let conditions: usize = self.write.conditions.iter().map(|each| each.key.as_bytes().len()).sum();
        WAITING_BYTES + actions + conditions
    }

    pub(super) fn run(self, opened: &Opened) {
        let Self { answer, write, required } = self;
        if let Some(required) = required.filter(|required| *required > opened.level) {
            let bucket = opened.bucket.name().to_string();
            return settle(&answer, Err(Error::LevelUnmet { bucket, required, level: opened.level }));
        }
        opened.bucket.write(write, Box::new(move |result| settle(&answer, result)));
    }
}

fn settle(answer: &Answer, result: Result<Written>) {
    match result {
        Ok(written) => {
            let mut head = Vec::with_capacity(32);
            written_head(&written, &mut head);
            answer.give(&head, &Bytes::new());
        }
        Err(error) => answer.fail(&failure_of(&error)),
    }
}

fn kept(value: Bytes) -> Bytes {
    if value.len() >= SHARED_FROM { value } else { Bytes::copy_from_slice(&value) }
}

impl KvAttachment {
    pub(super) fn put(&mut self, lane: Lane, record: &Record<'_>) -> std::result::Result<(), Failure> {
        let head = read_put(record.head()).ok_or_else(|| bad_request("a put head does not hold together"))?;
        let key = Bytes::copy_from_slice(&record.head()[head.place.key.0..head.place.key.1]);
        let key = Key::try_from(key).map_err(|error| failure_of(&error))?;
        self.door(head.place.bucket)?;
        self.may(head.place.bucket, Asks::Write(head.place.name))?;
        let value = kept(record.body_shared());
        let conditions = head.expected.map(|expected| Condition { key: key.clone(), expected });
        let write = Write {
            id: Some(head.write.id),
            conditions: conditions.into_iter().collect(),
            actions: vec![Action { key, operation: Operation::Put { value, time_to_live: head.time_to_live } }],
        };
        let writing = Writing { answer: self.answer(lane, record), write, required: head.write.required };
        self.submit(head.place.bucket, writing)
    }

    pub(super) fn write(&mut self, lane: Lane, record: &Record<'_>) -> std::result::Result<(), Failure> {
        let read = read_write(record.head(), &record.body_shared());
        let read = read.ok_or_else(|| bad_request("a write does not hold together"))?;
        let (bucket, required, mut write) = read.map_err(|error| failure_of(&error))?;
        self.door(bucket)?;
        let writes = |key: &Key| write.actions.iter().any(|action| action.key == *key);
        let looks: Vec<_> = write
            .conditions
            .iter()
            .map(|each| &each.key)
            .filter(|key| !self.reads_all(bucket) && !writes(key))
            .collect();
        for key in looks {
            self.may(bucket, Asks::Expect(&format!("{bucket}.{key}")))?;
        }
        if !self.writes_all(bucket) {
            for action in &write.actions {
                self.may(bucket, Asks::Write(&format!("{bucket}.{}", action.key)))?;
            }
        }
        write.conditions.iter_mut().for_each(|each| each.key = each.key.to_owned_bytes());
        for action in &mut write.actions {
            action.key = action.key.to_owned_bytes();
            if let Operation::Put { value, .. } = &mut action.operation {
                *value = kept(std::mem::take(value));
            }
        }
        let writing = Writing { answer: self.answer(lane, record), write, required };
        self.submit(bucket, writing)
    }

    fn submit(&mut self, bucket: &str, writing: Writing) -> std::result::Result<(), Failure> {
        let shared = self.shared.clone();
        self.door(bucket)?.submit(&shared, Job::Write(writing));
        Ok(())
    }
}
