//! `cargo xtask bench log`: builds the program that lets a stream of the event log grow (`bench/src/bin/growth`), runs it,
//! and writes its tables with the machine into `docs/LOG-GROWTH.md`.

use std::path::PathBuf;

use xshell::{Shell, cmd};

use crate::metadata::{self, Metadata};
use crate::{Result, bench};

/// How far, where, and how thoroughly.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Events to grow to; fewer where the disk has no room for them
    #[arg(long, default_value_t = 50_000_000)]
    events: u64,
    /// Where to write, up to 10 GB, which are removed at the end. Default: the folder for temporary files
    #[arg(long)]
    folder: Option<PathBuf>,
    /// 1 and 2 M events and short measurements, printed and not written: to see that everything works
    #[arg(long)]
    quick: bool,
}

/// What stands above the tables.
const HEADER: &str = "# The event log as it grows

One stream with events of 128 bytes, appended in batches of 64 with 64 batches on their way, each acknowledged once it is on disk; the engine as the server uses it, without a connection in between.
Whoever appends, opens or reads is a process of its own, and before a stream is opened the operating system is asked to forget its files, so that they come from the disk.
At each size the process that appends is killed (SIGKILL) amid its appends and the stream opened again, several times; what had been acknowledged is looked for.
Then it is closed in order, opened once more, and read from the first event to the last, each of which is checked.
Beside each rate stands what the disk itself did at that size, in as many events: the same files read without looking at them, and up to 1 GiB written block after block (1 MiB), each synced.
Over many streams: appends of one event of 128 bytes, acknowledged once they are on disk.
";

/// Builds and runs it.
pub(crate) fn run(shell: &Shell, options: &Options) -> Result<()> {
    cmd!(shell, "cargo build --release -p sinew-bench --bin growth").run()?;
    let root = metadata::root();
    let growth = Metadata::own(&root)?.target.join("release/growth");
    let mut arguments = vec!["--events".to_owned(), options.events.to_string()];
    arguments.extend(options.quick.then(|| "--quick".to_owned()));
    // Where it was written is nobody else's place, and not on the page.
    let command = arguments.join(" ");
    let folder = options.folder.iter().flat_map(|folder| ["--folder".into(), folder.clone()]);
    let tables = cmd!(shell, "{growth} run {arguments...} {folder...}").quiet().read()?;
    let date = cmd!(shell, "date -u +%Y-%m-%d").quiet().read()?;
    let machine = bench::machine(shell)?;
    let page =
        format!("{HEADER}\nMade on {date} by\n\n```\ncargo xtask bench log {command}\n```\n\n{machine}\n{tables}\n");
    if options.quick {
        println!("{page}");
        return Ok(());
    }
    let path = root.join("docs/LOG-GROWTH.md");
    std::fs::write(&path, &page)?;
    println!("{tables}\n\nwritten into {}", path.display());
    Ok(())
}
