//! Calls about buckets: making, changing, removing, showing, listing them.

use sinew_session::{Failure, Lane, Link, Operation, Record, Resource, ResourceName, read_call};

use super::Shared;
use super::answers::Reply;
use super::attachment::{KvAttachment, name};
use crate::Result;
use crate::protocol::{Asks, BucketAct, BucketAsk, List, Names, failure_of};

/// Bytes of names on one page: well within the largest answer in CBOR.
const NAMES_BYTES: usize = 8 * 1024;
/// Names looked at for one page, those that the peer may not see included.
const NAMES_MAX: usize = 1_000;

impl KvAttachment {
    pub(super) fn bucket(&mut self, lane: Lane, record: &Record<'_>) -> std::result::Result<(), Failure> {
        let (_, ask): (_, BucketAsk) = read_call(record)?;
        let bucket = name(&ask.bucket)?;
        let all = format!("{bucket}.>");
        self.check(match &ask.act {
            BucketAct::Create(_) => Asks::Create(&ask.bucket),
            BucketAct::Alter(_) => Asks::Alter(&ask.bucket),
            BucketAct::Delete => Asks::Delete(&ask.bucket),
            BucketAct::Info => Asks::Info(&all),
        })?;
        let shared = self.shared.clone();
        self.call(lane, record, async move { act(&shared, &bucket, ask.act).await.map_err(|error| failure_of(&error)) })
    }

    pub(super) fn list(&mut self, lane: Lane, record: &Record<'_>) -> std::result::Result<(), Failure> {
        let (_, ask): (_, List) = read_call(record)?;
        self.check(Asks::List)?;
        let after = ask.after.as_deref().map(name).transpose()?;
        let (shared, link) = (self.shared.clone(), self.link.clone());
        self.call(lane, record, async move {
            let found = shared.engine.names(after.as_ref(), NAMES_MAX).await.map_err(|error| failure_of(&error))?;
            Ok(Reply::of(&page(&link, found)))
        })
    }
}

async fn act(shared: &Shared, bucket: &ResourceName, act: BucketAct) -> Result<Reply> {
    let engine = &shared.engine;
    let reply = match act {
        BucketAct::Info => return Ok(Reply::of(&shared.bucket(bucket).await?.info().await?)),
        BucketAct::Create(config) => engine.create(bucket, &config).await.map(|info| Reply::of(&info)),
        BucketAct::Alter(config) => engine.alter(bucket, &config).await.map(|info| Reply::of(&info)),
        BucketAct::Delete => engine.delete(bucket).await.map(|()| Reply::of(&())),
    };
    shared.changed();
    reply
}

/// The names that the peer may see: of buckets of which it may read or write some key, or that it may manage.
fn page(link: &Link, found: Vec<ResourceName>) -> Names {
    let sees = |name: &ResourceName| {
        let all = format!("{name}.>");
        link.is_permitted_somewhere(Operation::KvRead, &all)
            || link.is_permitted_somewhere(Operation::KvWrite, &all)
            || link.is_permitted(Operation::KvManage, Resource::Name(name.as_str()))
    };
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
