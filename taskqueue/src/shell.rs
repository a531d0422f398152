//! What both engines put around the rules of a queue: a lock, the time, and the order in which things are let out.
//!
//! Whoever changes something and finds nobody letting things out does so, until nothing is left: so they go out in the order in
//! which they were said, with no lock held and no thread of its own.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use async_trait::async_trait;
use bytes::Bytes;
use sinew_session::ResourceName;
use tokio::sync::Notify;

use crate::clock::Clock;
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
    /// Told that there is something to store; `None`: nothing is stored.
    ring: Option<Box<dyn Fn() + Send + Sync>>,
}

struct State {
    scheduler: Scheduler,
    outlet: Option<Arc<dyn Outlet>>,
    /// What is to be stored, and let out once it is.
    unstored: Unstored,
    /// What can be let out.
    outgoing: VecDeque<Effect>,
    is_letting_out: bool,
    /// When the task that watches the time wakes.
    armed: Option<Moment>,
    ended: Option<Error>,
}

/// What is to be stored, and what is let out once it is.
#[derive(Debug, Default)]
pub(crate) struct Unstored {
    pub(crate) records: Vec<Record>,
    pub(crate) effects: Vec<Effect>,
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
        ring: Option<Box<dyn Fn() + Send + Sync>>,
    ) -> Arc<Self> {
        let state = State {
            scheduler,
            outlet: None,
            unstored: Unstored::default(),
            outgoing: VecDeque::new(),
            is_letting_out: false,
            armed: None,
            ended: None,
        };
        let shell = Arc::new(Self { name, level, clock, state: Mutex::new(state), wake: Arc::default(), ring });
        tokio::spawn(watch(Arc::downgrade(&shell)));
        shell
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes something, and lets out what comes of it.
    fn change(&self, change: impl FnOnce(&mut Scheduler, Moment, &mut Output)) {
        let mut state = self.lock();
        let mut out = Output { records: self.ring.as_ref().map(|_| Vec::new()), effects: Vec::new() };
        change(&mut state.scheduler, self.clock.now(), &mut out);
        let next = state.scheduler.next_timeout();
        let is_earlier = next.is_some_and(|next| state.armed.is_none_or(|armed| next < armed));
        if is_earlier {
            self.wake.notify_one();
        }
        match out.records {
            None => {
                state.outgoing.extend(out.effects);
                self.let_out(state);
            }
            Some(records) => {
                let is_something = !records.is_empty() || !out.effects.is_empty();
                state.unstored.records.extend(records);
                state.unstored.effects.extend(out.effects);
                drop(state);
                if let Some(ring) = self.ring.as_ref().filter(|_| is_something) {
                    ring();
                }
            }
        }
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

    /// What is to be stored now.
    pub(crate) fn unstored(&self) -> Unstored {
        std::mem::take(&mut self.lock().unstored)
    }

    /// What was to be let out once it is stored: it is.
    pub(crate) fn stored(&self, effects: Vec<Effect>) {
        let mut state = self.lock();
        state.outgoing.extend(effects);
        self.let_out(state);
    }

    /// The rules, to look at.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&Scheduler) -> R) -> R {
        look(&self.lock().scheduler)
    }

    pub(crate) fn alter(&self, config: QueueConfig) {
        self.tell(vec![Input::Alter(config)]);
    }

    /// Nothing more comes of it.
    pub(crate) fn end(&self, why: &Error) {
        let mut state = self.lock();
        if state.ended.is_some() {
            return;
        }
        state.ended = Some(why.clone());
        let outlet = state.outlet.clone();
        drop(state);
        self.wake.notify_one();
        if let Some(outlet) = outlet {
            outlet.ended(&self.name, why);
        }
    }
}

/// Who watches the time need not watch any longer.
impl Drop for Shell {
    fn drop(&mut self) {
        self.wake.notify_one();
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
        let state = self.lock();
        if let Some(why) = state.ended.clone() {
            let outlet = state.outlet.clone();
            drop(state);
            let askers = inputs.iter().filter_map(Input::asker);
            let answers = askers.map(|to| Effect::Answer { to, answer: Err(why.clone()) }).collect();
            if let Some(outlet) = outlet {
                outlet.let_out(&self.name, answers);
            }
            return;
        }
        drop(state);
        self.change(|scheduler, now, out| scheduler.handle(now, inputs, out));
    }

    fn has_ended(&self) -> bool {
        self.lock().ended.is_some()
    }

    fn info(&self) -> QueueInfo {
        self.look(|scheduler| scheduler.info(self.level, 0))
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
