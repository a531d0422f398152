//! A queue as a client has it.

use sinew_session::ResourceName;

use super::Tasks;
use crate::WorkerBuilder;

/// A queue, by its name. Cheap to clone. What is submitted is in `client/submit.rs`, what can be seen of it in
/// `client/inspect.rs`, how it is managed in `client/administer.rs`.
#[derive(Clone, Debug)]
pub struct TaskQueue {
    pub(crate) tasks: Tasks,
    pub(crate) name: ResourceName,
}

impl TaskQueue {
    /// Its name.
    pub fn name(&self) -> &ResourceName {
        &self.name
    }

    /// The task queue that it is one of.
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// A worker for it, to be told more about and then [run](WorkerBuilder::run).
    pub fn worker(&self) -> WorkerBuilder {
        WorkerBuilder::new(self)
    }
}
