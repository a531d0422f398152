//! Calls that take long, with progress now and then: verify, compact, back up, restore.

use sinew_hosting::from_the_root;
use sinew_session::{Failure, Header, Lane, ProgressSink, Record, ResourceName, read_call, tell_progress};

use super::Shared;
use super::answers::Reply;
use super::attachment::{KvAttachment, name};
use crate::Result;
use crate::protocol::{Asks, Maintain, MaintainAct, failure_of, verb};

impl KvAttachment {
    pub(super) fn maintain(&mut self, lane: Lane, record: &Record<'_>) -> std::result::Result<(), Failure> {
        let (_, ask): (_, Maintain) = read_call(record)?;
        let bucket = name(&ask.bucket)?;
        self.check(match &ask.act {
            MaintainAct::Verify => Asks::Verify(&ask.bucket),
            MaintainAct::Compact => Asks::Compact(&ask.bucket),
            MaintainAct::Backup(_) => Asks::Backup(&ask.bucket),
            MaintainAct::Restore(_) => Asks::Restore(&ask.bucket),
        })?;
        let told = Header { verb: verb::PROGRESS, flags: 0, ..record.header };
        let (shared, sink) = (self.shared.clone(), tell_progress(self.link.clone(), lane, told));
        self.call(lane, record, async move {
            act(&shared, &bucket, ask.act, sink).await.map_err(|error| failure_of(&error))
        })
    }
}

async fn act(shared: &Shared, name: &ResourceName, act: MaintainAct, sink: ProgressSink) -> Result<Reply> {
    let engine = &shared.engine;
    let answer = match act {
        MaintainAct::Verify => Reply::of(&shared.bucket(name).await?.verify(sink).await?),
        MaintainAct::Compact => Reply::of(&shared.bucket(name).await?.compact(sink).await?),
        MaintainAct::Backup(path) => Reply::of(&shared.bucket(name).await?.backup(from_the_root(&path)?, sink).await?),
        MaintainAct::Restore(path) => Reply::of(&engine.restore(name, from_the_root(&path)?, sink).await?),
    };
    shared.changed();
    Ok(answer)
}
