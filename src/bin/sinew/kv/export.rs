//! `sinew kv export`: a bucket as a file that people read and edit.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use sinew::ResourceName;
use sinew::kvstore::{KvBucket, Progress, Range, write_entry};

use super::read::write_out;
use crate::connection::ConnectionOptions;
use crate::failure::Outcome;
use crate::options::name;
use crate::output::CHUNK_BYTES;
use crate::progress::Bar;

/// Write a bucket as a file that people can read and edit
///
/// One JSON object a line for each key, in order; `import` reads it. A file appears whole or not at all. For a copy with
/// revisions and history there is `sinew kv bucket backup`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sinew kv export config config.jsonl
  sinew kv export config --prefix lights. | jq -r .key

A line:
  {\"key\":\"limits\",\"value\":\"30\",\"revision\":7,\"created\":3,\"time\":\"2026-01-31T12:00:00Z\"}
  value_json where it is an object or an array, value_base64 for what is no UTF-8 text;
  expires where it has a time to live")]
pub(super) struct Export {
    /// Which bucket
    #[arg(value_parser = name)]
    bucket: ResourceName,
    /// Where to. Default: standard output
    file: Option<PathBuf>,
    /// Only keys that begin so
    #[arg(long, default_value = "", hide_default_value = true)]
    prefix: String,
    #[command(flatten)]
    connection: ConnectionOptions,
}

impl Export {
    pub(super) async fn run(self) -> Outcome {
        let client = self.connection.connect().await?;
        let bucket = client.kv().bucket(&self.bucket);
        match &self.file {
            None => drop(self.write(&bucket, &mut write_out).await?),
            Some(path) => {
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
                let mut file = tempfile::NamedTempFile::new_in(folder).map_err(|error| told(path, &error))?;
                let keys = self.write(&bucket, &mut |bytes| Ok(file.write_all(bytes).map(|()| true)?)).await?;
                file.as_file().sync_all()?;
                file.persist(path).map_err(|error| told(path, &error.error))?;
                eprintln!("{keys} keys are in {}", path.display());
            }
        }
        Ok(client.close().await?)
    }

    /// Gives everything to `out`, until it says that nobody reads it; gives how many keys.
    async fn write(&self, bucket: &KvBucket, out: &mut dyn FnMut(&[u8]) -> Outcome<bool>) -> Outcome<u64> {
        let total = bucket.info().await?.bytes;
        let (_bar, progress) = Bar::new(&format!("export {}", self.bucket));
        let mut scan = bucket.scan(Range { prefix: self.prefix.clone(), ..Range::default() });
        let (mut chunk, mut keys, mut done) = (Vec::new(), 0, 0);
        while let Some(entry) = scan.next().await {
            let entry = entry?;
            write_entry(&entry, &mut chunk);
            keys += 1;
            done += (entry.key.as_bytes().len() + entry.value.len()) as u64;
            progress(Progress { done, total });
            if chunk.len() >= CHUNK_BYTES {
                if !out(&chunk)? {
                    return Ok(keys);
                }
                chunk.clear();
            }
        }
        out(&chunk)?;
        Ok(keys)
    }
}

/// What is wrong with a file, with its name.
pub(crate) fn told(path: &Path, error: &dyn std::fmt::Display) -> Box<dyn std::error::Error + Send + Sync> {
    match path.to_str() {
        Some("-") => format!("standard input: {error}").into(),
        _ => format!("{}: {error}", path.display()).into(),
    }
}
