//! Tools from the registry at pinned versions, built once into `target/tools`; nothing of the machine's own is touched.
//!
//! They are built without optimisation: they run for seconds, and building them is what costs.
//! They share one build folder, since they share most of what they depend on.

use std::path::PathBuf;

use xshell::{Shell, cmd};

use crate::{Result, metadata};

/// A program that cargo can install.
pub(crate) struct Tool {
    /// The package's name.
    pub(crate) package: &'static str,
    /// The program it installs.
    pub(crate) program: &'static str,
    /// Exactly this version.
    pub(crate) version: &'static str,
}

pub(crate) const DENY: Tool = Tool { package: "cargo-deny", program: "cargo-deny", version: "0.20.2" };
pub(crate) const MACHETE: Tool = Tool { package: "cargo-machete", program: "cargo-machete", version: "0.9.2" };
pub(crate) const TYPOS: Tool = Tool { package: "typos-cli", program: "typos", version: "1.52.0" };
pub(crate) const TARPAULIN: Tool = Tool { package: "cargo-tarpaulin", program: "cargo-tarpaulin", version: "0.37.5" };

impl Tool {
    /// The path of the program, which is built first where it is missing or of another version.
    pub(crate) fn ready(&self, shell: &Shell) -> Result<PathBuf> {
        let folder = metadata::root().join("target").join("tools");
        let path = folder.join("bin").join(self.program);
        if path.is_file() && self.is_recorded(&folder) {
            return Ok(path);
        }
        let Self { package, version, .. } = self;
        println!("    installing {package} {version} into target/tools");
        cmd!(shell, "cargo install --quiet --locked --force --debug --root {folder} --version {version} {package}")
            .env("CARGO_TARGET_DIR", folder.join("build"))
            .env("CARGO_PROFILE_DEV_DEBUG", "false")
            .quiet()
            .run()?;
        Ok(path)
    }

    /// Whether cargo's own record in `folder` has this version.
    fn is_recorded(&self, folder: &std::path::Path) -> bool {
        let record = std::fs::read_to_string(folder.join(".crates.toml")).unwrap_or_default();
        record.contains(&format!("\"{} {} ", self.package, self.version))
    }
}
