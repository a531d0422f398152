//! Calls that look into a queue: its tasks, its workers, why a task waits, what it is.

use serde::Serialize;
use sinew_session::{Failure, Lane, Record, read_call, to_cbor};

use super::attachment::{TaskAttachment, name};
use super::calls::cbor;
use crate::protocol::{Asks, Look, LookAt, TaskPage, WorkerPage, bad_request, failure_of, read_task};

/// Tasks or workers on one page, at most.
const PAGE_ITEMS_MAX: usize = 1_000;
/// And their bytes, about.
const PAGE_BYTES: usize = 256 * 1024;

impl TaskAttachment {
    pub(super) fn look(&mut self, lane: Lane, record: &Record<'_>) -> Result<(), Failure> {
        let (_, ask): (_, Look) = read_call(record)?;
        let queue = name(&ask.queue)?;
        self.check(match &ask.at {
            LookAt::Tasks(..) => Asks::Tasks(&ask.queue),
            LookAt::Workers(_) => Asks::Workers(&ask.queue),
            LookAt::Explain(_) => Asks::Explain(&ask.queue),
        })?;
        let shared = self.shared.clone();
        self.call(lane, record, async move {
            let queue = shared.queue(&queue).await.map_err(|error| failure_of(&error))?;
            Ok(match ask.at {
                LookAt::Tasks(listed, after) => {
                    let (tasks, more) = page(queue.tasks(listed, after, PAGE_ITEMS_MAX));
                    cbor(&TaskPage { tasks, more })
                }
                LookAt::Workers(after) => {
                    let (workers, more) = page(queue.workers(after, PAGE_ITEMS_MAX));
                    cbor(&WorkerPage { workers, more })
                }
                LookAt::Explain(task) => cbor(&queue.explain(task).map_err(|error| failure_of(&error))?),
            })
        })
    }

    pub(super) fn payload(&mut self, lane: Lane, record: &Record<'_>) -> Result<(), Failure> {
        let (queue, task) = read_task(record.head()).ok_or_else(|| bad_request("a head names no queue and task"))?;
        self.check(Asks::Payload(queue))?;
        let (shared, queue) = (self.shared.clone(), name(queue)?);
        self.call(lane, record, async move {
            let queue = shared.queue(&queue).await.map_err(|error| failure_of(&error))?;
            queue.payload(task).map_err(|error| failure_of(&error))
        })
    }
}

/// As many as go on one page, and whether there may be more.
fn page<T: Serialize>(mut items: Vec<T>) -> (Vec<T>, bool) {
    let mut bytes = 0;
    let whole = items.iter().take_while(|item| {
        let fits = bytes < PAGE_BYTES;
        bytes += to_cbor(item).len();
        fits
    });
    let count = whole.count();
    let more = count < items.len() || items.len() == PAGE_ITEMS_MAX;
    items.truncate(count);
    (items, more)
}
