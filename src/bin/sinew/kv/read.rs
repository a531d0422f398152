//! `sinew kv get`, `ls` and `history`.

use std::io::Write;

use clap::Args;
use serde::Serialize;
use sinew::kvstore::{Entry, Key, PageLimits, Range};
use sinew::{ResourceName, rfc3339};

use super::key;
use super::shown::{KvFormat, object_into};
use crate::connection::ConnectionOptions;
use crate::failure::Outcome;
use crate::format::printable;
use crate::options::{Options, name};
use crate::output::CHUNK_BYTES;

/// There is no such key: an exit code of its own.
#[derive(Debug)]
pub(crate) struct KeyMissing {
    bucket: String,
    key: String,
}

impl KeyMissing {
    pub(super) fn new(bucket: &ResourceName, key: &Key) -> Self {
        Self { bucket: bucket.to_string(), key: key.to_string() }
    }
}

impl std::fmt::Display for KeyMissing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { bucket, key } = self;
        write!(f, "there is no key `{key}` in bucket `{bucket}`; `sinew kv ls {bucket}` lists those that there are")
    }
}

impl std::error::Error for KeyMissing {}

/// Write the value of a key to standard output
///
/// On a line, with what is not printable escaped.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sinew kv get config lights.kitchen
  sinew kv get pictures front --raw > front.jpg
  sinew kv get config limits --json | jq .revision

Object of --json:
  {\"key\":\"limits\",\"value\":\"30\",\"revision\":7,\"created\":3,\"time\":\"2026-01-31T12:00:00Z\"}
  value_json where it is an object or an array, value_base64 for what is no UTF-8 text;
  expires where it has a time to live

Exit code 10: there is no such key.")]
pub(super) struct Get {
    /// In which bucket
    #[arg(value_parser = name)]
    bucket: ResourceName,
    /// Which key
    #[arg(value_parser = key)]
    key: Key,
    /// Write the value alone, as it is, without a line feed
    #[arg(long, conflicts_with = "json")]
    raw: bool,
    #[command(flatten)]
    options: Options,
}

impl Get {
    pub(super) async fn run(self) -> Outcome {
        let client = self.options.client().await?;
        let found = client.kv().bucket(&self.bucket).get(&self.key).await?;
        let entry = found.ok_or_else(|| KeyMissing::new(&self.bucket, &self.key))?;
        let mut out = Vec::new();
        match KvFormat::new(self.options.json, self.raw) {
            // As of a message: what ends a line itself is that line.
            KvFormat::Line => {
                printable(entry.value.strip_suffix(b"\n").unwrap_or(&entry.value), &mut out);
                out.push(b'\n');
            }
            format => format.entry(&entry, &mut out),
        }
        write_out(&out)?;
        Ok(client.close().await?)
    }
}

/// List keys, in order
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sinew kv ls config
  sinew kv ls config lights. --values
  sinew kv ls config --json | jq -r 'select(.expires) | .key'

Objects of --json, one a line; with --values they have the value as those of `get`:
  {\"key\":\"limits\",\"revision\":7,\"created\":3,\"time\":\"2026-01-31T12:00:00Z\"}")]
pub(super) struct Ls {
    /// In which bucket
    #[arg(value_parser = name)]
    bucket: ResourceName,
    /// Only keys that begin so
    #[arg(default_value = "", hide_default_value = true)]
    prefix: String,
    /// Write values too: revision, time, key and value, with what is not printable escaped
    #[arg(long)]
    values: bool,
    #[command(flatten)]
    options: Options,
}

/// What `ls` asks for at one time.
const PAGE: PageLimits = PageLimits { bytes_max: 1 << 20, items_max: 4_096, keys_only: false };

#[derive(Serialize)]
struct KeyObject<'a> {
    key: &'a str,
    revision: u64,
    created: u64,
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
}

impl Ls {
    pub(super) async fn run(self) -> Outcome {
        let client = self.options.client().await?;
        let range = Range { prefix: self.prefix.clone(), ..Range::default() };
        let limits = PageLimits { keys_only: !self.values, ..PAGE };
        let mut scan = client.kv().bucket(&self.bucket).scan_by(range, limits);
        let (mut out, mut open) = (Vec::new(), true);
        while let (true, Some(entry)) = (open, scan.next().await) {
            self.show(&entry?, &mut out);
            if out.len() >= CHUNK_BYTES {
                open = write_out(&out)?;
                out.clear();
            }
        }
        write_out(&out)?;
        Ok(client.close().await?)
    }

    fn show(&self, entry: &Entry, out: &mut Vec<u8>) {
        match (self.values, self.options.json) {
            (true, json) => KvFormat::new(json, false).entry(entry, out),
            (false, false) => out.extend_from_slice(format!("{}\n", entry.key).as_bytes()),
            (false, true) => {
                let object = KeyObject {
                    key: entry.key.as_str(),
                    revision: entry.revision,
                    created: entry.created,
                    time: rfc3339(entry.timestamp),
                    expires: entry.expires.map(rfc3339),
                };
                object_into(&object, out);
            }
        }
    }
}

/// Write the revisions of a key that are kept, oldest first
///
/// A line each: revision, time, key, and the value with what is not printable escaped, or how it went. How many are kept is
/// the bucket's to say (`sinew kv bucket create --history`).
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sinew kv history config limits
  sinew kv history config limits --json | jq .value

Objects of --json, one a line; change is put, deleted, purged or expired:
  {\"key\":\"limits\",\"revision\":7,\"time\":\"2026-01-31T12:00:00Z\",\"change\":\"put\",\"value\":\"30\"}

Exit code 10: nothing is kept of such a key.")]
pub(super) struct History {
    /// In which bucket
    #[arg(value_parser = name)]
    bucket: ResourceName,
    /// Which key
    #[arg(value_parser = key)]
    key: Key,
    /// Write JSON, one object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: ConnectionOptions,
}

impl History {
    pub(super) async fn run(self) -> Outcome {
        let client = self.connection.connect().await?;
        let revisions = client.kv().bucket(&self.bucket).history(&self.key).await?;
        if revisions.is_empty() {
            return Err(KeyMissing::new(&self.bucket, &self.key).into());
        }
        let mut out = Vec::new();
        revisions.iter().for_each(|revision| KvFormat::new(self.json, false).change(revision, &mut out));
        write_out(&out)?;
        Ok(client.close().await?)
    }
}

/// Writes to standard output; whether somebody still reads it.
pub(super) fn write_out(bytes: &[u8]) -> Outcome<bool> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        written => Ok(written.map(|()| true)?),
    }
}
