//! `cargo xtask ci`: every check, cheapest first, and how long each took.
//!
//! The number of ways in which the dependencies are compiled is what CI costs, so there are few:
//! checked (clippy, docs), built for all features, built for each transport alone.
//! All of it uses the dev profile and the one target folder.

mod features;
mod linters;
mod versions;

use xshell::Shell;

use crate::step::{Action, Line, Runner, Step, run_all};
use crate::{Result, coverage, metadata, outside, peers, tidy};

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Also run what takes long: every set of features, the stated Rust version, long tests, coverage
    #[arg(long)]
    full: bool,
    /// Only the steps with these names
    #[arg(long, value_name = "STEP")]
    only: Vec<String>,
    /// Print the steps and their commands without running them
    #[arg(long)]
    list: bool,
    /// Who runs the tests of the whole workspace
    #[arg(long, value_enum, default_value_t = RunnerChoice::Auto)]
    runner: RunnerChoice,
}

/// A person's choice of test runner.
#[derive(Clone, Copy, Eq, PartialEq, clap::ValueEnum)]
enum RunnerChoice {
    /// cargo-nextest where it is installed, else `cargo test`
    Auto,
    /// `cargo test --workspace`, as the README says
    CargoTest,
}

/// Runs the steps.
pub(crate) fn run(shell: &Shell, options: &Options) -> Result<()> {
    let nextest = xshell::cmd!(shell, "cargo nextest --version").quiet().ignore_stderr().read().is_ok();
    let whole = nextest && options.runner == RunnerChoice::Auto;
    let mut steps = quick(whole, nextest);
    if options.full {
        steps.extend(long(nextest)?);
    }
    let known: Vec<_> = steps.iter().map(|step| step.name.clone()).collect();
    if let Some(unknown) = options.only.iter().find(|name| !known.contains(name)) {
        return Err(format!("no step `{unknown}`; there are {}", known.join(", ")).into());
    }
    if !options.only.is_empty() {
        steps.retain(|step| options.only.contains(&step.name));
    }
    if options.list {
        steps.iter().for_each(|step| println!("{}", step.shown()));
        return Ok(());
    }
    run_all(shell, steps)
}

/// What every change passes. `whole`: nextest for the whole workspace, `nextest`: for a single transport.
fn quick(whole: bool, nextest: bool) -> Vec<Step> {
    let mut steps = vec![
        line("fmt", "cargo fmt --all --check"),
        call("tidy", |_| tidy::run(&metadata::root()).map(|()| String::new())),
        call("lockfile", versions::lockfile),
        line("clippy", "cargo clippy --workspace --all-targets -- -D warnings"),
        Step {
            name: "doc".into(),
            action: Action::Run(Line::new("cargo doc --workspace --no-deps").with("RUSTDOCFLAGS", "-D warnings")),
        },
    ];
    steps.extend(tests_of_all(whole));
    steps.push(call("features-tree", features::tree));
    steps.extend(features::lint_sets().into_iter().map(|(name, text)| line(&name, &text)));
    for transport in features::TRANSPORTS {
        steps.push(tests(&format!("tests-{}-alone", transport.feature), nextest, &features::alone(transport)));
    }
    steps.push(call("outside", outside::run));
    steps.push(call("deny", linters::deny));
    steps.push(call("machete", linters::machete));
    steps.push(call("typos", linters::typos));
    steps
}

/// What takes long.
fn long(nextest: bool) -> Result<Vec<Step>> {
    let mut steps = vec![call("rust-version", versions::rust_version)];
    steps.extend(features::powerset()?.into_iter().map(|(name, text)| line(&name, &text)));
    let profile = if nextest { "--profile long" } else { "" };
    let mut long = tests("tests-long", nextest, &format!("--workspace {profile}"));
    if let Action::Test(_, line) = &mut long.action {
        *line = line.clone().with("SINEW_LONG", "1");
    }
    steps.push(long);
    steps.push(call("coverage", coverage::whole));
    steps.push(call("peers", peers::check));
    Ok(steps)
}

/// nextest does not run the examples in the documentation.
fn tests_of_all(nextest: bool) -> Vec<Step> {
    let mut steps = vec![tests("tests", nextest, "--workspace")];
    if nextest {
        steps.push(tests("tests-doc", false, "--workspace --doc"));
    }
    steps
}

fn tests(name: &str, nextest: bool, selection: &str) -> Step {
    let action = if nextest {
        Action::Test(Runner::Nextest, Line::new(&format!("cargo nextest run {selection}")))
    } else {
        Action::Test(Runner::Libtest, Line::new(&format!("cargo test --no-fail-fast {selection}")))
    };
    Step { name: name.into(), action }
}

fn line(name: &str, text: &str) -> Step {
    Step { name: name.into(), action: Action::Run(Line::new(text)) }
}

fn call(name: &str, call: fn(&Shell) -> Result<String>) -> Step {
    Step { name: name.into(), action: Action::Call(call) }
}
