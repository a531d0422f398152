//! Queues as a client makes, changes, removes, shows and lists them, and what it does with tasks of others.

use bytes::Bytes;
use sinew_session::{Error as SessionError, Request, ResourceName, to_cbor};

use super::handle::cancel;
use super::{CALL, TaskQueue, Tasks, unreadable};
use crate::protocol::{AcceptedHead, DeadAct, DeadHead, List, Names, QueueAct, QueueAsk, SERVICE, error_of, verb};
use crate::{Error, QueueConfig, QueueInfo, Result, TaskId};

impl Tasks {
    /// The names of the queues that we may see, in order: those in which we may do anything. A round trip for each few hundred.
    ///
    /// # Errors
    /// `Session` if the server cannot be asked.
    pub async fn list(&self) -> Result<Vec<ResourceName>> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let request = Request::new(SERVICE, verb::LIST, b"", to_cbor(&List { after: after.clone() }), CALL);
            let page: Names = match self.session.call(request).await {
                Err(SessionError::OutcomeUnknown) => continue,
                reply => reply.map_err(error_of)?.read()?,
            };
            for name in &page.names {
                all.push(ResourceName::try_from(name.as_str())?);
            }
            match page.after {
                Some(last) => after = Some(last),
                None => return Ok(all),
            }
        }
    }
}

impl TaskQueue {
    fn asking(&self, act: QueueAct) -> QueueAsk {
        QueueAsk { queue: self.name.to_string(), act }
    }

    /// Makes the queue. One that is there with the same configuration is left as it is. Durable when it returns.
    ///
    /// # Errors
    /// `QueueExists` where it is configured otherwise, `Config`, `Limit`, `Denied`; `Session` if the server cannot be asked.
    pub async fn make(&self, config: &QueueConfig) -> Result<QueueInfo> {
        self.tasks.ask_surely(verb::QUEUE, &self.name, &self.asking(QueueAct::Create(config.clone()))).await
    }

    /// Changes its configuration. Tasks that are there keep what they were submitted with.
    ///
    /// # Errors
    /// `UnknownQueue`, `Config`, `Denied`; `Session` if the server cannot be asked.
    pub async fn alter(&self, config: &QueueConfig) -> Result<QueueInfo> {
        self.tasks.ask_surely(verb::QUEUE, &self.name, &self.asking(QueueAct::Alter(config.clone()))).await
    }

    /// Removes the queue with all of its tasks. Who waits for one of them, and its workers, are told.
    ///
    /// # Errors
    /// `UnknownQueue`, `Denied`; `Session`, with `OutcomeUnknown` where the answer did not come.
    pub async fn remove(&self) -> Result<()> {
        self.tasks.ask(verb::QUEUE, &self.name, &self.asking(QueueAct::Delete)).await
    }

    /// What it has, and how it is configured.
    ///
    /// # Errors
    /// `UnknownQueue`, `Denied`; `Session` if the server cannot be asked.
    pub async fn info(&self) -> Result<QueueInfo> {
        self.tasks.ask_surely(verb::QUEUE, &self.name, &self.asking(QueueAct::Info)).await
    }

    /// Ends a task. Gives whether it had ended before, and is as it was.
    ///
    /// # Errors
    /// `UnknownTask`, `UnknownQueue`; `NotYours` where it is somebody else's and `task.manage` is not permitted; `Denied`;
    /// `Session` if the server cannot be asked.
    pub async fn cancel(&self, task: TaskId) -> Result<bool> {
        cancel(&self.tasks, &self.name, task).await
    }

    /// Tries a dead letter again, as a new task of the same owner that goes on by itself. Gives the new task's id.
    ///
    /// # Errors
    /// `UnknownDeadLetter`, `UnknownQueue`, `Full`, `Denied`, `NoSpace`; `Session` if the server cannot be asked.
    pub async fn retry_dead(&self, task: TaskId) -> Result<TaskId> {
        let as_task = self.tasks.shared.task();
        let head = DeadHead { queue: self.name.as_str(), task, act: DeadAct::Retry(as_task) }.encode();
        let mut is_again = false;
        loop {
            match self.tasks.ask_head(verb::DEAD, &self.name, &head, Bytes::new(), CALL).await {
                Err(Error::Session(SessionError::OutcomeUnknown)) => is_again = true,
                // The first time was heard, and only its answer was lost.
                Err(Error::UnknownDeadLetter { .. } | Error::TaskExists { .. }) if is_again => return Ok(as_task),
                reply => {
                    let accepted = AcceptedHead::read(&reply?.head);
                    return accepted
                        .map(|accepted| accepted.task)
                        .ok_or_else(|| unreadable("its answer to a retry").into());
                }
            }
        }
    }

    /// Drops a dead letter.
    ///
    /// # Errors
    /// `UnknownDeadLetter`, `UnknownQueue`, `Denied`, `NoSpace`; `Session` if the server cannot be asked.
    pub async fn drop_dead(&self, task: TaskId) -> Result<()> {
        let head = DeadHead { queue: self.name.as_str(), task, act: DeadAct::Drop }.encode();
        let mut is_again = false;
        loop {
            match self.tasks.ask_head(verb::DEAD, &self.name, &head, Bytes::new(), CALL).await {
                Err(Error::Session(SessionError::OutcomeUnknown)) => is_again = true,
                Err(Error::UnknownDeadLetter { .. }) if is_again => return Ok(()),
                reply => return reply.map(drop),
            }
        }
    }
}
