//! Calls that take long, with progress now and then: verify, compact, back up, restore, import.

use sinew_hosting::from_the_root;
use sinew_session::{Failure, Header, Lane, ProgressSink, Record, ResourceName, read_call, tell_progress};

use super::Shared;
use super::attachment::{LogAttachment, name};
use super::calls::Answer;
use crate::Result;
use crate::protocol::{Asks, Maintain, MaintainAct, failure_of, verb};

impl LogAttachment {
    pub(super) fn maintain(&mut self, lane: Lane, record: &Record<'_>) -> std::result::Result<(), Failure> {
        let (_, ask): (_, Maintain) = read_call(record)?;
        let stream = name(&ask.stream)?;
        self.check(match &ask.act {
            MaintainAct::Verify => Asks::Verify(&ask.stream),
            MaintainAct::Compact => Asks::Compact(&ask.stream),
            MaintainAct::Backup(_) => Asks::Backup(&ask.stream),
            MaintainAct::Restore(_) => Asks::Restore(&ask.stream),
            MaintainAct::Import(..) => Asks::Import(&ask.stream),
        })?;
        let told = Header { verb: verb::PROGRESS, flags: 0, ..record.header };
        let (shared, sink) = (self.shared.clone(), tell_progress(self.link.clone(), lane, told));
        self.long_call(lane, record, async move {
            act(&shared, &stream, ask.act, sink).await.map_err(|error| failure_of(&error))
        })
    }
}

async fn act(shared: &Shared, name: &ResourceName, act: MaintainAct, sink: ProgressSink) -> Result<Answer> {
    let engine = &shared.engine;
    let answer = match act {
        MaintainAct::Verify => Answer::of(&shared.stream(name).await?.verify(sink).await?),
        MaintainAct::Compact => Answer::of(&shared.stream(name).await?.compact(sink).await?),
        MaintainAct::Backup(path) => Answer::of(&shared.stream(name).await?.backup(from_the_root(&path)?, sink).await?),
        MaintainAct::Restore(path) => Answer::of(&engine.restore(name, from_the_root(&path)?, sink).await?),
        MaintainAct::Import(config, path) => {
            Answer::of(&engine.import(name, &config, from_the_root(&path)?, sink).await?)
        }
    };
    shared.changed();
    Ok(answer)
}
