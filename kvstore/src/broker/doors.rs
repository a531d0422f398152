//! Buckets as a session reads and writes them: looked up once, and kept until something changes. What comes while one is
//! being opened waits in order.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sinew_session::{Failure, ResourceName};
use tokio::sync::watch;

use super::Shared;
use super::attachment::{KvAttachment, name};
use super::gets::Get;
use super::writes::Writing;
use crate::protocol::{Access, Asks, access, failure_of};
use crate::{Bucket, BucketRange, Error, Level, Result};

/// No generation: what is known is to be looked up anew.
const NEVER: u64 = u64::MAX;

/// A bucket as a session sees it.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) name: ResourceName,
    generation: u64,
    /// It may read every key, so that none need be asked for.
    reads_all: bool,
    /// It may write every key.
    writes_all: bool,
    open: Option<Opened>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
enum State {
    /// Nobody looks it up: the next request does.
    #[default]
    Closed,
    /// It is being looked up; what comes meanwhile waits in order.
    Opening {
        waiting: VecDeque<Job>,
        bytes: usize,
    },
    Open(Opened),
}

/// A bucket that is open.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    pub(super) bucket: Arc<dyn Bucket>,
    range: watch::Receiver<BucketRange>,
    pub(super) level: Level,
}

/// What waits for a bucket.
#[derive(Debug)]
pub(super) enum Job {
    Get(Get),
    Write(Writing),
}

impl Job {
    fn bytes(&self) -> usize {
        match self {
            Self::Get(get) => get.bytes(),
            Self::Write(writing) => writing.bytes(),
        }
    }

    fn fail(self, error: &Error) {
        let answer = match self {
            Self::Get(get) => get.answer,
            Self::Write(writing) => writing.answer,
        };
        answer.fail(&failure_of(error));
    }

    fn run(self, opened: &Opened) {
        match self {
            Self::Get(get) => get.run(opened),
            Self::Write(writing) => writing.run(opened),
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl KvAttachment {
    /// What is known of a bucket, looked up anew where something has changed.
    pub(super) fn door(&mut self, text: &str) -> std::result::Result<&mut Door, Failure> {
        let generation = self.shared.generation();
        if self.doors.get(text).is_none_or(|door| door.generation != generation) {
            self.make_door(text, generation)?;
        }
        Ok(self.doors.get_mut(text).expect("just made"))
    }

    #[cold]
    fn make_door(&mut self, text: &str, generation: u64) -> std::result::Result<(), Failure> {
        let name = name(text)?;
        if self.doors.len() >= self.shared.limits.doors_max {
            // Not those at which something waits: what comes later must not overtake it.
            self.doors.retain(|_, door| matches!(&*lock(&door.state), State::Opening { .. }));
        }
        let all = format!("{text}.>");
        let permitted = |asks| match access(asks) {
            Access::Needs(operation, resource) => self.link.is_permitted(operation, resource),
            Access::NeedsServerToo(..) | Access::Own => false,
        };
        let reads_all = permitted(Asks::Scan(&all));
        // The same question on the pattern, for which no request asks as a whole.
        let writes_all =
            self.link.is_permitted(sinew_session::Operation::KvWrite, sinew_session::Resource::Pattern(&all));
        // What waits at the old door still goes before: it holds its own state.
        let state = self.doors.remove(text).map(|door| door.state).unwrap_or_default();
        let mut held = lock(&state);
        if matches!(&*held, State::Open(_)) {
            *held = State::Closed;
        }
        drop(held);
        self.doors.insert(text.into(), Door { name, generation, reads_all, writes_all, open: None, state });
        Ok(())
    }

    /// Whether a key may be read or written; the door has been looked up.
    pub(super) fn may(&self, bucket: &str, asks: Asks<'_>) -> std::result::Result<(), Failure> {
        let known = match asks {
            Asks::Read(_) | Asks::Expect(_) => self.reads_all(bucket),
            Asks::Write(_) => self.writes_all(bucket),
            _ => false,
        };
        if known { Ok(()) } else { self.check(asks) }
    }
}

impl KvAttachment {
    /// What may be done is to be asked anew.
    pub(super) fn judge_doors(&mut self) {
        self.doors.values_mut().for_each(|door| door.generation = NEVER);
    }

    pub(super) fn reads_all(&self, bucket: &str) -> bool {
        self.doors.get(bucket).is_some_and(|door| door.reads_all)
    }

    pub(super) fn writes_all(&self, bucket: &str) -> bool {
        self.doors.get(bucket).is_some_and(|door| door.writes_all)
    }
}

impl Door {
    /// The bucket, if it is open.
    pub(super) fn opened(&mut self) -> Option<&Opened> {
        if self.open.as_ref().is_some_and(Opened::has_ended) {
            self.open = None;
            let mut state = lock(&self.state);
            if matches!(&*state, State::Open(opened) if opened.has_ended()) {
                *state = State::Closed;
            }
        }
        if self.open.is_none()
            && let State::Open(opened) = &*lock(&self.state)
        {
            self.open = Some(opened.clone());
        }
        self.open.as_ref()
    }

    /// Does it once the bucket is open, behind what waits already.
    pub(super) fn submit(&mut self, shared: &Arc<Shared>, job: Job) {
        if let Some(opened) = self.opened() {
            return job.run(opened);
        }
        let mut state = lock(&self.state);
        match &mut *state {
            State::Open(opened) => {
                let opened = opened.clone();
                drop(state);
                job.run(&opened);
            }
            State::Opening { waiting, bytes } => {
                if *bytes > shared.limits.opening_bytes_max {
                    let bytes = *bytes;
                    drop(state);
                    return job.fail(&Error::Busy { bucket: self.name.to_string(), bytes });
                }
                *bytes += job.bytes();
                waiting.push_back(job);
            }
            State::Closed => {
                let bytes = job.bytes();
                *state = State::Opening { waiting: VecDeque::from([job]), bytes };
                drop(state);
                tokio::spawn(open(shared.clone(), self.name.clone(), self.state.clone()));
            }
        }
    }
}

impl Opened {
    async fn of(bucket: Arc<dyn Bucket>) -> Result<Self> {
        let level = bucket.info().await?.level;
        Ok(Self { range: bucket.range(), bucket, level })
    }

    fn has_ended(&self) -> bool {
        self.range.borrow().ended
    }
}

/// Looks a bucket up, and lets through what has waited for it. A write makes it where it is not there.
async fn open(shared: Arc<Shared>, name: ResourceName, state: Arc<Mutex<State>>) {
    let look_up = async { Opened::of(shared.bucket(&name).await?).await };
    let mut opened: Result<Opened> = look_up.await;
    loop {
        // In rounds, so that nothing overtakes what waits, and the engine is not called with the door locked.
        let queue = {
            let mut state = lock(&state);
            match &mut *state {
                State::Opening { waiting, bytes } if !waiting.is_empty() => {
                    *bytes = 0;
                    std::mem::take(waiting)
                }
                other => {
                    *other = opened.map_or(State::Closed, State::Open);
                    return;
                }
            }
        };
        for job in queue {
            if matches!((&job, &opened), (Job::Write(_), Err(Error::UnknownBucket { .. }))) {
                let make = async { Opened::of(shared.bucket_or_new(&name).await?).await };
                opened = make.await;
            }
            match &opened {
                Ok(opened) => job.run(opened),
                Err(error) => job.fail(error),
            }
        }
    }
}
