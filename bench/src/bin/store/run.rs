//! Fills, looks, restarts, overwrites, restarts without its table.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sinew_bench::{Server, disk_bytes};

use crate::Result;
use crate::client::{self, KEY_BYTES, VALUE_BYTES};
use crate::table::{self, Start, Tables, Turn};

/// How much, where, and how thoroughly.
#[derive(clap::Parser)]
#[command(about = "A million keys of the key-value store in a server as users run it")]
pub(crate) struct Options {
    /// The program `sinew`, built for release
    #[arg(long)]
    sinew: PathBuf,
    /// Keys
    #[arg(long, default_value_t = 1_000_000)]
    keys: u64,
    /// How often all of them are overwritten
    #[arg(long, default_value_t = 10)]
    turns: u64,
    /// Where to write. Default: the folder for temporary files
    #[arg(long)]
    folder: Option<PathBuf>,
}

/// Looked at for so long when nobody asks for anything.
const AT_REST: Duration = Duration::from_secs(10);
/// The table of the store in the data directory; `docs/STORAGE.md`.
const TABLE: &str = "kv-table";
/// Changes that are watched as they are written.
const CHANGES: u64 = 100_000;

pub(crate) async fn run(options: &Options) -> Result<()> {
    let parent = options.folder.clone().unwrap_or_else(std::env::temp_dir);
    std::fs::create_dir_all(&parent)?;
    let folder = tempfile::Builder::new().prefix("sinew-store-").tempdir_in(&parent)?;
    let (home, data) = (folder.path().join("home"), folder.path().join("data"));
    let tables = measure(options, &home, &data).await?;
    progress("");
    print!("{}", table::render(&tables));
    Ok(())
}

async fn measure(options: &Options, home: &Path, data: &Path) -> Result<Tables> {
    let keys = options.keys;
    let mut tables = Tables { keys, data_bytes: keys * (KEY_BYTES + VALUE_BYTES) as u64, ..Tables::default() };
    let server = Server::start(&options.sinew, home, data).await?;
    let connected = client::connect(&server.url, home).await?;
    let bucket = client::bucket(&connected)?;
    tables.turns.push(turn(&server, &bucket, data, keys, 0).await?);
    progress("at rest");
    tokio::time::sleep(AT_REST).await;
    tables.rest_resident = server.resident()?;
    tables.rest_disk = disk_bytes(data);
    progress("reading");
    tables.scan = client::scan(&bucket, keys).await?;
    tables.watch = client::watch(&bucket, keys).await?;
    client::check(&bucket, keys, 0).await?;
    tokio::time::sleep(AT_REST).await;
    tables.read_resident = server.resident()?;
    connected.close().await?;
    server.end().await?;

    tables.starts.push(start(options, home, data, "after an orderly end", 0, true).await?);
    tables.starts.push(start(options, home, data, "after a kill", 0, false).await?);
    std::fs::remove_dir_all(data.join(TABLE))?;
    tables.starts.push(start(options, home, data, "without its table, which is made again", 0, true).await?);

    let server = Server::start(&options.sinew, home, data).await?;
    let connected = client::connect(&server.url, home).await?;
    let bucket = client::bucket(&connected)?;
    for number in 1..=options.turns {
        tables.turns.push(turn(&server, &bucket, data, keys, number).await?);
    }
    let last = options.turns;
    client::check(&bucket, keys, last).await?;
    progress("changes as they are written");
    let changes = CHANGES.min(keys);
    tables.changes = client::watch_changes(&bucket, changes, last).await?;
    tokio::time::sleep(AT_REST).await;
    tables.end_resident = server.resident()?;
    connected.close().await?;
    server.end().await?;
    tables.starts.push(start(options, home, data, "after all was overwritten, and an orderly end", last, true).await?);
    Ok(tables)
}

/// All keys once.
async fn turn(server: &Server, bucket: &sinew::kvstore::KvBucket, data: &Path, keys: u64, number: u64) -> Result<Turn> {
    progress(&format!("turn {number}"));
    let watching = server.watch(data)?;
    let puts = client::put_all(bucket, keys, number).await?;
    Ok(Turn { number, puts, resident: watching.resident(), disk: watching.disk() })
}

/// Starts the server and asks: for the bus, for the store, for a thousand keys.
async fn start(
    options: &Options,
    home: &Path,
    data: &Path,
    what: &'static str,
    turn: u64,
    orderly: bool,
) -> Result<Start> {
    progress(&format!("a start {what}"));
    let server = Server::start(&options.sinew, home, data).await?;
    let serving = server.began.elapsed();
    let connected = client::connect(&server.url, home).await?;
    connected.flush(Duration::from_secs(60)).await?;
    let others = server.began.elapsed();
    let bucket = client::bucket(&connected)?;
    // It waits while the table is made again.
    let deadline = Instant::now() + Duration::from_secs(600);
    while let Err(error) = bucket.get(&client::key(0)?).await {
        if Instant::now() > deadline {
            return Err(error.into());
        }
    }
    let store = server.began.elapsed();
    client::check(&bucket, options.keys, turn).await?;
    let read = server.began.elapsed();
    connected.close().await?;
    if orderly {
        server.end().await?
    } else {
        server.kill().await?
    }
    Ok(Start { what, serving, others, store, read })
}

fn progress(text: &str) {
    let mut error = std::io::stderr().lock();
    if error.is_terminal() {
        let _ = write!(error, "\r\x1b[K{text}");
        let _ = error.flush();
    }
}
