//! The engine as the broker uses it, on a disk in memory that fails and is cut off, with time in hand.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use sinew_hosting::{Upkeep, locked};
use sinew_journal::{Committer, DataDirectory, Dice, SimulatedDisk};
use sinew_session::ResourceName;
use tokio::runtime::{EnterGuard, Runtime};

use super::stored_queue::StoredQueue;
use super::*;
use crate::scheduler::{Record, Scheduler};
use crate::{Answer, Asker, Attempt, Moment, Report, Spec, TaskOptions, WorkerId, WorkerSpec};

mod basics;
mod copies;
mod crash;
mod faults;
mod golden;
mod life;
mod view;

/// Where the data directory is.
const DATA: &str = "/data";
/// When tests begin, in nanoseconds since 1970.
const START: u64 = 1_700_000_000_000_000_000;

fn name(text: &str) -> ResourceName {
    ResourceName::try_from(text).expect("a name")
}

fn task(number: u64) -> TaskId {
    TaskId::of(7, number)
}

fn worker(number: u64) -> WorkerId {
    WorkerId::of(9, number)
}

fn client(connection: u64, call: u32) -> Asker {
    Asker { connection, call }
}

/// Small in everything, and without threads: what is dirty runs when it is told to, and so does everything else.
fn small() -> TaskEngineOptions {
    TaskEngineOptions {
        committer_threads: 0,
        segment_bytes_max: 2_000,
        waiting_bytes_total_max: 40 << 20,
        ..TaskEngineOptions::default()
    }
}

/// An engine on this disk, where the wall clock shows this.
fn engine_on(disk: &SimulatedDisk, wall: impl Fn() -> Moment + Send + Sync + 'static) -> Result<JournalEngine> {
    let failed = |error: sinew_journal::Error| explain("*", &error);
    let directory = DataDirectory::open(Arc::new(disk.clone()), Path::new(DATA)).map_err(failed)?;
    let committer = Arc::new(Committer::new(0).map_err(failed)?);
    JournalEngine::with(Host::with(Arc::new(directory), small(), Box::new(wall)), committer, Upkeep::idle())
}

thread_local! {
    /// Its time stands still.
    static RUNTIME: &'static Runtime = {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        Box::leak(Box::new(builder.enable_time().start_paused(true).build().expect("a runtime")))
    };
}

/// This test's time, which stands still but for this.
fn pass(span: Duration) {
    RUNTIME.with(|runtime| runtime.block_on(tokio::time::advance(span)));
}

/// What a test begins with: without it, time would not stand still.
fn entered() -> EnterGuard<'static> {
    RUNTIME.with(|runtime| runtime.enter())
}

/// Keeps what is let out, and how much had happened to the disk by then.
#[derive(Debug)]
struct Heard {
    disk: SimulatedDisk,
    effects: Mutex<Vec<(usize, Effect)>>,
    ended: Mutex<Option<Error>>,
}

impl Heard {
    fn new(disk: &SimulatedDisk) -> Arc<Self> {
        Arc::new(Self { disk: disk.clone(), effects: Mutex::default(), ended: Mutex::default() })
    }

    fn effects(&self) -> Vec<Effect> {
        locked(&self.effects).iter().map(|(_, effect)| effect.clone()).collect()
    }

    /// The answer to a call.
    fn answer(&self, to: Asker) -> Option<Result<Answer>> {
        let is_it = |effect: Effect| match effect {
            Effect::Answer { to: of, answer } if of == to => Some(answer),
            _ => None,
        };
        self.effects().into_iter().filter_map(is_it).next_back()
    }
}

impl Outlet for Heard {
    fn let_out(&self, _: &ResourceName, effects: Vec<Effect>) {
        let moment = self.disk.moment();
        locked(&self.effects).extend(effects.into_iter().map(|effect| (moment, effect)));
    }

    fn ended(&self, _: &ResourceName, why: &Error) {
        assert!(locked(&self.ended).replace(why.clone()).is_none(), "it ends once");
    }
}

/// Whether an effect is the answer of one who was not asked.
fn is_refusal(effect: &Effect) -> bool {
    let Effect::Answer { answer: Err(why), .. } = effect else { return false };
    matches!(why, Error::NoSpace { .. } | Error::Busy { .. } | Error::Ended { .. } | Error::Storage { .. })
}

fn spec(number: u64, payload: impl Into<Bytes>, options: TaskOptions) -> Spec {
    let (owner, submitted, payload) = ("ada".into(), Moment::default(), payload.into());
    Spec { id: task(number), owner, submitted, options, payload, fingerprint: 0 }
}

fn submit(number: u64, payload: impl Into<Bytes>, options: TaskOptions) -> Input {
    Input::Submit { asker: client(1, number as u32), spec: spec(number, payload, options).into() }
}

fn waits() -> TaskOptions {
    TaskOptions { queueing: true, detached: true, ..TaskOptions::default() }
}

fn join(number: u64, credit: u32) -> Input {
    let worker = WorkerSpec { id: worker(number), owner: "bob".into(), name: "w".into(), tags: vec![], credit };
    Input::Join { asker: client(100 + number, 1), worker: worker.into(), held: vec![] }
}

fn done(number: u64, attempt: u32, by: u64, result: &str) -> Input {
    let (asker, report) = (client(100 + by, 1_000 + number as u32), Report::Done(result.to_owned().into()));
    Input::Report { asker, worker: worker(by), attempt: Attempt { task: task(number), number: attempt }, report }
}
