//! Buckets as files that people read, edit and bring along: the export of a bucket, the file of the original's store, and
//! values to begin with. Formats only: nothing here knows a server, and nothing holds more than one entry in memory, but
//! [`read_initial`], whose file is bounded. The formats are described in `docs/EXCHANGE.md`.

mod error;
mod escape;
mod export;
mod initial;
mod pickledb;

use std::time::Duration;

use bytes::Bytes;
pub use error::ExchangeError;
pub use escape::{escape_key, unescape_key};
pub use export::{EXPORT_LINE_BYTES_MAX, ExportReader, write_entry};
pub use initial::{INITIAL_BYTES_MAX, InitialBucket, read_initial};
pub use pickledb::{PICKLEDB_ENTRY_BYTES_MAX, TextValues, read_pickledb};

use crate::{Key, VALUE_BYTES_MAX};

/// An entry as it stands in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// The line on which its key stands, from 1.
    pub line: u64,
    /// Its key.
    pub key: Key,
    /// The value.
    pub value: Bytes,
    /// When it is gone, in nanoseconds since 1970; `None` for never.
    pub expires: Option<u64>,
}

/// How long an entry of a file has still to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeLeft {
    /// As long as the bucket says.
    Default,
    /// So long.
    For(Duration),
    /// It is over.
    Over,
}

impl FileEntry {
    /// How long it has to live at `now`, in nanoseconds since 1970.
    pub fn time_left(&self, now: u64) -> TimeLeft {
        match self.expires {
            None => TimeLeft::Default,
            Some(expires) if expires > now => TimeLeft::For(Duration::from_nanos(expires - now)),
            Some(_) => TimeLeft::Over,
        }
    }

    fn new(line: u64, key: &str, value: Bytes) -> Result<Self, ExchangeError> {
        let key = Key::try_from(key).map_err(|error| ExchangeError::entry(line, &error))?;
        if value.len() > VALUE_BYTES_MAX as usize {
            let why =
                format!("the value of `{key}` has {} bytes, and a value has at most {VALUE_BYTES_MAX}", value.len());
            return Err(ExchangeError::Entry { line, why });
        }
        Ok(Self { line, key, value, expires: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_a_life() {
        let mut entry = FileEntry::new(1, "a", Bytes::new()).unwrap();
        assert_eq!(entry.time_left(5), TimeLeft::Default);
        entry.expires = Some(7);
        assert_eq!(entry.time_left(5), TimeLeft::For(Duration::from_nanos(2)));
        assert_eq!([entry.time_left(7), entry.time_left(8)], [TimeLeft::Over; 2]);
    }
}
