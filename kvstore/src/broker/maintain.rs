//! Calls that take long, with progress now and then: verify, compact, back up, restore.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use sinew_session::{Failure, Header, Lane, Link, Record, ResourceName, read_call};
use tokio::time::Instant;

use super::Shared;
use super::answers::Reply;
use super::attachment::{KvAttachment, name};
use crate::protocol::{Asks, Maintain, MaintainAct, SERVICE, failure_of, pair_head, verb};
use crate::{Progress, ProgressSink, Result};

/// Progress is told this often at most.
const TELL_EVERY: Duration = Duration::from_millis(200);

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
        let (shared, sink) = (self.shared.clone(), sink(self.link.clone(), lane, record.header.call));
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
        MaintainAct::Backup(path) => Reply::of(&shared.bucket(name).await?.backup(Path::new(&path), sink).await?),
        MaintainAct::Restore(path) => Reply::of(&engine.restore(name, Path::new(&path), sink).await?),
    };
    shared.changed();
    Ok(answer)
}

/// Tells the caller how far it is, not too often, and not while its outbox is full.
fn sink(link: Arc<Link>, lane: Lane, call: u32) -> ProgressSink {
    let told = Mutex::new(None::<Instant>);
    Arc::new(move |Progress { done, total }| {
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if told.is_some_and(|told| now - told < TELL_EVERY) {
            return;
        }
        *told = Some(now);
        drop(told);
        let mut packer = link.pack();
        if packer.has_room() {
            let header = Header { service: SERVICE, verb: verb::PROGRESS, flags: 0, call };
            packer.push(lane, header, &[&pair_head(done, total)], &Bytes::new());
        }
    })
}
