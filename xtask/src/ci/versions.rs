//! The lock file, and the oldest Rust that we promise.

use xshell::{Shell, cmd};

use crate::Result;
use crate::metadata::{self, Metadata};

/// The oldest Rust that users may have. Raise it here and in the root manifest, in one commit that says why.
const RUST_VERSION: &str = "1.88";

/// Whether the committed lock file fits the manifests, so that everybody builds the same.
pub(crate) fn lockfile(_shell: &Shell) -> Result<String> {
    Metadata::locked(&metadata::root()).map_err(|error| {
        format!("Cargo.lock does not fit the manifests: run `cargo check` once and commit it\n{error}")
    })?;
    Ok(String::new())
}

/// Compares what is stated, ours and our dependencies'; no older compiler is asked, and the remark says so.
pub(crate) fn rust_version(shell: &Shell) -> Result<String> {
    let metadata = Metadata::locked(&metadata::root())?;
    let promised = parts(RUST_VERSION);
    let mut faults = Vec::new();
    for package in &metadata.packages {
        let stated = package.rust_version.as_deref();
        match package.source {
            None if stated != Some(RUST_VERSION) => faults.push(format!(
                "{} states rust-version {stated:?}, xtask/src/ci/versions.rs {RUST_VERSION}: write `rust-version.workspace = true`",
                package.name
            )),
            Some(_) if stated.is_some_and(|version| parts(version) > promised) => faults.push(format!(
                "{} {} needs Rust {}: choose an older version of it or raise RUST_VERSION",
                package.name,
                package.version,
                stated.unwrap_or_default()
            )),
            _ => {}
        }
    }
    if !faults.is_empty() {
        return Err(faults.join("\n  ").into());
    }
    let present = cmd!(shell, "rustc --version").quiet().read()?;
    let remark =
        format!("{RUST_VERSION} is stated and no dependency states more; NOT compiled with it, only with {present}");
    println!("    {remark}");
    Ok(remark)
}

/// `1.88.0` and `1.88` are the same.
fn parts(version: &str) -> [u32; 3] {
    let mut parts = [0; 3];
    for (slot, text) in parts.iter_mut().zip(version.split('.')) {
        *slot = text.parse().unwrap_or(0);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::parts;

    #[test]
    fn versions_compare_as_numbers() {
        assert!(parts("1.9") < parts("1.88"));
        assert_eq!(parts("1.88"), parts("1.88.0"));
    }
}
