//! `--kv-initial`: values that the key-value store begins with, written only where the key is absent.

use std::fs::File;
use std::path::Path;

use sinew::Server;
use sinew::kvstore::{Expected, InitialBucket, read_initial};

use crate::failure::Outcome;
use crate::kv::{Puts, told};

/// Reads the file before anything listens: a mistake in it is told at once.
pub(super) fn read(path: Option<&Path>) -> Outcome<Vec<InitialBucket>> {
    let Some(path) = path else { return Ok(Vec::new()) };
    let file = File::open(path).map_err(|error| told(path, &error))?;
    read_initial(file).map_err(|error| told(path, &error))
}

/// Puts what is absent, before anybody is told where the server is.
pub(super) async fn put(buckets: Vec<InitialBucket>, server: &Server) -> Outcome {
    if buckets.is_empty() {
        return Ok(());
    }
    let client = server.own_client().await?;
    for InitialBucket { bucket, entries } in buckets {
        let mut puts = Puts::new(client.kv().bucket(&bucket), Some(Expected::Absent));
        for entry in entries {
            puts.begin(entry).await?;
        }
        puts.finish().await?;
    }
    Ok(client.close().await?)
}
