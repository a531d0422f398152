//! Queues in memory: for tests, and for tasks that need not outlive their server. It says so: its acknowledgements have the
//! level `memory`, and who waits for a task of a server that has restarted is told that what became of it is not known.
//!
//! The rules are those of the engine on disk. What is kept is bounded by the queues' limits.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use sinew_session::ResourceName;

use crate::clock::Clock;
use crate::scheduler::{Scheduler, check_config};
use crate::shell::Shell;
use crate::{Engine, Error, Level, Moment, Queue, QueueConfig, QueueInfo, Result};

/// Queues that an engine in memory has at most: each may hold as much as its limits say.
const QUEUES_MAX: usize = 1_000;

/// Queues in memory. They are gone with it.
#[derive(Debug, Default)]
pub struct MemoryEngine {
    queues: Mutex<BTreeMap<ResourceName, Arc<Shell>>>,
}

impl MemoryEngine {
    /// One without queues.
    pub fn new() -> Self {
        Self::default()
    }

    fn queues(&self) -> MutexGuard<'_, BTreeMap<ResourceName, Arc<Shell>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, name: &ResourceName) -> Result<Arc<Shell>> {
        self.queues().get(name).cloned().ok_or_else(|| Error::UnknownQueue { queue: name.to_string() })
    }
}

/// A queue in memory that lives from now on.
pub(crate) fn start(name: &ResourceName, config: &QueueConfig) -> Arc<Shell> {
    let scheduler = Scheduler::new(name.as_str(), config.clone());
    Shell::start(name.clone(), Level::Memory, Clock::start(Moment::default()), scheduler, None)
}

/// Whether a queue can be made otherwise in this way.
pub(crate) fn check_alter(name: &ResourceName, is: &QueueConfig, becomes: &QueueConfig) -> Result<()> {
    check_config(name.as_str(), becomes)?;
    if is.level == becomes.level {
        return Ok(());
    }
    Err(Error::Config {
        queue: name.to_string(),
        field: "level".into(),
        value: becomes.level.to_string(),
        why: format!("it is {} for as long as the queue is there; make another queue", is.level),
    })
}

#[async_trait]
impl Engine for MemoryEngine {
    async fn create(&self, name: &ResourceName, config: &QueueConfig) -> Result<QueueInfo> {
        check_config(name.as_str(), config)?;
        let mut queues = self.queues();
        if let Some(queue) = queues.get(name) {
            let info = queue.info();
            let same = info.config == *config;
            return if same { Ok(info) } else { Err(Error::QueueExists { queue: name.to_string() }) };
        }
        if queues.len() >= QUEUES_MAX {
            let reason = format!("{QUEUES_MAX} queues in memory are the most there can be; delete some");
            return Err(Error::Limit { reason });
        }
        let queue = start(name, config);
        let info = queue.info();
        queues.insert(name.clone(), queue);
        Ok(info)
    }

    async fn alter(&self, name: &ResourceName, config: &QueueConfig) -> Result<QueueInfo> {
        let queue = self.find(name)?;
        check_alter(name, &queue.info().config, config)?;
        queue.alter(config.clone());
        Ok(queue.info())
    }

    async fn delete(&self, name: &ResourceName) -> Result<()> {
        let queue = self.find(name)?;
        self.queues().remove(name);
        queue.end(&Error::Ended { queue: name.to_string() });
        Ok(())
    }

    async fn names(&self, after: Option<&ResourceName>, max: usize) -> Result<Vec<ResourceName>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let queues = self.queues();
        Ok(queues.range::<ResourceName, _>((from, Bound::Unbounded)).take(max).map(|(name, _)| name.clone()).collect())
    }

    async fn queue(&self, name: &ResourceName) -> Result<Arc<dyn Queue>> {
        Ok(self.find(name)?)
    }

    async fn close(&self) -> Result<()> {
        for (name, queue) in self.queues().iter() {
            queue.end(&Error::Ended { queue: name.to_string() });
        }
        Ok(())
    }
}
