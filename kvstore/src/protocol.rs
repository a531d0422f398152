//! What is said about buckets: verbs, who may ask what, requests and answers in CBOR. Byte by byte in `docs/WIRE.md`.
//!
//! Hot heads and everything that carries values are in `protocol/frames.rs` and `protocol/writes.rs`; what a refusal says,
//! so that a client has the engine's own error, in `protocol/failure.rs`.

use serde::{Deserialize, Serialize};
use sinew_session::{Operation, Resource};
pub(crate) use sinew_session::{bad_request, violation};

use crate::{BucketConfig, Range};

mod failure;
pub(crate) use failure::{error_of, failure_of};
mod frames;
pub(crate) use frames::{
    CHANGE_KEY_AT, ENTRY_BYTES, EntryHead, Grant, KeyHead, Mark, PageHead, change_frame, change_head, entry_frame,
    key_head, keys_body, many_head, read_change, read_keys, read_many_head, take_change, take_entry, take_value,
    value_frame,
};
mod writes;
pub(crate) use writes::{WriteHead, put_head, read_put, read_write, read_written, too_many, write_body, written_head};
#[cfg(test)]
mod tests;

/// The key-value store's code in record headers.
pub const SERVICE: u8 = 3;

/// The longest a call that only asks waits for its answer, in seconds: a disk that is busy with something else answers
/// within it.
pub(crate) const CALL_SECONDS: u64 = 30;

/// Verbs of the key-value store.
pub(crate) mod verb {
    /// Client, a call: one key. Head: a key head. Answered with an entry head and the value.
    pub(crate) const GET: u8 = 1;
    /// Client, a call: several keys. Head: bucket, count. Body: keys. Answered with value frames, for as many keys as one answer takes.
    pub(crate) const GET_MANY: u8 = 2;
    /// Client, a call: one key is put. Head: a put head. Body: the value. Answered with a written head.
    pub(crate) const PUT: u8 = 3;
    /// Client, a call: any write. Head: a write head. Body: conditions and actions. Answered with a written head.
    pub(crate) const WRITE: u8 = 4;
    /// Client, a call: a page of keys in order. Answered with a page head and entry frames.
    pub(crate) const SCAN: u8 = 5;
    /// Client, a call: the kept revisions of a key. Answered with a page head and change frames.
    pub(crate) const HISTORY: u8 = 6;
    /// Client, a call that opens a watch under its own number.
    pub(crate) const WATCH: u8 = 7;
    /// Client, a call that ends one.
    pub(crate) const UNWATCH: u8 = 8;
    /// Client, on a watch. Head: bytes consumed (u64), standing (u32).
    pub(crate) const GRANT: u8 = 9;
    /// Server, on a watch: an entry of the snapshot, or a change. Head: a change head and the key. Body: the value.
    pub(crate) const CHANGE: u8 = 10;
    /// Server, on a watch: how far it is. Head: revision (u64), flags (u8), a key.
    pub(crate) const MARK: u8 = 11;
    /// Server, on a watch: it is over. Body: a failure.
    pub(crate) const ENDED: u8 = 12;
    /// Client, a call: makes, changes, removes, shows a bucket.
    pub(crate) const BUCKET: u8 = 13;
    /// Client, a call: names of buckets.
    pub(crate) const LIST: u8 = 14;
    /// Client, a call: verify, compact, back up, restore.
    pub(crate) const MAINTAIN: u8 = 15;
    /// Server, on a maintenance call: how far it is. Head: done (u64), total (u64).
    pub(crate) const PROGRESS: u8 = 16;
}

/// What a call of a client does, and to what: what the policy is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access<'a> {
    /// It needs a permission for this key, these keys, or this bucket.
    Needs(Operation, Resource<'a>),
    /// It needs that, and to manage the server: it reads or writes directories of the server's machine.
    NeedsServerToo(Operation, Resource<'a>),
    /// It concerns what the same session was permitted before, or shows only what the session may see.
    Own,
}

/// What a client asks for. A key is `bucket.key`, keys are `bucket.pattern`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asks<'a> {
    /// Reads a key, or its history.
    Read(&'a str),
    /// Puts, deletes, counts up a key.
    Write(&'a str),
    /// Has a condition on a key that it does not write: what comes of it tells what is there.
    Expect(&'a str),
    /// Reads keys in order: all that the page could show.
    Scan(&'a str),
    Watch(&'a str),
    /// Looks at a bucket: all of its keys, since it counts them.
    Info(&'a str),
    Create(&'a str),
    Alter(&'a str),
    Delete(&'a str),
    Verify(&'a str),
    Compact(&'a str),
    Backup(&'a str),
    Restore(&'a str),
    List,
    Unwatch,
    Grant,
}

/// The one place where a request meets its permission.
pub(crate) fn access(asks: Asks<'_>) -> Access<'_> {
    use Resource::{Name, Pattern};
    match asks {
        Asks::Read(key) | Asks::Expect(key) => Access::Needs(Operation::KvRead, Name(key)),
        Asks::Write(key) => Access::Needs(Operation::KvWrite, Name(key)),
        Asks::Scan(keys) | Asks::Watch(keys) | Asks::Info(keys) => Access::Needs(Operation::KvRead, Pattern(keys)),
        Asks::Create(bucket)
        | Asks::Alter(bucket)
        | Asks::Delete(bucket)
        | Asks::Verify(bucket)
        | Asks::Compact(bucket) => Access::Needs(Operation::KvManage, Name(bucket)),
        Asks::Backup(bucket) | Asks::Restore(bucket) => Access::NeedsServerToo(Operation::KvManage, Name(bucket)),
        Asks::List | Asks::Unwatch | Asks::Grant => Access::Own,
    }
}

/// The part of the server that backups belong to.
pub(crate) const SERVER_PART: &str = "kv";

/// Asks for a page of keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ScanAsk {
    pub(crate) bucket: String,
    pub(crate) range: Range,
    pub(crate) bytes_max: u64,
    pub(crate) items_max: u64,
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) keys_only: bool,
}

/// Asks for the kept revisions of a key, those of `from` and above.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HistoryAsk {
    pub(crate) bucket: String,
    pub(crate) key: String,
    pub(crate) from: u64,
}

/// Where a watch begins, as it travels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Begin {
    /// With every key that there is, then what changes.
    #[default]
    Snapshot,
    /// With what changes from now on.
    Now,
    /// With the change of this revision.
    Revision(u64),
    /// Within the snapshot, behind this key: what lies before it is known as it was at this revision.
    Within(String, u64),
}

/// Asks for a watch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WatchAsk {
    pub(crate) bucket: String,
    /// Of keys.
    pub(crate) pattern: String,
    pub(crate) from: Begin,
    /// Bytes of records that the client takes before it has granted any.
    pub(crate) window_bytes: u64,
    /// Of these in use: received before a cut and not consumed yet.
    pub(crate) used_bytes: u64,
    /// Counts how often the client has asked for this watch: grants for an earlier one are in `used_bytes`.
    pub(crate) standing: u32,
    /// Without values.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) keys_only: bool,
}

/// The answer: it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Watched {
    /// What was acknowledged up to this revision is not told as a change.
    pub(crate) revision: u64,
    /// The window that it has got.
    pub(crate) window_bytes: u64,
}

/// Ends a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unwatch {
    pub(crate) number: u32,
}

/// Asks about one bucket; answered with its [`BucketInfo`](crate::BucketInfo), or nothing by a delete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BucketAsk {
    pub(crate) bucket: String,
    pub(crate) act: BucketAct,
}

/// What is to be done with a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BucketAct {
    Create(BucketConfig),
    Alter(BucketConfig),
    Delete,
    Info,
}

/// Asks for names of buckets behind this one.
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

/// Asks for something that takes long; answered with what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Maintain {
    pub(crate) bucket: String,
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
}

fn is_false(value: &bool) -> bool {
    !value
}
