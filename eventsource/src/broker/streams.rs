//! Calls about streams: making, changing, removing, showing, listing them; pages of events; producers; cursors.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use sinew_session::{Failure, Lane, Link, Operation, Record, Resource, ResourceName, read_call};

use super::Shared;
use super::attachment::{LogAttachment, name};
use super::calls::Answer;
use crate::protocol::{
    Asks, ByteString, CursorAct, CursorAsk, Cursors, List, Names, OpenProducer, Position, Read, StreamAct, StreamAsk,
    batch_head, failure_of, pair_head,
};
use crate::selection::Selection;
use crate::{Cursor, CursorUpdate, Error, Filter, ReadLimits, Result, Stream};

/// Bytes of names on one page: well within the largest answer in CBOR.
const NAMES_BYTES: usize = 8 * 1024;
/// Names looked at for one page, those that the peer may not see included.
const NAMES_MAX: usize = 1_000;
/// What stands before the name of a reader's cursor; groups have another one.
const CURSOR_PREFIX: &str = "c/";

impl LogAttachment {
    pub(super) fn stream(&mut self, lane: Lane, record: &Record<'_>) -> std::result::Result<(), Failure> {
        let (_, ask): (_, StreamAsk) = read_call(record)?;
        let stream = name(&ask.stream)?;
        self.check(match &ask.act {
            StreamAct::Create(_) => Asks::Create(&ask.stream),
            StreamAct::Alter(_) => Asks::Alter(&ask.stream),
            StreamAct::Delete => Asks::Delete(&ask.stream),
            StreamAct::Info => Asks::Info(&ask.stream),
        })?;
        let shared = self.shared.clone();
        self.call(lane, record, async move { act(&shared, &stream, ask.act).await.map_err(|error| failure_of(&error)) })
    }

    pub(super) fn list(&mut self, lane: Lane, record: &Record<'_>) -> std::result::Result<(), Failure> {
        let (_, ask): (_, List) = read_call(record)?;
        self.check(Asks::List)?;
        let after = ask.after.as_deref().map(name).transpose()?;
        let (shared, link) = (self.shared.clone(), self.link.clone());
        self.call(lane, record, async move {
            let found = shared.engine.names(after.as_ref(), NAMES_MAX).await.map_err(|error| failure_of(&error))?;
            Ok(Answer::of(&page(&link, found)))
        })
    }

    pub(super) fn open_producer(&mut self, lane: Lane, record: &Record<'_>) -> std::result::Result<(), Failure> {
        let (_, ask): (_, OpenProducer) = read_call(record)?;
        let (stream, producer) = (name(&ask.stream)?, name(&ask.name)?);
        self.check(Asks::OpenProducer(&ask.stream))?;
        let shared = self.shared.clone();
        self.call(lane, record, async move {
            let opening = async { shared.stream(&stream).await?.open_producer(&producer).await };
            opening.await.map(|grant| Answer::of(&grant)).map_err(|error| failure_of(&error))
        })
    }

    pub(super) fn read(&mut self, lane: Lane, record: &Record<'_>) -> std::result::Result<(), Failure> {
        let (_, ask): (_, Read) = read_call(record)?;
        let stream = name(&ask.stream)?;
        self.check(Asks::Read(&ask.stream))?;
        let shared = self.shared.clone();
        self.call(
            lane,
            record,
            async move { read_page(&shared, &stream, ask).await.map_err(|error| failure_of(&error)) },
        )
    }

    pub(super) fn cursor(&mut self, lane: Lane, record: &Record<'_>) -> std::result::Result<(), Failure> {
        let (_, ask): (_, CursorAsk) = read_call(record)?;
        let stream = name(&ask.stream)?;
        match &ask.act {
            CursorAct::Get(cursor)
            | CursorAct::Commit(cursor, _)
            | CursorAct::Keep(cursor, ..)
            | CursorAct::Remove(cursor) => name(cursor).map(drop)?,
            CursorAct::List(after) => after.as_deref().map_or(Ok(()), |after| name(after).map(drop))?,
        }
        self.check(Asks::Cursor(&ask.stream))?;
        let shared = self.shared.clone();
        self.call(lane, record, async move {
            let stream = shared.stream(&stream).await.map_err(|error| failure_of(&error))?;
            cursors(&*stream, ask.act).await.map_err(|error| failure_of(&error))
        })
    }
}

async fn act(shared: &Shared, stream: &ResourceName, act: StreamAct) -> Result<Answer> {
    let engine = &shared.engine;
    let answer = match act {
        StreamAct::Info => return Ok(Answer::of(&shared.stream(stream).await?.info().await?)),
        StreamAct::Create(config) => {
            let made = match engine.create(stream, &config).await {
                Err(Error::Limit { .. }) if shared.let_go().await => engine.create(stream, &config).await,
                made => made,
            };
            made.map(|info| Answer::of(&info))
        }
        StreamAct::Alter(config) => engine.alter(stream, &config).await.map(|info| Answer::of(&info)),
        StreamAct::Delete => engine.delete(stream).await.map(|()| Answer::of(&())),
    };
    shared.changed();
    answer
}

/// The names that the peer may see.
fn page(link: &Link, found: Vec<ResourceName>) -> Names {
    let sees = |name: &ResourceName| {
        let may = |operation| link.is_permitted(operation, Resource::Name(name.as_str()));
        [Operation::LogRead, Operation::LogAppend, Operation::LogManage].into_iter().any(may)
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

/// The offset that a position means now.
pub(super) async fn resolve(stream: &dyn Stream, position: Position) -> Result<u64> {
    let range = *stream.range().borrow();
    match position {
        Position::Start => Ok(range.first),
        Position::End => Ok(range.next),
        Position::Time(timestamp) => stream.offset_at(timestamp).await,
        Position::Offset(requested) if (range.first..=range.next).contains(&requested) => Ok(requested),
        Position::Offset(requested) => {
            let (first, next) = (range.first, range.next);
            Err(Error::OutOfRange { stream: stream.name().to_string(), requested, first, next })
        }
    }
}

async fn read_page(shared: &Arc<Shared>, name: &ResourceName, ask: Read) -> Result<Answer> {
    let stream = shared.stream(name).await?;
    let from = resolve(&*stream, ask.from).await?;
    let bytes_max = usize::try_from(ask.bytes_max).unwrap_or(usize::MAX).clamp(1, shared.limits.page_bytes_max);
    let events_max = usize::try_from(ask.events_max).unwrap_or(usize::MAX).max(1);
    let limits = ReadLimits { bytes_max, events_max };
    let read = stream.read(from, limits).await?;
    let selection = Selection { from, to: None, filter: ask.filter };
    Ok(page_of(&selection, read, limits))
}

/// What of a read is wanted, cut to the limits: the engine gives whole batches.
fn page_of(selection: &Selection, read: crate::Page, limits: ReadLimits) -> Answer {
    let mut body = BytesMut::new();
    let (mut next, mut left) = (read.next, limits.events_max);
    let mut pieces = Vec::new();
    'batches: for batch in &read.batches {
        selection.pieces(batch, limits.bytes_max, &mut pieces);
        for piece in pieces.drain(..) {
            let whole = piece.events.count() as usize <= left;
            let last = piece.events.views().nth(left).map(|view| piece.first + u64::from(view.delta));
            let cut = Selection { from: 0, to: if whole { None } else { last }, filter: Filter::default() };
            let mut kept = Vec::new();
            cut.pieces(&piece, usize::MAX, &mut kept);
            for kept in kept {
                if !body.is_empty() && body.len() + kept.events.body().len() > limits.bytes_max {
                    next = kept.first + kept.events.views().next().map_or(0, |view| u64::from(view.delta));
                    break 'batches;
                }
                left -= kept.events.count() as usize;
                body.put_slice(&batch_head(kept.first, kept.timestamp, kept.events.count()));
                body.put_u32_le(kept.events.body().len() as u32);
                body.put_slice(kept.events.body());
            }
            if let Some(last) = last.filter(|_| !whole) {
                next = last;
                break 'batches;
            }
        }
    }
    Answer { head: pair_head(next, read.end).to_vec(), body: Bytes::from(body) }
}

async fn cursors(stream: &dyn Stream, act: CursorAct) -> Result<Answer> {
    let key = |name: &str| format!("{CURSOR_PREFIX}{name}");
    match act {
        CursorAct::Get(name) => {
            let found = stream.cursor(&key(&name)).await?;
            Ok(Answer::of(&match found {
                None => Cursors::default(),
                Some(Cursor { offset, state, .. }) => {
                    Cursors { cursors: vec![(name, offset)], more: false, state: ByteString(state) }
                }
            }))
        }
        CursorAct::List(after) => {
            let after = after.map_or_else(|| CURSOR_PREFIX.to_owned(), |after| key(&after));
            let found = stream.cursors(Some(&after), NAMES_BYTES / 80).await?;
            let more = found.len() == NAMES_BYTES / 80;
            let cursors: Vec<_> = found
                .iter()
                .map_while(|(name, cursor)| Some((name.strip_prefix(CURSOR_PREFIX)?.to_owned(), cursor.offset)))
                .collect();
            Ok(Answer::of(&Cursors { more: more && cursors.len() == found.len(), cursors, ..Cursors::default() }))
        }
        CursorAct::Commit(name, offset) => keep(stream, key(&name), offset, Vec::new()).await,
        CursorAct::Keep(name, offset, state) => keep(stream, key(&name), offset, state.0).await,
        CursorAct::Remove(name) => store(stream, key(&name), None).await,
    }
}

async fn keep(stream: &dyn Stream, name: String, offset: u64, state: Vec<u8>) -> Result<Answer> {
    let range = *stream.range().borrow();
    if offset > range.next {
        let (first, next) = (range.first, range.next);
        return Err(Error::OutOfRange { stream: stream.name().to_string(), requested: offset, first, next });
    }
    store(stream, name, Some(Cursor { offset, state, ..Cursor::default() })).await
}

pub(super) async fn store(stream: &dyn Stream, name: String, cursor: Option<Cursor>) -> Result<Answer> {
    let (told, done) = tokio::sync::oneshot::channel();
    let tell = move |result| drop(told.send(result));
    stream.commit(vec![CursorUpdate { name, cursor }], Box::new(tell));
    let ended = || Error::Ended { stream: stream.name().to_string() };
    done.await.unwrap_or_else(|_| Err(ended()))?;
    Ok(Answer::of(&Cursors::default()))
}
