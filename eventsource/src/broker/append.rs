//! Appends: to the engine in the order in which they came, and answered from wherever the engine ends them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use sinew_session::{FAILURE, Failure, Header, Lane, Link, REPLY, Record, ResourceName, to_cbor};
use tokio::sync::watch;

use super::Shared;
use super::attachment::{LogAttachment, name};
use crate::protocol::{AppendHead, Asks, appended_head, bad_request, failure_of};
use crate::{Append, Appended, Error, EventBatch, Level, Result, Stream, StreamRange};

/// What an append that waits takes beside its events, about.
const WAITING_BYTES: usize = 256;

/// A stream as a session appends to it.
#[derive(Debug)]
pub(super) struct Door {
    stream: ResourceName,
    /// Why it may not append there.
    denied: Option<Failure>,
    /// As of when that and its stream are known; `None` where they are to be looked up anew.
    generation: Option<u64>,
    state: Arc<Mutex<State>>,
}

/// The doors of all sessions, so that what they keep open can be let go.
#[derive(Debug, Default)]
pub(super) struct Doors(Mutex<Vec<Weak<Mutex<State>>>>);

impl Doors {
    /// A new one, closed.
    fn add(&self) -> Arc<Mutex<State>> {
        let state = Arc::new(Mutex::new(State::Failed));
        let mut doors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if doors.len() == doors.capacity() {
            doors.retain(|door| door.strong_count() > 0);
        }
        doors.push(Arc::downgrade(&state));
        state
    }

    /// Each looks its stream up anew at the next append; whether any had one open. Costs a short lock for each.
    pub(super) fn let_go(&self) -> bool {
        let doors = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let doors: Vec<_> = doors.iter().filter_map(Weak::upgrade).collect();
        let open = doors.iter().filter(|door| lock(door).reopen()).count();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(doors.iter().map(Arc::downgrade));
        open > 0
    }
}

#[derive(Debug)]
enum State {
    /// It is being looked up; what comes meanwhile waits in order.
    Opening {
        waiting: VecDeque<Waiting>,
        bytes: usize,
    },
    Open(Opened),
    /// It could not be opened: the next append tries again.
    Failed,
}

#[derive(Clone, Debug)]
struct Opened {
    stream: Arc<dyn Stream>,
    range: watch::Receiver<StreamRange>,
    level: Level,
}

/// An append, and how it is answered.
#[derive(Debug)]
struct Waiting {
    append: Append,
    required: Option<Level>,
    answer: Answer,
}

#[derive(Debug)]
struct Answer {
    link: Arc<Link>,
    lane: Lane,
    header: Header,
}

impl LogAttachment {
    pub(super) fn append(&mut self, lane: Lane, record: &Record<'_>) {
        let answer = Answer { link: self.link.clone(), lane, header: record.header };
        if let Err((failure, answer)) = self.try_append(record, answer) {
            answer.fail(&failure);
        }
    }

    fn try_append(&mut self, record: &Record<'_>, answer: Answer) -> std::result::Result<(), (Failure, Answer)> {
        let Some(head) = AppendHead::read(record.head()) else {
            return Err((bad_request("an append head does not hold together"), answer));
        };
        let events = match EventBatch::parse(record.body_shared()) {
            Ok(events) => events,
            Err(error) => return Err((failure_of(&error.into()), answer)),
        };
        let shared = self.shared.clone();
        let door = match self.door(head.stream) {
            Ok(door) => door,
            Err(failure) => return Err((failure, answer)),
        };
        if let Some(denied) = &door.denied {
            return Err((denied.clone(), answer));
        }
        let append = Append { events, expected_next: head.expected_next, producer: head.producer };
        let waiting = Waiting { append, required: head.required, answer };
        door.submit(&shared, waiting);
        Ok(())
    }

    /// What is known of a stream, looked up anew where something has changed.
    fn door(&mut self, text: &str) -> std::result::Result<&Door, Failure> {
        let generation = Some(self.shared.generation());
        if self.doors.get(text).is_none_or(|door| door.generation != generation) {
            let stream = name(text)?;
            let denied = self.check(Asks::Append(text)).err();
            self.make_room(text)?;
            // What waits at the old door still goes before: it holds its own state.
            let state = self.doors.remove(text).map(|door| door.state).unwrap_or_else(|| self.shared.doors.add());
            lock(&state).reopen();
            self.doors.insert(text.to_owned(), Door { stream, denied, generation, state });
        }
        Ok(&self.doors[text])
    }

    /// Forgets doors where there are too many, but not those at which something waits: nothing overtakes it.
    fn make_room(&mut self, text: &str) -> std::result::Result<(), Failure> {
        let max = self.shared.limits.doors_max;
        if self.doors.len() < max || self.doors.contains_key(text) {
            return Ok(());
        }
        self.doors.retain(|_, door| matches!(&*lock(&door.state), State::Opening { .. }));
        if self.doors.len() < max {
            return Ok(());
        }
        let reason = format!("{max} streams of this session are being opened, the limit; await some appends first");
        Err(failure_of(&Error::Limit { reason }))
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// The stream is to be looked up again; whether it was open.
    fn reopen(&mut self) -> bool {
        let was_open = matches!(self, Self::Open(_));
        if was_open {
            *self = Self::Failed;
        }
        was_open
    }
}

impl Door {
    /// What is known is to be looked up anew.
    pub(super) fn doubt(&mut self) {
        self.generation = None;
    }

    fn submit(&self, shared: &Arc<Shared>, waiting: Waiting) {
        let mut state = lock(&self.state);
        if matches!(&*state, State::Open(opened) if opened.range.borrow().ended) {
            *state = State::Failed;
        }
        match &mut *state {
            State::Open(opened) => {
                let opened = opened.clone();
                drop(state);
                opened.append(waiting);
            }
            State::Opening { waiting: queue, bytes } => {
                let max = shared.limits.opening_bytes_max;
                if *bytes > max {
                    let bytes = *bytes;
                    drop(state);
                    return waiting.answer.settle(Err(Error::Busy { stream: self.stream.to_string(), bytes }));
                }
                *bytes += waiting.bytes();
                queue.push_back(waiting);
            }
            State::Failed => {
                let bytes = waiting.bytes();
                *state = State::Opening { waiting: VecDeque::from([waiting]), bytes };
                drop(state);
                tokio::spawn(open(shared.clone(), self.stream.clone(), self.state.clone()));
            }
        }
    }
}

/// Looks a stream up, and lets through what has waited for it.
async fn open(shared: Arc<Shared>, name: ResourceName, state: Arc<Mutex<State>>) {
    let opening = async {
        let stream = shared.stream(&name).await?;
        let level = stream.info().await?.level;
        Ok(Opened { range: stream.range(), stream, level })
    };
    let opened: Result<Opened> = opening.await;
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
                    *other = opened.clone().map_or(State::Failed, State::Open);
                    return;
                }
            }
        };
        for waiting in queue {
            match &opened {
                Ok(opened) => opened.append(waiting),
                Err(error) => waiting.answer.settle(Err(error.clone())),
            }
        }
    }
}

impl Waiting {
    fn bytes(&self) -> usize {
        self.append.events.body().len() + WAITING_BYTES
    }
}

impl Opened {
    fn append(&self, waiting: Waiting) {
        let Waiting { append, required, answer } = waiting;
        if let Some(required) = required.filter(|required| *required > self.level) {
            let stream = self.stream.name().to_string();
            return answer.settle(Err(Error::LevelUnmet { stream, required, level: self.level }));
        }
        self.stream.append(append, Box::new(move |result| answer.settle(result)));
    }
}

impl Answer {
    fn settle(self, result: Result<Appended>) {
        match result {
            Ok(appended) => {
                let header = Header { flags: REPLY, ..self.header };
                self.link.pack().push(self.lane, header, &[&appended_head(&appended)], &Bytes::new());
            }
            Err(error) => self.fail(&failure_of(&error)),
        }
    }

    fn fail(&self, failure: &Failure) {
        let header = Header { flags: REPLY | FAILURE, ..self.header };
        self.link.pack().push(self.lane, header, &[], &Bytes::from(to_cbor(failure)));
    }
}
