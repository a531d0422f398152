//! Queues as a session speaks to them: looked up once, and kept. What comes while one is being opened waits in order.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sinew_session::{Failure, Operation, Resource, ResourceName};

use super::Shared;
use super::attachment::{TaskAttachment, name};
use crate::{Error, Input, Level, Queue, Report, Result};

/// What something that waits takes beside payloads, about.
const WAITING_BYTES: usize = 256;

/// A queue as a session sees it.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) name: ResourceName,
    /// It may submit, so that it need not be asked for each task. Until the policy changes.
    pub(super) submits: bool,
    /// What this block brings.
    gathered: Vec<Told>,
    state: Arc<Mutex<State>>,
}

/// What a queue is to be told, if it is as it must be.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) input: Input,
    /// What it must promise.
    pub(super) required: Option<Level>,
    /// It may have been told before, to another server.
    pub(super) elsewhere: bool,
}

impl From<Input> for Told {
    fn from(input: Input) -> Self {
        Self { input, required: None, elsewhere: false }
    }
}

#[derive(Debug, Default)]
enum State {
    /// Nobody looks it up: the next one does.
    #[default]
    Closed,
    /// It is being looked up; what comes meanwhile waits in order.
    Opening {
        waiting: Vec<Told>,
        bytes: usize,
    },
    Open(Arc<dyn Queue>),
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Told {
    fn bytes(&self) -> usize {
        WAITING_BYTES
            + match &self.input {
                Input::Submit { spec, .. } => spec.payload.len(),
                Input::Report { report: Report::Done(result), .. } => result.len(),
                Input::Report { report: Report::Failed { details, .. }, .. } => details.len(),
                Input::Join { held, .. } => held.len() * size_of::<crate::Attempt>(),
                _ => 0,
            }
    }

    /// Whether a queue that is not there is made for it.
    fn makes(&self) -> bool {
        matches!(self.input, Input::Submit { .. } | Input::Join { .. })
    }

    /// Why a queue of this level does not take it.
    fn refused(&self, queue: &ResourceName, level: Level) -> Option<Error> {
        let queue = || queue.to_string();
        if let Some(required) = self.required.filter(|required| *required > level) {
            return Some(Error::LevelUnmet { queue: queue(), required, level });
        }
        match &self.input {
            Input::Submit { spec, .. } if self.elsewhere && level == Level::Memory => {
                Some(Error::OutcomeUnknown { queue: queue(), task: spec.id })
            }
            _ => None,
        }
    }
}

/// Tells a queue what it takes, and answers the rest.
fn tell(shared: &Shared, queue: &dyn Queue, told: Vec<Told>) {
    let level = queue.level();
    let mut inputs = Vec::with_capacity(told.len());
    for told in told {
        match told.refused(queue.name(), level) {
            None => inputs.push(told.input),
            Some(error) => refuse(shared, &told, error),
        }
    }
    if !inputs.is_empty() {
        queue.tell(inputs);
    }
}

fn refuse(shared: &Shared, told: &Told, error: Error) {
    if let Some(asker) = told.input.asker() {
        shared.seats.refuse(asker, error);
    }
}

impl TaskAttachment {
    /// What is known of a queue.
    pub(super) fn door(&mut self, text: &str) -> std::result::Result<&mut Door, Failure> {
        if !self.doors.contains_key(text) {
            self.make_door(text)?;
        }
        Ok(self.doors.get_mut(text).expect("just made"))
    }

    #[cold]
    fn make_door(&mut self, text: &str) -> std::result::Result<(), Failure> {
        let name = name(text)?;
        let max = self.shared.limits.doors_max;
        if self.doors.len() >= max {
            let standing = self.seat.all();
            let is_used = |door: &Door| standing.iter().any(|(_, call)| call.queue == door.name) || door.is_busy();
            self.doors.retain(|_, door| is_used(door));
            if self.doors.len() >= max {
                let reason = format!(
                    "this session has tasks or workers in {max} queues, the limit; use another session, or raise `doors_max`"
                );
                return Err(Failure::new("limit", reason));
            }
        }
        let submits = self.link.is_permitted(Operation::TaskSubmit, Resource::Name(text));
        self.doors.insert(text.into(), Door { name, submits, gathered: Vec::new(), state: Arc::default() });
        Ok(())
    }

    /// The queue is told so together with what else this block brings. Its door was looked up.
    pub(super) fn gather(&mut self, queue: &str, told: impl Into<Told>) {
        let Some(door) = self.doors.get_mut(queue) else { return };
        if door.gathered.is_empty() {
            self.touched.push(door.name.clone());
        }
        door.gathered.push(told.into());
    }

    /// Tells each queue what was gathered for it.
    pub(super) fn tell_gathered(&mut self) {
        while let Some(name) = self.touched.pop() {
            if let Some(door) = self.doors.get_mut(name.as_str()) {
                door.tell(&self.shared);
            }
        }
    }
}

impl Door {
    /// Something waits at it.
    fn is_busy(&self) -> bool {
        !self.gathered.is_empty() || matches!(&*lock(&self.state), State::Opening { .. })
    }

    /// Whether the queue was never there for this session, so that it has nothing to hear.
    pub(super) fn is_closed(&self) -> bool {
        matches!(&*lock(&self.state), State::Closed)
    }

    fn tell(&mut self, shared: &Arc<Shared>) {
        let told = std::mem::take(&mut self.gathered);
        let mut state = lock(&self.state);
        if matches!(&*state, State::Open(queue) if queue.has_ended()) {
            *state = State::Closed;
        }
        match &mut *state {
            State::Open(queue) => {
                let queue = queue.clone();
                drop(state);
                tell(shared, &*queue, told);
            }
            State::Opening { waiting, bytes } => {
                if *bytes > shared.limits.opening_bytes_max {
                    let busy = Error::Busy { queue: self.name.to_string(), bytes: *bytes };
                    drop(state);
                    return told.iter().for_each(|told| refuse(shared, told, busy.clone()));
                }
                *bytes += told.iter().map(Told::bytes).sum::<usize>();
                waiting.extend(told);
            }
            State::Closed => {
                let bytes = told.iter().map(Told::bytes).sum();
                *state = State::Opening { waiting: told, bytes };
                drop(state);
                tokio::spawn(open(shared.clone(), self.name.clone(), self.state.clone()));
            }
        }
    }
}

/// Looks a queue up, and lets through what has waited for it. A task or a worker makes it where it is not there.
async fn open(shared: Arc<Shared>, name: ResourceName, state: Arc<Mutex<State>>) {
    let mut opened: Result<Arc<dyn Queue>> = shared.queue(&name).await;
    loop {
        // In rounds, so that nothing overtakes what waits, and the queue is not told anything with the door locked.
        let round = {
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
        if matches!(&opened, Err(Error::UnknownQueue { .. })) && round.iter().any(Told::makes) {
            opened = shared.queue_or_new(&name).await;
        }
        match &opened {
            Ok(queue) => tell(&shared, &**queue, round),
            Err(error) => round.iter().for_each(|told| refuse(&shared, told, error.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Asker, Moment, Spec, TaskId, TaskOptions};

    fn submit(required: Option<Level>, elsewhere: bool) -> Told {
        let spec = Spec {
            id: TaskId::from_bytes([1; 16]),
            owner: "anonymous".into(),
            submitted: Moment::default(),
            options: TaskOptions::default(),
            payload: "x".into(),
            fingerprint: 0,
        };
        Told {
            input: Input::Submit { asker: Asker { connection: 1, call: 1 }, spec: spec.into() },
            required,
            elsewhere,
        }
    }

    #[test]
    fn what_another_server_may_have_had_is_taken_by_a_queue_on_disk_alone() {
        let queue = "orders".parse().unwrap();
        for level in [Level::Memory, Level::Written, Level::Fsynced] {
            let refused = submit(None, true).refused(&queue, level);
            assert_eq!(matches!(refused, Some(Error::OutcomeUnknown { .. })), level == Level::Memory, "{refused:?}");
            assert!(submit(None, false).refused(&queue, level).is_none());
            let refused = submit(Some(Level::Written), false).refused(&queue, level);
            assert_eq!(matches!(refused, Some(Error::LevelUnmet { .. })), level == Level::Memory, "{refused:?}");
        }
    }
}
