//! Events of a stream, from an offset or a time on, to one, or on and on. With a name its mark is kept in a cursor of the
//! stream.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use async_trait::async_trait;
use sinew_eventsource::{Event, Filter, FollowOptions, Followed, Follower, Log, Position as From, ReadLimits};
use sinew_session::{Pattern, ResourceName};

use crate::parse_rfc3339;
use crate::{Address, Batch, BatchLimits, Context, Error, Extent, Item, Mark, Position, Result, Source, Standing};

/// A stream that is read.
#[derive(Debug)]
pub(crate) struct LogSource {
    origin: String,
    log: Log,
    stream: ResourceName,
    cursor: Option<ResourceName>,
    from: From,
    to: Option<From>,
    filter: Filter,
    follow: bool,
    /// The offset of the next event that is not passed over.
    next: u64,
    /// Events that are to be passed over first.
    skip: u64,
    /// The first offset that is not wanted any more.
    end: Option<u64>,
    /// The offset that the next event gets, as far as was told.
    total: u64,
    follower: Option<Follower>,
}

/// Makes one.
pub(crate) fn make(address: &Address, context: &Context) -> Result<Box<dyn Source>> {
    address.only(&["from", "to", "filter", "key", "follow"])?;
    let stream = ResourceName::try_from(address.target())?;
    let filter = Filter {
        subject: address.option("filter").map(Pattern::try_from).transpose()?,
        key: address.option("key").map(|key| key.to_owned().into()),
    };
    Ok(Box::new(LogSource {
        origin: address.origin(address.target()),
        log: context.log(address)?,
        stream,
        cursor: context.name.clone(),
        from: place(address, "from")?.unwrap_or_default(),
        to: place(address, "to")?,
        filter,
        follow: address.switch("follow")?,
        next: 0,
        skip: 0,
        end: None,
        total: 0,
        follower: None,
    }))
}

/// A place in a stream as people write it.
fn place(address: &Address, option: &str) -> Result<Option<From>> {
    let Some(text) = address.option(option) else { return Ok(None) };
    let number = || text.parse().ok().map(From::Offset);
    let time = || parse_rfc3339(text).map(From::Time);
    Ok(Some(match text {
        "start" => From::Start,
        "end" => From::End,
        _ => number().or_else(time).ok_or_else(|| {
            let why = format!("it is `{text}`; write start, end, an offset, or a time as in 2026-11-25T16:00:00Z");
            address.option_fault(option, why)
        })?,
    }))
}

impl LogSource {
    /// The offset that a place stands for now, and the stream's next one.
    async fn offset_of(&self, place: From) -> Result<(u64, u64)> {
        let limits = ReadLimits { bytes_max: 1, events_max: 1 };
        let page = self.log.read(&self.stream, place, limits).await?;
        let first = page.events.first().map_or(page.next, |event| event.offset);
        Ok((if let From::Offset(offset) = place { offset } else { first }, page.end))
    }

    /// The follow that stands, made again where it has ended.
    async fn follower(&mut self) -> Result<&mut Follower> {
        if self.follower.is_none() {
            let (filter, to) = (self.filter.clone(), self.end);
            let options = FollowOptions { filter, to, live: self.follow, ..FollowOptions::default() };
            let follower = self.log.follow(&self.stream, From::Offset(self.next), options).await?;
            self.follower = Some(follower);
        }
        Ok(self.follower.as_mut().expect("made above"))
    }

    /// Takes in what came.
    fn take(&mut self, followed: Followed, batch: &mut Batch) {
        match followed {
            Followed::CaughtUp { next } => self.total = self.total.max(next),
            Followed::Event(event) => {
                self.next = event.offset + 1;
                self.total = self.total.max(self.next);
                if self.skip > 0 {
                    self.skip -= 1;
                } else {
                    batch.items.push(item(event));
                }
            }
        }
    }
}

#[async_trait]
impl Source for LogSource {
    fn origin(&self) -> String {
        self.origin.clone()
    }

    async fn recall(&mut self) -> Result<Option<Mark>> {
        let Some(cursor) = &self.cursor else { return Ok(None) };
        let kept = self.log.kept_cursor(&self.stream, cursor).await?;
        let place = || format!("cursor `{cursor}` of stream `{}`", self.stream);
        kept.map(|(_, state)| Mark::from_bytes(&state, &place())).transpose()
    }

    async fn start(&mut self, standing: &Standing) -> Result<Position> {
        self.end = match self.to {
            None => None,
            Some(to) => Some(self.offset_of(to).await?.0),
        };
        let (position, skip) = standing.resume()?;
        let remembered = position.map(|position| read_position(position, &self.stream)).transpose()?;
        let (from, total) = self.offset_of(remembered.map_or(self.from, From::Offset)).await?;
        let behind = standing.last_offset.filter(|_| standing.count.is_none()).map(|last| last + 1);
        // A sink that has an offset has everything before it.
        (self.next, self.skip) = match behind {
            Some(behind) if behind >= from => (behind, 0),
            _ => (from, skip),
        };
        self.total = total;
        Ok(Position(self.next.to_string()))
    }

    async fn next(&mut self, limits: BatchLimits) -> Result<Option<Batch>> {
        let mut batch = Batch::default();
        if self.end.is_some_and(|end| self.next >= end) {
            return Ok(None);
        }
        while batch.items.is_empty() {
            // The only places to wait, with nothing in hand.
            let follower = self.follower().await?;
            let Some(followed) = follower.next().await else {
                let why = follower.end();
                self.follower = None;
                return why.map_or(Ok(None), |error| Err(error.into()));
            };
            self.take(followed, &mut batch);
        }
        let (mut bytes, mut counted) = (batch.items[0].bytes(), 1);
        while batch.items.len() < limits.items_max && bytes < limits.bytes_max {
            let follower = self.follower.as_mut().expect("it gave the first one");
            match poll_fn(|cx| Poll::Ready(pin!(follower.next()).poll(cx))).await {
                Poll::Ready(Some(followed)) => self.take(followed, &mut batch),
                Poll::Ready(None) | Poll::Pending => break,
            }
            bytes += batch.items.get(counted..).unwrap_or_default().iter().map(Item::bytes).sum::<usize>();
            counted = batch.items.len();
        }
        batch.position = Position(self.next.to_string());
        batch.extent = Extent { done: self.next, total: Some(self.end.map_or(self.total, |end| end.min(self.total))) };
        Ok(Some(batch))
    }

    async fn remember(&mut self, mark: &Mark) -> Result<()> {
        if let Some(cursor) = &self.cursor {
            let offset = read_position(&mark.position, &self.stream).unwrap_or(0);
            self.log.keep_cursor(&self.stream, cursor, offset, mark.to_bytes()).await?;
        }
        Ok(())
    }
}

fn item(event: Event) -> Item {
    let Event { offset, timestamp, body } = event;
    Item {
        subject: body.subject,
        key: body.key,
        headers: body.headers,
        payload: body.payload,
        tombstone: body.tombstone,
        timestamp: Some(timestamp),
        offset: Some(offset),
    }
}

fn read_position(position: &Position, stream: &ResourceName) -> Result<u64> {
    let fault = |_| Error::NotAMark {
        kept: format!("the mark of a connection from stream `{stream}`"),
        why: format!("its position is `{}`", position.0),
    };
    position.0.parse().map_err(fault)
}
