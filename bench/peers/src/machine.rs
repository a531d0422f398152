//! What the figures were measured on, so that a reader can tell what they are worth.

use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

/// The machine, the tools and the state of the tree.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: f64,
    pub(crate) kernel: String,
    pub(crate) rustc: String,
    /// With `, changed` behind it where the tree is not what the commit has.
    pub(crate) commit: String,
    pub(crate) date: String,
    /// One-minute load average at the beginning and at the end.
    pub(crate) load: (String, String),
    /// The median time of an `fdatasync` after a write of 4 KiB into a file that has its size, where the servers store.
    #[serde(default)]
    pub(crate) sync_micros: f64,
}

/// Writes of 4 KiB, each synced: enough for a median.
const SYNCS: u64 = 300;

impl Machine {
    /// As it is now; the load at the end is taken later.
    pub(crate) fn look(root: &Path) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let memory = field(&read("/proc/meminfo"), "MemTotal").trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0);
        let changed = !said(root, "git", &["status", "--porcelain", "--untracked-files=no"]).is_empty();
        let commit = said(root, "git", &["rev-parse", "--short", "HEAD"]);
        Self {
            processor: field(&read("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_gib: memory / f64::from(1 << 20),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            rustc: said(root, "rustc", &["--version"]),
            commit: format!("{commit}{}", if changed { ", changed" } else { "" }),
            date: said(root, "date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
            load: (load(), String::new()),
            // 0, which the page shows as unknown, where nothing can be written.
            sync_micros: sync_micros().unwrap_or(0.0),
        }
    }

    /// Takes the load at the end.
    pub(crate) fn end(&mut self) {
        self.load.1 = load();
    }
}

fn sync_micros() -> std::io::Result<f64> {
    use std::os::unix::fs::FileExt;
    let file = tempfile::tempfile()?;
    let (block, mut times) = ([0x5a; 4096], Vec::new());
    (0..SYNCS).try_for_each(|index| file.write_all_at(&block, index * 4096))?;
    file.sync_all()?;
    for index in 0..SYNCS {
        file.write_all_at(&block, index * 4096)?;
        let began = std::time::Instant::now();
        file.sync_data()?;
        times.push(began.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// The value behind `name` and a colon, as `/proc` has it; empty where there is none.
fn field(text: &str, name: &str) -> String {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'));
    line.unwrap_or_default().trim().to_owned()
}

/// What a command says; empty where it cannot be run: a report without it is better than none.
fn said(folder: &Path, program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(folder).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::field;

    #[test]
    fn fields_are_found_by_name() {
        let text = "processor\t: 0\nmodel name\t: Some CPU\nMemTotal:       2097152 kB\n";
        assert_eq!((field(text, "model name"), field(text, "MemTotal")), ("Some CPU".into(), "2097152 kB".into()));
        assert_eq!(field(text, "model"), "");
    }
}
