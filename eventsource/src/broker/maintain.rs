//! Calls that take long, with progress now and then: verify, compact, back up, restore, import.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use sinew_session::{Failure, Header, Lane, Link, Record, ResourceName, read_call};
use tokio::time::Instant;

use super::Shared;
use super::attachment::{LogAttachment, name};
use super::calls::Answer;
use crate::protocol::{Asks, Maintain, MaintainAct, SERVICE, failure_of, pair_head, verb};
use crate::{Error, Progress, ProgressSink, Result};

/// Progress is told this often at most.
const TELL_EVERY: Duration = Duration::from_millis(200);

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
        let (shared, sink) = (self.shared.clone(), sink(self.link.clone(), lane, record.header.call));
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

/// A directory of the server's machine that means the same to whoever names it: a server has its own working directory.
fn from_the_root(path: &str) -> Result<&Path> {
    let found = Path::new(path);
    if found.is_absolute() {
        return Ok(found);
    }
    let why = "is relative, and the server has another working directory; name it from the root".into();
    Err(Error::Backup { path: format!("`{path}`"), why })
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
