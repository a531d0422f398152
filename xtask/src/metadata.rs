//! What `cargo metadata` says about the workspace, reduced to what the chores ask for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::Result;

/// The workspace's folder: the parent of this crate's own, which cargo tells whenever it runs us.
/// What was true when this was compiled comes second, since a target folder may be moved or shared.
pub(crate) fn root() -> PathBuf {
    let own = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&own).parent().expect("xtask stands in a folder of the workspace").to_owned()
}

/// Packages as cargo sees them: the workspace's own, or with all that they depend on.
#[derive(Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
    /// Where cargo builds, which may be shared or elsewhere.
    #[serde(rename = "target_directory")]
    pub(crate) target: PathBuf,
}

/// One package.
#[derive(Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    /// Where it came from; nothing for the workspace's own.
    pub(crate) source: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) rust_version: Option<String>,
    pub(crate) manifest_path: PathBuf,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) features: BTreeMap<String, Vec<String>>,
}

/// One line of a package's dependencies.
#[derive(Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// `None` for a normal one, else `dev` or `build`.
    pub(crate) kind: Option<String>,
    /// Given for what lies in the workspace.
    pub(crate) path: Option<PathBuf>,
}

impl Metadata {
    /// The workspace's own packages; asks no registry and takes no lock.
    pub(crate) fn own(root: &Path) -> Result<Self> {
        Self::ask(root, &["--no-deps"])
    }

    /// All packages of the lock file; fails when the lock file does not fit the manifests.
    pub(crate) fn locked(root: &Path) -> Result<Self> {
        Self::ask(root, &["--locked"])
    }

    fn ask(root: &Path, more: &[&str]) -> Result<Self> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output =
            Command::new(cargo).args(["metadata", "--format-version", "1"]).args(more).current_dir(root).output()?;
        if !output.status.success() {
            return Err(format!("cargo metadata failed:\n{}", String::from_utf8_lossy(&output.stderr)).into());
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// The root package, which users depend on.
    pub(crate) fn facade(&self) -> Result<&Package> {
        let found = self.packages.iter().find(|package| package.name == "sinew" && package.source.is_none());
        found.ok_or_else(|| "the workspace has no package `sinew`".into())
    }
}

impl Package {
    /// The folder it lies in.
    pub(crate) fn folder(&self) -> &Path {
        self.manifest_path.parent().expect("a manifest lies in a folder")
    }
}
