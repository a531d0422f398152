//! `cargo xtask coverage`: which lines the tests reach, as HTML, as lcov and as a table by crate.
//!
//! The compiler's own instrumentation counts, and cargo-tarpaulin reads what it wrote with a reader of its own,
//! so the plain stable toolchain is enough: no `llvm-tools` component, no LLVM of the system.
//! Programs that tests start are counted too, examples in the documentation are not.
//! Instrumented code lives in `target/coverage`, apart from everybody's.

use std::collections::BTreeMap;
use std::path::Path;

use xshell::{Shell, cmd};

use crate::metadata::{self, Metadata};
use crate::{Result, tools};

/// Reports end here.
const REPORTS: &str = "coverage";

/// A test program that says nothing for so long is ended; instrumented code is slow.
const SILENCE_SECONDS_MAX: &str = "900";

/// What to measure.
#[derive(clap::Args, Default)]
pub(crate) struct Options {
    /// Only the tests and the lines of these packages
    #[arg(short, long, value_name = "PACKAGE")]
    package: Vec<String>,
}

/// Lines of one crate.
#[derive(Clone, Copy, Default, Eq, PartialEq, Debug)]
struct Lines {
    reached: u64,
    all: u64,
}

/// The whole workspace, as a step of `ci --full`; the remark is the total.
pub(crate) fn whole(shell: &Shell) -> Result<String> {
    measure(shell, &Options::default()).map(|total| format!("{total} of lines reached"))
}

/// As asked on the command line.
pub(crate) fn run(shell: &Shell, options: &Options) -> Result<()> {
    measure(shell, options).map(drop)
}

fn measure(shell: &Shell, options: &Options) -> Result<String> {
    let tarpaulin = tools::TARPAULIN.ready(shell)?;
    let metadata = Metadata::own(&metadata::root())?;
    let folders = folders(&metadata)?;
    let command = cmd!(shell, "{tarpaulin} tarpaulin --engine llvm --follow-exec --skip-clean --locked")
        .args(["--target-dir", "target/coverage", "--output-dir", REPORTS, "--out", "Lcov", "--out", "Html"])
        .args(["--timeout", SILENCE_SECONDS_MAX, "--exclude-files", "target/*"]);
    shell.create_dir(REPORTS)?;
    let chosen: Vec<_> = folders.iter().filter(|(_, name)| options.package.contains(name)).collect();
    if let Some(unknown) = options.package.iter().find(|name| chosen.iter().all(|(_, known)| known != *name)) {
        return Err(format!("no package `{unknown}` in the workspace").into());
    }
    let command = if chosen.is_empty() { command.arg("--workspace") } else { command };
    let command = chosen.iter().fold(command, |command, (folder, name)| {
        command.args(["--packages", name, "--include-files", &format!("{folder}*")])
    });
    command.run()?;
    let lcov = shell.read_file(Path::new(REPORTS).join("lcov.info"))?;
    let crates = by_crate(&lcov, &metadata::root(), &folders);
    let total = crates.values().fold(Lines::default(), |sum, lines| sum.plus(*lines));
    if total.reached == 0 {
        return Err("not one line was reached: the instrumented tests did not run, see above".into());
    }
    print_table(&crates, total);
    Ok(total.percent())
}

/// Folder (relative, with `/` at the end; empty for the root) and name of each package, deepest first.
fn folders(metadata: &Metadata) -> Result<Vec<(String, String)>> {
    let root = metadata.facade()?.folder();
    let relative = |folder: &Path| folder.strip_prefix(root).map(|path| path.to_string_lossy().into_owned());
    let mut folders = Vec::new();
    for package in &metadata.packages {
        let folder = relative(package.folder())?;
        let folder = if folder.is_empty() { folder } else { folder + "/" };
        folders.push((folder, package.name.clone()));
    }
    folders.sort_by_key(|(folder, _)| std::cmp::Reverse(folder.len()));
    Ok(folders)
}

/// Sums the `DA:line,hits` of each `SF:file` into the crate whose folder holds the file.
fn by_crate(lcov: &str, root: &Path, folders: &[(String, String)]) -> BTreeMap<String, Lines> {
    let (mut crates, mut current) = (BTreeMap::<String, Lines>::new(), None);
    for line in lcov.lines() {
        if let Some(file) = line.strip_prefix("SF:") {
            let path = Path::new(file);
            let file = path.strip_prefix(root).unwrap_or(path).to_string_lossy();
            current = folders.iter().find(|(folder, _)| file.starts_with(folder)).map(|(_, name)| name.clone());
        } else if let (Some(hits), Some(name)) =
            (line.strip_prefix("DA:").and_then(|rest| rest.split(',').nth(1)), &current)
        {
            let lines = crates.entry(name.clone()).or_default();
            *lines = lines.plus(Lines { reached: u64::from(hits != "0"), all: 1 });
        }
    }
    crates
}

fn print_table(crates: &BTreeMap<String, Lines>, total: Lines) {
    let width = crates.keys().map(String::len).max().unwrap_or(0).max("crate".len());
    println!("\n{:<width$}  {:>8}  {:>8}  {:>7}", "crate", "reached", "lines", "share");
    for (name, lines) in crates.iter().map(|(name, lines)| (name.as_str(), *lines)).chain([("total", total)]) {
        println!("{name:<width$}  {:>8}  {:>8}  {:>7}", lines.reached, lines.all, lines.percent());
    }
    println!("\nline by line: {REPORTS}/tarpaulin-report.html, for other programs: {REPORTS}/lcov.info");
}

impl Lines {
    fn plus(self, other: Self) -> Self {
        Self { reached: self.reached + other.reached, all: self.all + other.all }
    }

    fn percent(self) -> String {
        let tenths = (self.reached * 1000).checked_div(self.all).unwrap_or(0);
        format!("{}.{} %", tenths / 10, tenths % 10)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Lines, by_crate};

    #[test]
    fn lines_are_summed_by_the_crate_that_holds_them() {
        let lcov = "TN:\nSF:/r/bus/src/a.rs\nDA:1,3\nDA:2,0\nend_of_record\nSF:/r/src/lib.rs\nDA:9,1\nend_of_record\n";
        let folders = [("bus/".to_owned(), "sinew-bus".to_owned()), (String::new(), "sinew".to_owned())];
        let crates = by_crate(lcov, Path::new("/r"), &folders);
        assert_eq!(crates["sinew-bus"], Lines { reached: 1, all: 2 });
        assert_eq!(crates["sinew"], Lines { reached: 1, all: 1 });
        assert_eq!(crates["sinew-bus"].percent(), "50.0 %");
    }
}
