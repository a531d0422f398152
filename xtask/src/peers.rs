//! `cargo xtask bench peers`: builds the release program and the comparison's own crate, which stands outside the
//! workspace so that what it needs of other systems stays out of the product, and starts it.

use std::path::{Path, PathBuf};

use xshell::{Shell, cmd};

use crate::Result;
use crate::metadata::{self, Metadata};

/// Passed on as they are.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Options {
    /// Arguments of the comparison; `--help` lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Builds, and runs the comparison. Its lock file pins the peers' clients; it follows by itself when our own crates change
/// what they depend on, so that nobody who does that needs to build the peers.
pub(crate) fn run(shell: &Shell, options: &Options) -> Result<()> {
    let (root, target) = (metadata::root(), Metadata::own(&metadata::root())?.target);
    let (manifest, kept) = (manifest(&root), target.join("peers"));
    // Only a comparison needs our own program; a question or a page does not wait for it.
    let asks = ["--help", "-h", "--list", "--render"];
    if !options.arguments.iter().any(|argument| asks.contains(&argument.as_str())) {
        cmd!(shell, "cargo build --release --package sinew --bin sinew").quiet().run()?;
    }
    cmd!(shell, "cargo build --release --manifest-path {manifest} --target-dir {kept}").quiet().run()?;
    let (program, sinew) = (kept.join("release/sinew-peers"), target.join("release/sinew"));
    let arguments = &options.arguments;
    let own = ["--root".as_ref(), root.as_os_str(), "--kept".as_ref(), kept.as_os_str(), "--sinew".as_ref()];
    cmd!(shell, "{program} run {own...} {sinew} {arguments...}").quiet().run()?;
    Ok(())
}

/// Its lints and its tests; the peers themselves are not needed for these. Tests as they are built for the comparison, so
/// that its many dependencies are compiled once.
pub(crate) fn check(shell: &Shell) -> Result<String> {
    let (root, target) = (metadata::root(), Metadata::own(&metadata::root())?.target);
    let (manifest, kept) = (manifest(&root), target.join("peers"));
    cmd!(shell, "cargo fmt --manifest-path {manifest} --check").run()?;
    cmd!(shell, "cargo clippy --manifest-path {manifest} --target-dir {kept} --all-targets -- -D warnings").run()?;
    cmd!(shell, "cargo test --release --manifest-path {manifest} --target-dir {kept}").run()?;
    Ok("lints and tests of bench/peers".into())
}

fn manifest(root: &Path) -> PathBuf {
    root.join("bench/peers/Cargo.toml")
}
