//! What is moved: items in batches, with what was lost before them and where the source stands behind them.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sinew_session::{Headers, Subject};

use crate::{Error, Result};

/// A message, an event or a line. A clone shares its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Item {
    /// What it is about.
    pub subject: Option<Subject>,
    /// What it is filed under.
    pub key: Option<Bytes>,
    /// Names and values beside the payload.
    pub headers: Headers,
    /// The payload.
    pub payload: Bytes,
    /// The key is gone.
    pub tombstone: bool,
    /// When it came about, in nanoseconds since 1970: when it was appended, or heard.
    pub timestamp: Option<u64>,
    /// Its place in the stream that it was read from.
    pub offset: Option<u64>,
}

impl Item {
    /// An item of this payload alone.
    pub fn new(payload: impl Into<Bytes>) -> Self {
        Self { payload: payload.into(), ..Self::default() }
    }

    /// What it is counted as: payload, key, subject and headers, in bytes.
    pub fn bytes(&self) -> usize {
        let subject = self.subject.as_ref().map_or(0, |subject| subject.as_bytes().len());
        self.payload.len() + self.key.as_ref().map_or(0, Bytes::len) + subject + self.headers.as_bytes().len()
    }
}

/// What did not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// So many items.
    Exactly(u64),
    /// Nobody has counted: the server restarted, or nobody listened for a while.
    Unknown,
}

/// Where a source stands: what is behind it has not been given yet. The words are the source's own; none are its
/// beginning.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position(pub String);

/// How far a source has come, of what there is, for a bar: events of a log, bytes of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Given so far.
    pub done: u64,
    /// All there is at this time; `None` where it has no end.
    pub total: Option<u64>,
}

/// What a source gives at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// What did not come before the first item.
    pub lost: Option<Lost>,
    /// The items in order; may be empty.
    pub items: Vec<Item>,
    /// Where the source stands behind them.
    pub position: Position,
    /// How far it has come.
    pub extent: Extent,
    /// Something that a person should know, such as a file that ends within a line.
    pub notice: Option<String>,
}

/// How much a source gives at one time. At least one item is given where there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Items.
    pub items_max: usize,
    /// Bytes of them, as [`Item::bytes`] counts.
    pub bytes_max: usize,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self { items_max: BATCH_ITEMS_MAX, bytes_max: BATCH_BYTES_MAX }
    }
}

/// Items of a batch: enough that what each batch costs does not show.
pub const BATCH_ITEMS_MAX: usize = 1_024;
/// Bytes of a batch, unless one item alone has more.
pub const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// What a connection remembers, so that it goes on where it was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Which source this is about, with what selects from it.
    pub origin: String,
    /// Items that were moved up to here, in all runs.
    pub count: u64,
    /// Where the source stood then, or a little before.
    pub position: Position,
    /// Items behind that position that were moved as well: the connection was stopped within a batch.
    #[serde(default)]
    pub ahead: u64,
    /// Items that were counted as lost up to here.
    #[serde(default)]
    pub lost: u64,
    /// How often items may have been lost and nobody has counted.
    #[serde(default)]
    pub uncounted: u64,
}

/// The largest mark, in bytes: what a cursor keeps.
pub const MARK_BYTES_MAX: usize = 8 * 1024;

impl Mark {
    /// The position; `None` for the source's beginning.
    fn place(&self) -> Option<&Position> {
        Some(&self.position).filter(|position| !position.0.is_empty())
    }

    /// As a cursor or a file keeps it.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts and numbers can be written into memory")
    }

    /// What was kept.
    ///
    /// # Errors
    /// `NotAMark` for anything else; `kept` says where it was.
    pub fn from_bytes(bytes: &[u8], kept: &str) -> Result<Self> {
        let fault = |why: String| Error::NotAMark { kept: kept.to_owned(), why };
        if bytes.len() > MARK_BYTES_MAX {
            return Err(fault(format!("it has {} bytes and may have {MARK_BYTES_MAX}", bytes.len())));
        }
        serde_json::from_slice(bytes).map_err(|error| fault(error.to_string()))
    }
}

/// What a sink has already, as far as it knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Items of this connection that it has, in all runs. It does not forget: what is given again is not taken twice.
    pub count: Option<u64>,
    /// The offset of the last item that it has, in the stream that the items come from.
    pub last_offset: Option<u64>,
    /// What was remembered last, by the sink or the source.
    pub mark: Option<Mark>,
    /// Something that a person should know, such as half a line that was cut off.
    pub notice: Option<String>,
}

impl Standing {
    /// Where a source begins that can go anywhere: the position (`None`: its beginning), and how many items behind it the
    /// sink has already.
    ///
    /// # Errors
    /// `SinkBehind` if the sink has fewer than it had.
    pub fn resume(&self) -> Result<(Option<&Position>, u64)> {
        match (self.count, &self.mark) {
            (None, None) => Ok((None, 0)),
            (Some(count), None) => Ok((None, count)),
            (None, Some(mark)) => Ok((mark.place(), mark.ahead)),
            (Some(count), Some(mark)) => match count.checked_sub(mark.count) {
                Some(more) => Ok((mark.place(), mark.ahead + more)),
                None => Err(Error::SinkBehind { has: count, had: mark.count }),
            },
        }
    }

    /// Items that were moved before, in all runs.
    pub fn moved(&self) -> u64 {
        self.count.or(self.mark.as_ref().map(|mark| mark.count)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(count: u64, position: &str) -> Mark {
        Mark { origin: "o".into(), count, position: Position(position.into()), ahead: 0, lost: 1, uncounted: 2 }
    }

    #[test]
    fn a_source_begins_where_the_sink_stands() {
        let standing = |count, mark: Option<Mark>| Standing { count, mark, ..Standing::default() };
        assert_eq!(standing(None, None).resume().unwrap(), (None, 0));
        assert_eq!(standing(Some(7), None).resume().unwrap(), (None, 7));
        let seven = Position("7".into());
        assert_eq!(standing(None, Some(mark(7, "7"))).resume().unwrap(), (Some(&seven), 0));
        assert_eq!(standing(Some(9), Some(mark(7, "7"))).resume().unwrap(), (Some(&seven), 2));
        let ahead = |count, position| Mark { ahead: 3, ..mark(count, position) };
        assert_eq!(standing(Some(9), Some(ahead(7, "7"))).resume().unwrap(), (Some(&seven), 5));
        assert_eq!(standing(None, Some(ahead(7, ""))).resume().unwrap(), (None, 3));
        let error = standing(Some(6), Some(mark(7, "7"))).resume().unwrap_err();
        assert!(matches!(error, Error::SinkBehind { has: 6, had: 7 }), "{error}");
        assert_eq!((standing(Some(9), Some(mark(7, "7"))).moved(), standing(None, None).moved()), (9, 0));
    }

    #[test]
    fn a_mark_comes_back_and_nothing_else_is_one() {
        let kept = mark(7, "byte 12");
        assert_eq!(Mark::from_bytes(&kept.to_bytes(), "x").unwrap(), kept);
        for bytes in [&b""[..], b"{}", b"\xff", &vec![b' '; MARK_BYTES_MAX + 1]] {
            assert!(matches!(Mark::from_bytes(bytes, "cursor `c`"), Err(Error::NotAMark { .. })));
        }
    }
}
