//! `cargo xtask bench store`: builds the program that fills a store with a million keys (`bench/src/bin/store`) and the server,
//! runs it, and writes its tables with the machine into `docs/STORE-SIZE.md`.

use std::path::PathBuf;

use xshell::{Shell, cmd};

use crate::metadata::{self, Metadata};
use crate::{Result, bench};

/// How much, and where.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Keys; fewer than a million are printed and not written: to see that everything works
    #[arg(long, default_value_t = KEYS)]
    keys: u64,
    /// Where to write, up to 2 GB, which are removed at the end. Default: the folder for temporary files
    #[arg(long)]
    folder: Option<PathBuf>,
}

const KEYS: u64 = 1_000_000;

/// What stands above the tables.
const HEADER: &str = "# The key-value store with a million keys

Keys of 14 bytes with values of 128 bytes that do not repeat, in one bucket with the defaults: each put is acknowledged once it is on disk.
The server is `sinew serve` with the defaults, a process of its own; the client puts with 256 under way over QUIC, in an order that jumps about, and each value it reads is checked.
Memory and disk of the server are looked at four times a second.
Starts are counted from the start of the process, connecting included; the operating system may have the files in memory.
";

/// Builds and runs it.
pub(crate) fn run(shell: &Shell, options: &Options) -> Result<()> {
    cmd!(shell, "cargo build --release --bin sinew").run()?;
    cmd!(shell, "cargo build --release -p sinew-bench --bin store").run()?;
    let root = metadata::root();
    let release = Metadata::own(&root)?.target.join("release");
    let (store, sinew, keys) = (release.join("store"), release.join("sinew"), options.keys.to_string());
    let folder = options.folder.iter().flat_map(|folder| ["--folder".into(), folder.clone()]);
    let tables = cmd!(shell, "{store} --sinew {sinew} --keys {keys} {folder...}").quiet().read()?;
    let date = cmd!(shell, "date -u +%Y-%m-%d").quiet().read()?;
    let machine = bench::machine(shell)?;
    let page = format!("{HEADER}\nMade on {date} by\n\n```\ncargo xtask bench store\n```\n\n{machine}\n{tables}\n");
    if options.keys < KEYS {
        println!("{page}");
        return Ok(());
    }
    let path = root.join("docs/STORE-SIZE.md");
    std::fs::write(&path, &page)?;
    println!("{tables}\n\nwritten into {}", path.display());
    Ok(())
}
