//! Calls about queues: making, changing, removing, showing, listing them.

use bytes::Bytes;
use sinew_session::{Failure, Lane, Link, Operation, Record, Resource, ResourceName, read_call};

use super::Shared;
use super::attachment::{TaskAttachment, name};
use super::calls::cbor;
use crate::Result;
use crate::protocol::{Asks, List, Names, QueueAct, QueueAsk, failure_of};

/// Bytes of names on one page: well within the largest answer in CBOR.
const NAMES_BYTES: usize = 8 * 1024;
/// Names looked at for one page, those that the peer may not see included.
const NAMES_MAX: usize = 1_000;

impl TaskAttachment {
    pub(super) fn queue(&mut self, lane: Lane, record: &Record<'_>) -> std::result::Result<(), Failure> {
        let (_, ask): (_, QueueAsk) = read_call(record)?;
        let queue = name(&ask.queue)?;
        self.check(match &ask.act {
            QueueAct::Create(_) => Asks::Create(&ask.queue),
            QueueAct::Alter(_) => Asks::Alter(&ask.queue),
            QueueAct::Delete => Asks::Delete(&ask.queue),
            QueueAct::Info => Asks::Info(&ask.queue),
        })?;
        let shared = self.shared.clone();
        self.call(lane, record, async move { act(&shared, &queue, ask.act).await.map_err(|error| failure_of(&error)) })
    }

    pub(super) fn list(&mut self, lane: Lane, record: &Record<'_>) -> std::result::Result<(), Failure> {
        let (_, ask): (_, List) = read_call(record)?;
        self.check(Asks::List)?;
        let after = ask.after.as_deref().map(name).transpose()?;
        let (shared, link) = (self.shared.clone(), self.link.clone());
        self.call(lane, record, async move {
            let found = shared.engine.names(after.as_ref(), NAMES_MAX).await.map_err(|error| failure_of(&error))?;
            Ok(cbor(&page(&link, found)))
        })
    }
}

async fn act(shared: &Shared, queue: &ResourceName, act: QueueAct) -> Result<Bytes> {
    match act {
        QueueAct::Info => Ok(cbor(&shared.queue(queue).await?.info())),
        QueueAct::Create(config) => Ok(cbor(&shared.engine.create(queue, &config).await?)),
        QueueAct::Alter(config) => Ok(cbor(&shared.engine.alter(queue, &config).await?)),
        QueueAct::Delete => {
            // Whoever has something in it is told.
            shared.queue(queue).await?;
            Ok(cbor(&shared.engine.delete(queue).await?))
        }
    }
}

/// The names that the peer may see: of queues in which it may do anything at all.
fn page(link: &Link, found: Vec<ResourceName>) -> Names {
    const ANY: [Operation; 4] =
        [Operation::TaskInspect, Operation::TaskSubmit, Operation::TaskWork, Operation::TaskManage];
    let sees =
        |name: &ResourceName| ANY.iter().any(|operation| link.is_permitted(*operation, Resource::Name(name.as_str())));
    let whole = found.len() < NAMES_MAX;
    let (mut page, mut bytes) = (Names::default(), 0);
    for name in found {
        let last = name.to_string();
        if sees(&name) {
            bytes += last.len() + 8;
            page.names.push(last.clone());
        }
        page.after = Some(last);
        if bytes >= NAMES_BYTES {
            return page;
        }
    }
    if whole {
        page.after = None;
    }
    page
}
