//! `cargo xtask outside`: projects outside the workspace, as users have them.
//!
//! One talks over ZeroMQ with the patch lines; one lacks them and must say which; one links a plug-in of its own and
//! finds it by URL in a release build with link-time optimisation.

use std::path::Path;

use xshell::{Shell, cmd};

use crate::Result;
use crate::metadata::{self, Metadata};

/// What the project without the patch must be told.
const PATCH_LINES: [&str; 2] = ["[patch.crates-io]", "zmq-sys = { path = "];

/// Builds and runs all three; gives what they said.
pub(crate) fn run(shell: &Shell) -> Result<String> {
    let outside = metadata::root().join("tests/outside");
    // The workspace's own target folder, and its lock file to begin with: what is the same is not built twice.
    let target = Metadata::own(&metadata::root())?.target;
    let talks = project(shell, &outside.join("talks"), &target, "")?;
    let plugin = project(shell, &outside.join("plugin"), &target, "--release")?;
    let unpatched = project(shell, &outside.join("unpatched"), &target, "")?;
    for wanted in PATCH_LINES {
        if !unpatched.contains(wanted) {
            return Err(format!("without the patch the error does not quote `{wanted}`; it says:\n{unpatched}").into());
        }
    }
    println!("{talks}\n{plugin}\noutside unpatched: says\n{unpatched}");
    Ok("three projects outside the workspace".into())
}

fn project(shell: &Shell, folder: &Path, target: &Path, release: &'static str) -> Result<String> {
    let manifest = folder.join("Cargo.toml");
    std::fs::copy(metadata::root().join("Cargo.lock"), folder.join("Cargo.lock"))?;
    let release = (!release.is_empty()).then_some(release);
    Ok(cmd!(shell, "cargo run --quiet --manifest-path {manifest} --target-dir {target} {release...}").read()?)
}
