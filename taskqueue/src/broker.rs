//! The task queue at the server: takes what arrives, asks who may, tells the queue, lets out what it says. No rule in here.
//!
//! What one block brings for a queue it is told at once, where the block arrived; what a queue says is packed for each
//! connection together, from whatever thread it says it.
//!
//! Locks are taken in this order: session, door, the queue's own, seat, outbox. No door and no seat is held while a queue is
//! told something, which may speak at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use sinew_session::{Attachment, Link, ResourceName, Service};

use crate::protocol::SERVICE;
use crate::{Engine, Error, Queue, QueueConfig, Result};

mod attachment;
mod calls;
mod doors;
mod look;
mod maintain;
mod outlet;
mod queues;
mod seats;
mod waits;
mod workers;
use attachment::TaskAttachment;
use outlet::QueueOutlet;
use seats::Seats;

/// The limits of the task queue at the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskLimits {
    /// Whether a task or a worker for a queue that is not there makes it, with the defaults. Default: yes.
    pub made_by_submit: bool,
    /// Tasks that a session waits for, and calls of it that wait for a queue's answer. Default 65,536 each: as many calls as a
    /// client has in flight.
    pub waits_max: usize,
    /// Workers of a session. Default 1,000.
    pub workers_max: usize,
    /// Tasks that a worker has at one time. Default 4,096. A larger wish is cut to it.
    pub credit_max: u32,
    /// Bytes of outcomes that wait until a session that reads too slowly takes them. Default 64 MiB; beyond, the wait ends, and
    /// the outcome can be fetched as long as it is kept.
    pub ended_bytes_max: usize,
    /// Calls of a session that look at queues or manage them, under way. Default 256.
    pub calls_max: usize,
    /// Bytes of what a session says to a queue that is being opened. Default 8 MiB; beyond, it fails as busy.
    pub opening_bytes_max: usize,
    /// Queues of a session that are kept open. Default 1,024; beyond, those that it has nothing in are looked up anew.
    pub doors_max: usize,
}

impl Default for TaskLimits {
    fn default() -> Self {
        Self {
            made_by_submit: true,
            waits_max: 65_536,
            workers_max: 1_000,
            credit_max: 4_096,
            ended_bytes_max: 64 << 20,
            calls_max: 256,
            opening_bytes_max: 8 << 20,
            doors_max: 1_024,
        }
    }
}

/// The task queue, to be given to a server.
#[derive(Debug)]
pub struct Broker {
    shared: Arc<Shared>,
}

/// What all sessions share.
#[derive(Debug)]
struct Shared {
    engine: Arc<dyn Engine>,
    limits: TaskLimits,
    seats: Arc<Seats>,
    /// Queues that we listen to.
    heard: Mutex<HashMap<ResourceName, Weak<dyn Queue>>>,
}

impl Shared {
    /// A queue, to which we listen from now on.
    async fn queue(&self, name: &ResourceName) -> Result<Arc<dyn Queue>> {
        let queue = self.engine.queue(name).await?;
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let known = heard.get(name).and_then(Weak::upgrade);
        if known.is_none_or(|known| !Arc::ptr_eq(&known, &queue)) {
            heard.retain(|_, queue| queue.strong_count() > 0);
            queue.listen(Arc::new(QueueOutlet::new(self.seats.clone(), queue.level())));
            heard.insert(name.clone(), Arc::downgrade(&queue));
        }
        Ok(queue)
    }

    /// The same, made with the defaults where it is not there.
    async fn queue_or_new(&self, name: &ResourceName) -> Result<Arc<dyn Queue>> {
        match self.queue(name).await {
            Err(Error::UnknownQueue { .. }) if self.limits.made_by_submit => {
                match self.engine.create(name, &QueueConfig::default()).await {
                    // Made by somebody else in this moment is as good.
                    Ok(_) | Err(Error::QueueExists { .. }) => self.queue(name).await,
                    Err(error) => Err(error),
                }
            }
            outcome => outcome,
        }
    }
}

impl Broker {
    /// The task queue on this engine, with these limits.
    pub fn new(engine: Arc<dyn Engine>, limits: TaskLimits) -> Self {
        let seats = Arc::new(Seats::new(limits.ended_bytes_max));
        Self { shared: Arc::new(Shared { engine, limits, seats, heard: Mutex::default() }) }
    }
}

impl Service for Broker {
    fn code(&self) -> u8 {
        SERVICE
    }

    fn open(&self, link: &Arc<Link>) -> Box<dyn Attachment> {
        Box::new(TaskAttachment::new(&self.shared, link))
    }
}
