//! A lock with fencing: of all programs that run this one at a time appends to a file, and the file's keeper refuses whoever
//! comes with a lock that was lost meanwhile.
//!
//! With `sinew serve` running, in several terminals:
//! ```text
//! cargo run --release --example lock /tmp/report
//! ```
//! A URL as second argument chooses the server.

use std::fs::OpenOptions;
use std::io::{Read, Seek, Write};
use std::path::Path;

use sinew::Client;
use sinew::kvstore::recipes::{Lock, LockOptions};

const TURNS: u32 = 20;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    run(std::env::args().skip(1)).await
}

/// Takes its turns.
pub(crate) async fn run(mut arguments: impl Iterator<Item = String>) -> Outcome {
    let file = arguments.next().ok_or("usage: lock FILE [URL]")?;
    let client = arguments.next().map_or_else(Client::local, Client::builder).connect().await?;
    let holder = format!("process {}", std::process::id());
    let options = LockOptions { holder: holder.clone().into(), ..LockOptions::default() };
    let lock = Lock::new(&client.kv().bucket(&"locks".parse()?), &"report".parse()?, options);
    for turn in 0..TURNS {
        let held = lock.acquire().await?; // renewed by itself while it is held
        append(Path::new(&file), held.fence(), &format!("{holder}, turn {turn}"))?;
        held.release().await?;
    }
    println!("{holder} had it {TURNS} times");
    client.close().await?;
    Ok(())
}

/// What the lock protects. It keeps the highest fence that it has seen, and refuses a lower one: its holder had stopped for
/// so long that somebody else has the lock by now, and has no other way to know.
fn append(path: &Path, fence: u64, line: &str) -> Outcome {
    let mut file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    let last = text.lines().last().and_then(|line| line.split_once(' ')).map_or("0", |(fence, _)| fence);
    if last.parse::<u64>()? >= fence {
        return Err(format!("fence {fence} is not above {last}: the lock was lost meanwhile").into());
    }
    file.seek(std::io::SeekFrom::End(0))?;
    writeln!(file, "{fence} {line}")?;
    Ok(())
}
