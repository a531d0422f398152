//! Calls that take long, with progress now and then: verify, back up, restore.

use bytes::Bytes;
use sinew_hosting::from_the_root;
use sinew_session::{Failure, Header, Lane, ProgressSink, Record, ResourceName, read_call, tell_progress};

use super::attachment::{TaskAttachment, name};
use super::calls::cbor;
use crate::protocol::{Asks, Maintain, MaintainAct, failure_of, verb};
use crate::{Engine, Result};

impl TaskAttachment {
    pub(super) fn maintain(&mut self, lane: Lane, record: &Record<'_>) -> std::result::Result<(), Failure> {
        let (_, ask): (_, Maintain) = read_call(record)?;
        let queue = name(&ask.queue)?;
        self.check(match &ask.act {
            MaintainAct::Verify => Asks::Verify(&ask.queue),
            MaintainAct::Backup(_) => Asks::Backup(&ask.queue),
            MaintainAct::Restore(_) => Asks::Restore(&ask.queue),
        })?;
        let told = Header { verb: verb::HOW_FAR, flags: 0, ..record.header };
        let (engine, sink) = (self.shared.engine.clone(), tell_progress(self.link.clone(), lane, told));
        self.call(lane, record, async move {
            act(&*engine, &queue, ask.act, sink).await.map_err(|error| failure_of(&error))
        })
    }
}

async fn act(engine: &dyn Engine, queue: &ResourceName, act: MaintainAct, sink: ProgressSink) -> Result<Bytes> {
    Ok(match act {
        MaintainAct::Verify => cbor(&engine.verify(queue, sink).await?),
        MaintainAct::Backup(path) => cbor(&engine.backup(queue, from_the_root(&path)?, sink).await?),
        MaintainAct::Restore(path) => cbor(&engine.restore(queue, from_the_root(&path)?, sink).await?),
    })
}
