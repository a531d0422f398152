//! `cargo xtask bench tasks`: builds the program that lets tasks wait (`bench/src/bin/backlog`) and the server, runs it, and
//! writes its tables with the machine into `docs/TASK-BACKLOG.md`.

use std::path::PathBuf;

use xshell::{Shell, cmd};

use crate::metadata::{self, Metadata};
use crate::{Result, bench};

/// How thoroughly, and where.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Where to write, up to 200 MB, which are removed at the end. Default: the folder for temporary files
    #[arg(long)]
    folder: Option<PathBuf>,
    /// All steps once, printed and not written: to see that everything works
    #[arg(long)]
    quick: bool,
}

/// What stands above the tables.
const HEADER: &str = "# Tasks that wait

A queue in memory, and one on disk whose tasks are acknowledged once they are synced, with more and more tasks that wait for a worker; payloads of 128 bytes that do not repeat.
The server is `sinew serve` with the defaults, a process of its own and a new one for each step; clients and worker are another process, over QUIC.
Two sessions submit with 64 submissions on their way, and go on waiting for every result.
Memory is that of the server's process once nothing has happened for 3 s, less what it had with the same sessions after 2,000 tasks that were done at once; so it has what the server knows of sessions that wait, and what the allocator wastes.
On disk are all files, with the zeros that are written ahead of the data: up to 16 MiB, which is much where few tasks wait.
Then a worker comes that does one task at a time, and 200 times an urgent one is submitted, whose priority is higher: it must be the next. Measured is the time from submitting it until the worker has it, who is done with the one before as soon as it is accepted.
At last a worker that does 64 at a time works everything off; each result must be that of its task. The rate is that of results which have come back.
All steps are taken several times in turn; the figures are medians, and the urgent tasks those of all rounds.
";

/// Builds and runs it.
pub(crate) fn run(shell: &Shell, options: &Options) -> Result<()> {
    cmd!(shell, "cargo build --release --bin sinew").run()?;
    cmd!(shell, "cargo build --release -p sinew-bench --bin backlog").run()?;
    let root = metadata::root();
    let release = Metadata::own(&root)?.target.join("release");
    let (backlog, sinew) = (release.join("backlog"), release.join("sinew"));
    let rounds: &[&str] = if options.quick { &["--rounds", "1"] } else { &[] };
    let folder = options.folder.iter().flat_map(|folder| ["--folder".into(), folder.clone()]);
    let tables = cmd!(shell, "{backlog} --sinew {sinew} {rounds...} {folder...}").quiet().read()?;
    let date = cmd!(shell, "date -u +%Y-%m-%d").quiet().read()?;
    let machine = bench::machine(shell)?;
    let page = format!("{HEADER}\nMade on {date} by\n\n```\ncargo xtask bench tasks\n```\n\n{machine}\n{tables}\n");
    if options.quick {
        println!("{page}");
        return Ok(());
    }
    let path = root.join("docs/TASK-BACKLOG.md");
    std::fs::write(&path, &page)?;
    println!("{tables}\n\nwritten into {}", path.display());
    Ok(())
}
