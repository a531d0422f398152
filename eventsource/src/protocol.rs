//! What is said about streams: verbs, hot heads, requests and answers. Byte by byte in `docs/WIRE.md`.
//!
//! What a refusal says, so that a client has the engine's own error, is in `protocol/failure.rs`; what groups say in
//! `protocol/groups.rs`.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
pub(crate) use sinew_session::{BAD_REQUEST, bad_request, pair_head, read_pair, violation};
use sinew_session::{Operation, Resource, take_u32, take_u64};

use crate::{Appended, Filter, Level, ProducerStamp, StreamConfig};

mod failure;
pub(crate) use failure::{error_of, failure_of};
mod groups;
pub(crate) use groups::{
    GroupAct, GroupAsk, GroupPage, HELD_RUNS_MAX, Held, Join, Joined, Settled, read_settle_head, read_settlements,
    settle_head, settlement_bytes,
};
pub use groups::{GroupInfo, GroupSettings, Redelivery};
#[cfg(test)]
mod tests;

/// The event log's code in record headers.
pub const SERVICE: u8 = 4;

/// The longest a call waits for its answer, in seconds: a disk that is busy with something else answers within it.
pub(crate) const CALL_SECONDS: u64 = 30;

/// Verbs of the event log.
pub(crate) mod verb {
    /// Client, a call: a batch. Head: an append head. Body: the batch. Answered with an appended head.
    pub(crate) const APPEND: u8 = 1;
    /// Server, on a follow: a batch. Head: a batch head, and its span (u32). Body: the batch.
    pub(crate) const DELIVER: u8 = 2;
    /// Client, a call that opens a follow under its own number.
    pub(crate) const FOLLOW: u8 = 3;
    /// Client, a call that ends one.
    pub(crate) const UNFOLLOW: u8 = 4;
    /// Client, on a follow. Head: bytes consumed (u64).
    pub(crate) const GRANT: u8 = 5;
    /// Server, on a follow: how far it is. Head: next (u64), end (u64), caught up (u8).
    pub(crate) const POSITION: u8 = 6;
    /// Server, on a follow or a membership: it is over. Body: a failure, or nothing where it came to its end.
    pub(crate) const ENDED: u8 = 7;
    /// Client, a call: a page of batches.
    pub(crate) const READ: u8 = 8;
    /// Client, a call: makes, changes, removes, shows a stream.
    pub(crate) const STREAM: u8 = 9;
    /// Client, a call: names of streams.
    pub(crate) const LIST: u8 = 10;
    /// Client, a call: opens an idempotent producer.
    pub(crate) const PRODUCER: u8 = 11;
    /// Client, a call: cursors.
    pub(crate) const CURSOR: u8 = 12;
    /// Client, a call that opens a membership under its own number.
    pub(crate) const JOIN: u8 = 13;
    /// Client, a call that ends one.
    pub(crate) const LEAVE: u8 = 14;
    /// Server, on a membership: an event. Head: base offset (u64), timestamp (u64), attempt (u32). Body: a batch of one.
    pub(crate) const HANDED: u8 = 15;
    /// Client, a call: events dealt with. Head: the membership (u32), era (u32). Body: settlements. Answered with late (u32).
    pub(crate) const SETTLE: u8 = 16;
    /// Client, a call: groups.
    pub(crate) const GROUP: u8 = 17;
    /// Client, a call: verify, compact, back up, restore, import.
    pub(crate) const MAINTAIN: u8 = 18;
    /// Server, on a maintenance call: how far it is. Head: done (u64), total (u64).
    pub(crate) const PROGRESS: u8 = 19;
    /// Server, on a membership: the group was reset; what was handed out before does not count any more. Head: era (u32).
    pub(crate) const RESET: u8 = 20;
}

/// What a call of a client does, and to what: what the policy is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access<'a> {
    /// It needs a permission for this stream.
    Needs(Operation, Resource<'a>),
    /// It needs that, and to manage the server: it reads or writes directories of the server's machine.
    NeedsServerToo(Operation, Resource<'a>),
    /// It concerns what the same session was permitted before, or shows only what the session may see.
    Own,
}

/// What a client asks for, with the stream's name. Cursors, groups and producers belong to their stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asks<'a> {
    Append(&'a str),
    OpenProducer(&'a str),
    Read(&'a str),
    Follow(&'a str),
    Info(&'a str),
    Create(&'a str),
    Alter(&'a str),
    Delete(&'a str),
    /// Reads, writes and removes cursors: bookmarks of readers.
    Cursor(&'a str),
    Join(&'a str),
    /// Looks at groups.
    Groups(&'a str),
    /// Pauses, resets, removes a group of others.
    ManageGroup(&'a str),
    Verify(&'a str),
    Compact(&'a str),
    Backup(&'a str),
    Restore(&'a str),
    Import(&'a str),
    List,
    Unfollow,
    Grant,
    Leave,
    Settle,
}

/// The one place where a request meets its permission.
pub(crate) fn access(asks: Asks<'_>) -> Access<'_> {
    use Resource::Name;
    match asks {
        Asks::Append(stream) | Asks::OpenProducer(stream) => Access::Needs(Operation::LogAppend, Name(stream)),
        Asks::Read(stream)
        | Asks::Follow(stream)
        | Asks::Info(stream)
        | Asks::Cursor(stream)
        | Asks::Join(stream)
        | Asks::Groups(stream) => Access::Needs(Operation::LogRead, Name(stream)),
        Asks::Create(stream)
        | Asks::Alter(stream)
        | Asks::Delete(stream)
        | Asks::ManageGroup(stream)
        | Asks::Verify(stream)
        | Asks::Compact(stream) => Access::Needs(Operation::LogManage, Name(stream)),
        Asks::Backup(stream) | Asks::Restore(stream) | Asks::Import(stream) => {
            Access::NeedsServerToo(Operation::LogManage, Name(stream))
        }
        Asks::List | Asks::Unfollow | Asks::Grant | Asks::Leave | Asks::Settle => Access::Own,
    }
}

/// The part of the server that backups belong to.
pub(crate) const SERVER_PART: &str = "log";

/// Bits in an append head.
const EXPECTED: u8 = 1;
const PRODUCER: u8 = 2;

/// The head of an append: name length (u8), name, flags (u8), required level (u8), and as the flags say expected next
/// (u64), producer id (u64), epoch (u32), sequence (u64).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AppendHead<'a> {
    pub(crate) stream: &'a str,
    pub(crate) required: Option<Level>,
    pub(crate) expected_next: Option<u64>,
    pub(crate) producer: Option<ProducerStamp>,
}

impl<'a> AppendHead<'a> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut head = Vec::with_capacity(64);
        head.push(self.stream.len() as u8);
        head.extend_from_slice(self.stream.as_bytes());
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        head.push(flag(self.expected_next.is_some(), EXPECTED) | flag(self.producer.is_some(), PRODUCER));
        head.push(self.required.map_or(0, Level::code));
        head.extend(self.expected_next.iter().flat_map(|next| next.to_le_bytes()));
        if let Some(ProducerStamp { id, epoch, sequence }) = self.producer {
            head.extend_from_slice(&id.to_le_bytes());
            head.extend_from_slice(&epoch.to_le_bytes());
            head.extend_from_slice(&sequence.to_le_bytes());
        }
        head
    }

    /// Takes a head apart without an allocation. `None` where it does not hold together.
    pub(crate) fn read(head: &'a [u8]) -> Option<Self> {
        let (length, rest) = head.split_first()?;
        let (name, rest) = rest.split_at_checked(usize::from(*length))?;
        let (flags, rest) = rest.split_first()?;
        let (level, mut rest) = rest.split_first()?;
        let required = if *level == 0 { None } else { Some(Level::from_code(*level)?) };
        let expected_next = if flags & EXPECTED != 0 { Some(take_u64(&mut rest)?) } else { None };
        let producer = if flags & PRODUCER != 0 {
            let (id, epoch, sequence) = (take_u64(&mut rest)?, take_u32(&mut rest)?, take_u64(&mut rest)?);
            Some(ProducerStamp { id, epoch, sequence })
        } else {
            None
        };
        Some(Self { stream: std::str::from_utf8(name).ok()?, required, expected_next, producer })
    }
}

/// The head of an answer to an append: first (u64), timestamp (u64), count (u32), level (u8), duplicate (u8).
pub(crate) fn appended_head(appended: &Appended) -> [u8; 22] {
    let mut head = [0; 22];
    head[..8].copy_from_slice(&appended.first.to_le_bytes());
    head[8..16].copy_from_slice(&appended.timestamp.to_le_bytes());
    head[16..20].copy_from_slice(&appended.count.to_le_bytes());
    head[20] = appended.level.code();
    head[21] = u8::from(appended.duplicate);
    head
}

/// And back.
pub(crate) fn read_appended(mut head: &[u8]) -> Option<Appended> {
    let (first, timestamp, count) = (take_u64(&mut head)?, take_u64(&mut head)?, take_u32(&mut head)?);
    Some(Appended { first, timestamp, count, level: Level::from_code(*head.first()?)?, duplicate: *head.get(1)? != 0 })
}

/// The head of a batch on its way to a reader: first (u64), timestamp (u64), then its count, or the attempt of an event
/// that is handed to a group's member (u32).
pub(crate) fn batch_head(first: u64, timestamp: u64, number: u32) -> [u8; 20] {
    let mut head = [0; 20];
    head[..8].copy_from_slice(&first.to_le_bytes());
    head[8..16].copy_from_slice(&timestamp.to_le_bytes());
    head[16..].copy_from_slice(&number.to_le_bytes());
    head
}

/// And back.
pub(crate) fn read_batch_head(mut head: &[u8]) -> Option<(u64, u64, u32)> {
    Some((take_u64(&mut head)?, take_u64(&mut head)?, take_u32(&mut head)?))
}

/// How far a follow is: everything below `next` was sent, `end` is the stream's next offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) next: u64,
    pub(crate) end: u64,
    pub(crate) caught_up: bool,
}

impl Mark {
    pub(crate) fn encode(self) -> [u8; 17] {
        let mut head = [0; 17];
        head[..8].copy_from_slice(&self.next.to_le_bytes());
        head[8..16].copy_from_slice(&self.end.to_le_bytes());
        head[16] = u8::from(self.caught_up);
        head
    }

    pub(crate) fn read(mut head: &[u8]) -> Option<Self> {
        let (next, end) = (take_u64(&mut head)?, take_u64(&mut head)?);
        Some(Self { next, end, caught_up: *head.first()? != 0 })
    }
}

/// What a follow has consumed: bytes (u64), and of which standing (u32).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) bytes: u64,
    pub(crate) standing: u32,
}

impl Grant {
    pub(crate) fn encode(self) -> [u8; 12] {
        let mut head = [0; 12];
        head[..8].copy_from_slice(&self.bytes.to_le_bytes());
        head[8..].copy_from_slice(&self.standing.to_le_bytes());
        head
    }

    /// A client that knows no standings says none, in its asking and here.
    pub(crate) fn read(mut head: &[u8]) -> Option<Self> {
        Some(Self { bytes: take_u64(&mut head)?, standing: take_u32(&mut head).unwrap_or(0) })
    }
}

/// The number in a head: a membership, or how many settlements came too late.
pub(crate) fn read_number(mut head: &[u8]) -> Option<u32> {
    take_u32(&mut head)
}

/// Bytes before a batch on a page: its head, and the length of its body (u32).
pub(crate) const FRAME_BYTES: usize = 24;

/// Parts off one batch of a page: first offset, timestamp, body.
pub(crate) fn take_frame(page: &mut Bytes) -> Option<(u64, u64, Bytes)> {
    let (first, timestamp, _) = read_batch_head(page)?;
    let length = read_number(page.get(20..)?)? as usize;
    let end = FRAME_BYTES.checked_add(length).filter(|end| *end <= page.len())?;
    let body = page.slice(FRAME_BYTES..end);
    *page = page.slice(end..);
    Some((first, timestamp, body))
}

/// Where to begin to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Position {
    /// With the first event that is kept.
    #[default]
    Start,
    /// With what is appended from now on.
    End,
    /// With this offset, or the first behind it where compaction has removed it.
    Offset(u64),
    /// With the first event that is not older, in nanoseconds since 1970.
    Time(u64),
}

/// Asks to follow a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Follow {
    pub(crate) stream: String,
    pub(crate) from: Position,
    /// Bytes of records that the client takes before it has granted any.
    pub(crate) window_bytes: u64,
    /// Of these in use: received before a cut and not consumed yet.
    pub(crate) used_bytes: u64,
    #[serde(default, skip_serializing_if = "Filter::is_all")]
    pub(crate) filter: Filter,
    /// The first offset that is not wanted any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<u64>,
    /// It goes on with what is appended later.
    pub(crate) live: bool,
    /// How often it was asked for before.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) standing: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// The answer: it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Followed {
    /// The first offset that comes, if there is one.
    pub(crate) next: u64,
    /// Where it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<u64>,
    /// The window that it has got.
    pub(crate) window_bytes: u64,
}

/// Ends a follow or a membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Leave {
    pub(crate) number: u32,
}

/// Asks for a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Read {
    pub(crate) stream: String,
    pub(crate) from: Position,
    pub(crate) bytes_max: u64,
    pub(crate) events_max: u64,
    #[serde(default, skip_serializing_if = "Filter::is_all")]
    pub(crate) filter: Filter,
}

/// Asks about one stream; answered with its [`StreamInfo`](crate::StreamInfo), or nothing by a delete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StreamAsk {
    pub(crate) stream: String,
    pub(crate) act: StreamAct,
}

/// What is to be done with a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StreamAct {
    Create(StreamConfig),
    Alter(StreamConfig),
    Delete,
    Info,
}

/// Asks for names of streams behind this one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct List {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<String>,
}

/// Names that the peer may see.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Names {
    pub(crate) names: Vec<String>,
    /// Where to go on; there is no more without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<String>,
}

/// Opens a producer; answered with its [`ProducerGrant`](crate::ProducerGrant).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OpenProducer {
    pub(crate) stream: String,
    pub(crate) name: String,
}

/// Asks about cursors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CursorAsk {
    pub(crate) stream: String,
    pub(crate) act: CursorAct,
}

/// What is to be done with cursors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CursorAct {
    /// Answered with a [`Cursors`] of one or none.
    Get(String),
    /// Those behind this name.
    List(Option<String>),
    /// Durable once it is answered.
    Commit(String, u64),
    /// The same with what the owner keeps beside: name, offset, state.
    Keep(String, u64, ByteString),
    Remove(String),
}

/// Names of cursors with their offsets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cursors {
    pub(crate) cursors: Vec<(String, u64)>,
    #[serde(default)]
    pub(crate) more: bool,
    /// What the owner of the one that was asked for keeps with it.
    #[serde(default, skip_serializing_if = "ByteString::is_empty")]
    pub(crate) state: ByteString,
}

/// Bytes as one CBOR byte string.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct ByteString(#[serde(with = "crate::engine::serde_bytes_compat")] pub(crate) Vec<u8>);

impl ByteString {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Asks for something that takes long; answered with what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Maintain {
    pub(crate) stream: String,
    pub(crate) act: MaintainAct,
}

/// What takes long. Directories are of the server's machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MaintainAct {
    Verify,
    Compact,
    Backup(String),
    Restore(String),
    Import(StreamConfig, String),
}
