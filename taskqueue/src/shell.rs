//! What both engines put around the rules of a queue: a lock, the time, and the order in which things are let out.
//!
//! Whoever changes something and finds nobody letting things out does so, until nothing is left: so they go out in the order in
//! which they were said, with no lock held and no thread of its own.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use async_trait::async_trait;
use bytes::Bytes;
use sinew_session::ResourceName;
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::planted::is_planted;
use crate::scheduler::{Output, Record, Scheduler};
use crate::{
    Effect, Error, Explanation, Input, Level, Listed, Moment, Outlet, Queue, QueueConfig, QueueInfo, Result, TaskId,
    TaskInfo, WorkerId, WorkerInfo,
};

/// A queue that lives.
pub(crate) struct Shell {
    name: ResourceName,
    level: Level,
    clock: Clock,
    state: Mutex<State>,
    /// What is due next has changed.
    wake: Arc<Notify>,
    /// `None`: nothing is stored.
    storing: Option<Storing>,
    disk_bytes: AtomicU64,
}

/// How what changes comes to be stored.
pub(crate) struct Storing {
    /// Told that there is something to store.
    pub(crate) ring: Box<dyn Fn() + Send + Sync>,
    /// Bytes that wait to be stored, from which on no new task is taken; from twice as many on nothing is that wants an
    /// answer.
    pub(crate) waiting_bytes_max: usize,
    /// The same for all queues of the engine together.
    pub(crate) total: Arc<Total>,
}

/// Bytes that wait to be stored in all queues of an engine, and from which on none takes a new task; from twice as many on
/// none takes anything that wants an answer.
#[derive(Debug)]
pub(crate) struct Total {
    bytes: AtomicUsize,
    bytes_max: usize,
}

impl Total {
    pub(crate) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { bytes: AtomicUsize::new(0), bytes_max })
    }
}

impl Storing {
    /// So many bytes more wait.
    fn wait(&self, state: &mut State, bytes: usize) {
        state.waiting_bytes += bytes;
        state.unstored.bytes += bytes;
        self.total.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many do not wait any more.
    fn give(&self, state: &mut State, bytes: usize) {
        // What was forgotten was given back with that.
        let bytes = bytes.min(state.waiting_bytes);
        state.waiting_bytes -= bytes;
        self.total.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Bytes that wait, in this queue or in all, where that is so many times what may: once for a new task, twice for
    /// anything else.
    fn full(&self, state: &State, times: usize) -> Option<usize> {
        let total = self.total.bytes.load(Ordering::Relaxed);
        let here = (state.waiting_bytes, self.waiting_bytes_max);
        [here, (total, self.total.bytes_max)]
            .into_iter()
            .find(|(bytes, max)| *bytes >= times * max)
            .map(|(bytes, _)| bytes)
    }
}

struct State {
    scheduler: Scheduler,
    outlet: Option<Arc<dyn Outlet>>,
    /// What is to be stored, and let out once it is.
    unstored: Unstored,
    /// Something is being stored just now.
    is_storing: bool,
    /// Bytes that wait to be stored, with what is being stored.
    waiting_bytes: usize,
    /// Why no new task is taken just now.
    refusing: Option<Error>,
    /// What can be let out.
    outgoing: VecDeque<Effect>,
    is_letting_out: bool,
    /// When the task that watches the time wakes.
    armed: Option<Moment>,
    ended: Option<Error>,
    #[cfg(test)]
    made: Made,
}

/// What is to be stored, and what is let out once it is.
#[derive(Debug, Default)]
pub(crate) struct Unstored {
    pub(crate) records: Vec<Record>,
    pub(crate) effects: Vec<Effect>,
    /// Bytes that it takes, about.
    bytes: usize,
}

impl Unstored {
    /// What is to be let out alone: a bug on purpose does so.
    pub(crate) fn without_records(&mut self) -> Self {
        Self { effects: std::mem::take(&mut self.effects), ..Self::default() }
    }

    fn is_empty(&self) -> bool {
        self.records.is_empty() && self.effects.is_empty()
    }
}

/// Bytes of a record or an effect beside payloads and outcomes, about.
const THING_BYTES: usize = 100;

fn bytes_of(record: &Record) -> usize {
    let bytes = match record {
        Record::Accepted { spec, .. } => spec.payload.len(),
        Record::Ended { outcome, .. } => outcome.body.len(),
        Record::Carried(carried) => carried.spec.payload.len(),
        _ => 0,
    };
    THING_BYTES + bytes
}

fn bytes_of_effect(effect: &Effect) -> usize {
    let bytes = match effect {
        Effect::Progress { data, .. } => data.len(),
        _ => 0,
    };
    THING_BYTES + bytes
}

/// All records that were made; and after each change how many effects there were by then, and how many records.
#[cfg(test)]
#[derive(Clone, Debug, Default)]
pub(crate) struct Made {
    pub(crate) records: Vec<Record>,
    pub(crate) marks: Vec<(usize, usize)>,
}

impl fmt::Debug for Shell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shell").field("name", &self.name).field("level", &self.level).finish_non_exhaustive()
    }
}

impl Shell {
    /// A queue that lives from now on. Within a tokio runtime, whose time it watches.
    pub(crate) fn start(
        name: ResourceName,
        level: Level,
        clock: Clock,
        scheduler: Scheduler,
        storing: Option<Storing>,
    ) -> Arc<Self> {
        let state = State {
            scheduler,
            outlet: None,
            unstored: Unstored::default(),
            is_storing: false,
            waiting_bytes: 0,
            refusing: None,
            outgoing: VecDeque::new(),
            is_letting_out: false,
            armed: None,
            ended: None,
            #[cfg(test)]
            made: Made::default(),
        };
        let (state, wake, disk_bytes) = (Mutex::new(state), Arc::default(), AtomicU64::new(0));
        let shell = Arc::new(Self { name, level, clock, state, wake, storing, disk_bytes });
        tokio::spawn(watch(Arc::downgrade(&shell)));
        shell
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes something, and lets out what comes of it.
    fn change(&self, change: impl FnOnce(&mut Scheduler, Moment, &mut Output)) {
        let mut state = self.lock();
        if state.ended.is_some() {
            return;
        }
        let mut out = Output { records: self.storing.as_ref().map(|_| Vec::new()), effects: Vec::new() };
        change(&mut state.scheduler, self.clock.now(), &mut out);
        let next = state.scheduler.next_timeout();
        let is_earlier = next.is_some_and(|next| state.armed.is_none_or(|armed| next < armed));
        if is_earlier {
            self.wake.notify_one();
        }
        match (out.records, &self.storing) {
            (Some(records), Some(storing)) => self.gather(state, storing, records, out.effects),
            _ => {
                state.outgoing.extend(out.effects);
                self.let_out(state);
            }
        }
    }

    /// Has it stored, and then let out.
    fn gather<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        storing: &Storing,
        records: Vec<Record>,
        mut effects: Vec<Effect>,
    ) {
        if storing.full(&state, 2).is_some() {
            // Nobody's outcome hangs on it.
            effects.retain(|effect| !matches!(effect, Effect::Progress { .. }));
        }
        #[cfg(test)]
        state.made.add(&records, effects.len());
        if records.is_empty() && state.unstored.is_empty() && !state.is_storing {
            // All that they tell of is stored.
            state.outgoing.extend(effects);
            return self.let_out(state);
        }
        if is_planted("told before it is stored") {
            state.outgoing.append(&mut effects.drain(..).collect());
            self.let_out(state);
            state = self.lock();
        }
        let bytes = records.iter().map(bytes_of).chain(effects.iter().map(bytes_of_effect)).sum::<usize>();
        let is_waited_for = !effects.is_empty() || records.iter().any(|of| !matches!(of, Record::Released { .. }));
        storing.wait(&mut state, bytes);
        state.unstored.records.extend(records);
        state.unstored.effects.extend(effects);
        drop(state);
        if is_waited_for {
            (storing.ring)();
        }
    }

    /// Has what is known of these tasks stored again, behind everything that was said up to now: of each all of it, or only
    /// what it is by this place in the order of acceptance. Says how many records that makes.
    pub(crate) fn carry(&self, tasks: &[(TaskId, Option<u64>)]) -> usize {
        let mut state = self.lock();
        let carried = tasks.iter().flat_map(|(task, sequence)| state.scheduler.carried_from(*task, *sequence));
        let records: Vec<Record> = carried.collect();
        let (count, bytes) = (records.len(), records.iter().map(bytes_of).sum::<usize>());
        if let Some(storing) = &self.storing {
            storing.wait(&mut state, bytes);
        }
        state.unstored.records.extend(records);
        count
    }

    /// Takes no new task for now, and says why; or does again.
    pub(crate) fn refuse(&self, why: Option<Error>) {
        self.lock().refusing = why;
    }

    pub(crate) fn set_disk_bytes(&self, bytes: u64) {
        self.disk_bytes.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn now(&self) -> Moment {
        self.clock.now()
    }

    /// Why this is not taken now.
    fn refusal(&self, state: &State, input: &Input) -> Option<Error> {
        if let Some(why) = &state.ended {
            return Some(why.clone());
        }
        let storing = self.storing.as_ref()?;
        let is_new = matches!(input, Input::Submit { .. } | Input::RetryDead { .. });
        if let Some(why) = state.refusing.as_ref().filter(|_| is_new) {
            return Some(why.clone());
        }
        input.asker()?;
        let bytes = storing.full(state, if is_new { 1 } else { 2 })?;
        Some(Error::Busy { queue: self.name.to_string(), bytes })
    }

    /// Lets out what can be let out, unless somebody does so already.
    fn let_out<'a>(&'a self, mut state: MutexGuard<'a, State>) {
        if state.is_letting_out {
            return;
        }
        state.is_letting_out = true;
        while !state.outgoing.is_empty() {
            let effects: Vec<Effect> = std::mem::take(&mut state.outgoing).into();
            let outlet = state.outlet.clone();
            drop(state);
            if let Some(outlet) = outlet {
                outlet.let_out(&self.name, effects);
            }
            state = self.lock();
        }
        state.is_letting_out = false;
    }

    /// What is to be stored now; `None` where there is nothing. It is the only one until it [is](Self::stored).
    pub(crate) fn unstored(&self) -> Option<Unstored> {
        let mut state = self.lock();
        if state.unstored.is_empty() {
            return None;
        }
        state.is_storing = true;
        Some(std::mem::take(&mut state.unstored))
    }

    /// What was to be stored is: what was said with it is let out.
    pub(crate) fn stored(&self, stored: Unstored) {
        let mut state = self.lock();
        state.is_storing = false;
        if let Some(storing) = &self.storing {
            storing.give(&mut state, stored.bytes);
        }
        state.outgoing.extend(stored.effects);
        self.let_out(state);
    }

    /// Whether something waits to be stored.
    pub(crate) fn has_unstored(&self) -> bool {
        !self.lock().unstored.is_empty()
    }

    /// Bytes that wait to be stored in all queues of the engine.
    #[cfg(test)]
    pub(crate) fn waiting_in_all(&self) -> Option<usize> {
        self.storing.as_ref().map(|storing| storing.total.bytes.load(Ordering::Relaxed))
    }

    #[cfg(test)]
    pub(crate) fn made(&self) -> Made {
        self.lock().made.clone()
    }

    /// As the time that passes does it.
    #[cfg(test)]
    pub(crate) fn turn(&self) {
        self.change(|scheduler, now, out| scheduler.handle_timeout(now, out));
    }

    /// The rules, to look at.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&Scheduler) -> R) -> R {
        look(&self.lock().scheduler)
    }

    pub(crate) fn alter(&self, config: QueueConfig) {
        self.tell(vec![Input::Alter(config.into())]);
    }

    /// Nothing more comes of it.
    pub(crate) fn end(&self, why: &Error) {
        if self.stop(why) {
            self.tell_ended(why);
        }
    }

    /// It is told nothing more, and time passes no more; what it has said goes on to be stored and let out. Says whether it
    /// did not stand still already.
    pub(crate) fn stop(&self, why: &Error) -> bool {
        let mut state = self.lock();
        let is_first = state.ended.is_none();
        state.ended.get_or_insert_with(|| why.clone());
        drop(state);
        self.wake.notify_one();
        is_first
    }

    /// What waits is not stored any more: the queue is gone.
    pub(crate) fn forget_unstored(&self) {
        let mut state = self.lock();
        state.unstored = Unstored::default();
        if let Some(storing) = &self.storing {
            let bytes = state.waiting_bytes;
            storing.give(&mut state, bytes);
        }
    }

    /// Tells who listens that nothing more comes.
    pub(crate) fn tell_ended(&self, why: &Error) {
        let outlet = self.lock().outlet.clone();
        if let Some(outlet) = outlet {
            outlet.ended(&self.name, why);
        }
    }
}

#[cfg(test)]
impl Made {
    fn add(&mut self, records: &[Record], effects: usize) {
        self.records.extend_from_slice(records);
        let before = self.marks.last().map_or(0, |(effects, _)| *effects);
        self.marks.push((before + effects, self.records.len()));
    }
}

/// Who watches the time need not watch any longer, and what waits is nobody's.
impl Drop for Shell {
    fn drop(&mut self) {
        self.wake.notify_one();
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(storing) = &self.storing {
            storing.give(state, state.waiting_bytes);
        }
    }
}

/// Watches the time.
async fn watch(shell: Weak<Shell>) {
    loop {
        let Some(queue) = shell.upgrade() else { return };
        let due = {
            let mut state = queue.lock();
            if state.ended.is_some() {
                return;
            }
            state.armed = state.scheduler.next_timeout();
            state.armed
        };
        if due.is_some_and(|due| due <= queue.clock.now()) {
            queue.change(|scheduler, now, out| scheduler.handle_timeout(now, out));
            continue;
        }
        let (at, wake) = (due.map(|due| queue.clock.instant(due)), queue.wake.clone());
        // It is not kept alive for the time.
        drop(queue);
        tokio::select! {
            () = wake.notified() => {}
            () = until(at) => {}
        }
    }
}

async fn until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[async_trait]
impl Queue for Shell {
    fn name(&self) -> &ResourceName {
        &self.name
    }

    fn level(&self) -> Level {
        self.level
    }

    fn listen(&self, outlet: Arc<dyn Outlet>) {
        self.lock().outlet = Some(outlet);
    }

    fn tell(&self, inputs: Vec<Input>) {
        let mut state = self.lock();
        let mut refused = Vec::new();
        let mut taken = inputs;
        taken.retain(|input| {
            let why = self.refusal(&state, input);
            let is_taken = why.is_none();
            refused.extend(why.zip(input.asker()).map(|(why, to)| Effect::Answer { to, answer: Err(why) }));
            is_taken
        });
        if !refused.is_empty() {
            // They tell of nothing that waits to be stored.
            state.outgoing.extend(refused);
            self.let_out(state);
        } else {
            drop(state);
        }
        if !taken.is_empty() {
            self.change(|scheduler, now, out| scheduler.handle(now, taken, out));
        }
    }

    fn has_ended(&self) -> bool {
        self.lock().ended.is_some()
    }

    fn info(&self) -> QueueInfo {
        self.look(|scheduler| scheduler.info(self.level, self.disk_bytes.load(Ordering::Relaxed)))
    }

    fn tasks(&self, listed: Listed, after: Option<u64>, max: usize) -> Vec<TaskInfo> {
        self.look(|scheduler| scheduler.tasks(listed, after, max))
    }

    fn explain(&self, task: TaskId) -> Result<Explanation> {
        self.look(|scheduler| scheduler.explain(task, self.clock.now()))
    }

    fn payload(&self, task: TaskId) -> Result<Bytes> {
        self.look(|scheduler| scheduler.payload(task))
    }

    fn workers(&self, after: Option<WorkerId>, max: usize) -> Vec<WorkerInfo> {
        self.look(|scheduler| scheduler.workers(after, max))
    }
}
