//! Items into a stream, each stored once: by an idempotent producer, which the stream remembers under the connection's
//! name, so that how many items it has is known after any crash.

use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use sinew_eventsource::{EventBatchBuilder, Log, NewEvent, Producer, StreamConfig};
use sinew_session::ResourceName;

use crate::stamp::stamped;
use crate::{Address, Batch, Context, Item, Mark, Result, Sink, Standing};

/// Bytes of records that go in one append: well below what a session carries.
const APPEND_BYTES_MAX: usize = 1024 * 1024;

/// A stream that is appended to.
#[derive(Debug)]
pub(crate) struct LogSink {
    log: Log,
    stream: ResourceName,
    name: Option<ResourceName>,
    create: bool,
    stamp: bool,
    producer: Option<Producer>,
    /// The offset behind the last event of ours.
    next: u64,
    /// Items of the batch at hand that are stored: not given again when it is tried again.
    stored: usize,
}

/// Makes one.
pub(crate) fn make(address: &Address, context: &Context) -> Result<Box<dyn Sink>> {
    address.only(&["create", "stamp"])?;
    Ok(Box::new(LogSink {
        stream: ResourceName::try_from(address.target())?,
        log: context.log(address)?,
        name: context.name.clone(),
        create: address.switch("create")?,
        stamp: address.switch("stamp")?,
        producer: None,
        next: 0,
        stored: 0,
    }))
}

impl LogSink {
    /// The items from here on that go in one append.
    fn append(&self, items: &[Item]) -> Result<(EventBatchBuilder, usize)> {
        let (mut events, mut count) = (EventBatchBuilder::default(), 0);
        for item in items {
            if count > 0 && events.len() + item.bytes() > APPEND_BYTES_MAX {
                break;
            }
            let event = NewEvent {
                subject: item.subject.clone(),
                key: item.key.clone(),
                headers: stamped(item, self.stamp)?,
                payload: item.payload.clone(),
                tombstone: item.tombstone,
            };
            events.push(&event).map_err(sinew_eventsource::Error::from)?;
            count += 1;
        }
        Ok((events, count))
    }
}

#[async_trait]
impl Sink for LogSink {
    async fn standing(&mut self) -> Result<Standing> {
        if self.create {
            self.log.create(&self.stream, &StreamConfig::default()).await?;
        }
        let mark = match &self.name {
            None => None,
            Some(name) => self.log.kept_cursor(&self.stream, name).await?,
        };
        let place = || format!("cursor `{}` of stream `{}`", self.name.as_ref().expect("a name"), self.stream);
        let mark = mark.map(|(_, state)| Mark::from_bytes(&state, &place())).transpose()?;
        let producer = self.log.producer(&self.stream, &self.name.clone().map_or_else(nameless, Ok)?).await?;
        let grant = producer.grant();
        self.next = grant.last_offset.map_or(0, |last| last + 1);
        self.producer = Some(producer);
        Ok(Standing { count: self.name.as_ref().map(|_| grant.sequence), mark, ..Standing::default() })
    }

    /// Stored, at the level that the stream promises, when it returns.
    async fn write(&mut self, batch: &Batch) -> Result<()> {
        while self.stored < batch.items.len() {
            let (events, count) = self.append(&batch.items[self.stored..])?;
            let producer = self.producer.as_ref().expect("`standing` comes first");
            let appended = producer.append_batch(events.finish()).await?;
            self.next = appended.first + u64::from(appended.count);
            self.stored += count;
        }
        self.stored = 0;
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    async fn remember(&mut self, mark: &Mark) -> Result<()> {
        if let Some(name) = &self.name {
            self.log.keep_cursor(&self.stream, name, self.next, mark.to_bytes()).await?;
        }
        Ok(())
    }
}

/// A name that nobody has: what is appended under it is stored once through cuts, and nothing is remembered.
fn nameless() -> Result<ResourceName> {
    let mut random = [0; 8];
    if getrandom::fill(&mut random).is_err() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
        random = (now ^ u64::from(std::process::id())).to_le_bytes();
    }
    Ok(ResourceName::try_from(&*format!("connector-{:016x}", u64::from_le_bytes(random)))?)
}
