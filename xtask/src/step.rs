//! Steps: announced, timed, stopped at the first that fails, and summed up in a table.

use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use xshell::Shell;

use crate::Result;

/// A command line that can be run, and shown so that a person can repeat it.
#[derive(Clone)]
pub(crate) struct Line {
    words: Vec<String>,
    variables: Vec<(&'static str, &'static str)>,
}

/// What a step is made of.
pub(crate) enum Action {
    /// A command that fails or does not.
    Run(Line),
    /// A command that runs tests; its closing lines are counted, and running none at all is a failure.
    Test(Runner, Line),
    /// Work of our own; gives a remark for the table, which may be empty.
    Call(fn(&Shell) -> Result<String>),
}

/// Whose closing lines a test step prints.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Runner {
    /// `cargo test`: `test result: …` on standard output, one for each test program.
    Libtest,
    /// `cargo nextest run`: one `Summary …` on standard error.
    Nextest,
}

/// One step of a list.
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) action: Action,
}

impl Step {
    /// Its name and the command that repeats it.
    pub(crate) fn shown(&self) -> String {
        format!("{}: {}", self.name, self.action.shown(&self.name))
    }
}

/// Tests that ran.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Count {
    passed: u64,
    failed: u64,
    skipped: u64,
}

struct Done {
    name: String,
    took: Duration,
    remark: String,
}

/// Runs `steps` in order, prints the table whatever happens, and fails with the first step that failed.
pub(crate) fn run_all(shell: &Shell, steps: Vec<Step>) -> Result<()> {
    let count = steps.len();
    let (mut done, mut tests) = (Vec::new(), Count::default());
    for (index, step) in steps.into_iter().enumerate() {
        println!("\n==> [{}/{count}] {}", index + 1, step.shown());
        let began = Instant::now();
        let outcome = step.action.run(shell, &mut tests);
        let took = began.elapsed();
        match outcome {
            Ok(remark) => done.push(Done { name: step.name, took, remark }),
            Err(error) => {
                let repeat = step.action.shown(&step.name);
                done.push(Done { name: step.name.clone(), took, remark: "FAILED".into() });
                print_table(&done, tests);
                return Err(format!("step `{}` failed: {error}\n  to repeat it: {repeat}", step.name).into());
            }
        }
    }
    print_table(&done, tests);
    Ok(())
}

fn print_table(done: &[Done], tests: Count) {
    let width = done.iter().map(|step| step.name.len()).max().unwrap_or(0);
    println!("\n{:<width$}  {:>8}", "step", "seconds");
    for Done { name, took, remark } in done {
        println!("{}", format!("{name:<width$}  {:>8.1}  {remark}", took.as_secs_f64()).trim_end());
    }
    let total: Duration = done.iter().map(|step| step.took).sum();
    println!("{:<width$}  {:>8.1}\n", "total", total.as_secs_f64());
    if tests != Count::default() {
        println!("tests: {tests}");
    }
}

impl Action {
    /// The command that repeats this alone.
    fn shown(&self, name: &str) -> String {
        match self {
            Self::Run(line) | Self::Test(_, line) => line.to_string(),
            Self::Call(_) => format!("cargo xtask ci --only {name}"),
        }
    }

    fn run(&self, shell: &Shell, tests: &mut Count) -> Result<String> {
        match self {
            Self::Run(line) => line.run().map(|()| String::new()),
            Self::Call(call) => call(shell),
            Self::Test(runner, line) => {
                let (outcome, count) = line.run_tests(*runner)?;
                tests.add(count);
                outcome?;
                if count.passed == 0 {
                    return Err("it ran no test: a closing line with at least one passed test was expected".into());
                }
                Ok(count.to_string())
            }
        }
    }
}

impl Line {
    /// Words are split at white space; none of ours holds any.
    pub(crate) fn new(text: &str) -> Self {
        Self { words: text.split_whitespace().map(str::to_owned).collect(), variables: Vec::new() }
    }

    /// The same with an environment variable.
    pub(crate) fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.variables.push((name, value));
        self
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).current_dir(crate::metadata::root());
        // `cargo run` tells us about our own package; passed on, it would make build scripts that watch these variables
        // run again each time a person and this program take turns.
        let own = std::env::vars_os().map(|(name, _)| name).filter(|name| {
            let name = name.to_string_lossy();
            name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
        });
        for name in own {
            command.env_remove(name);
        }
        command.envs(self.variables.iter().copied());
        command
    }

    fn run(&self) -> Result<()> {
        ended(self.command().status()?)
    }

    /// Runs with the runner's stream copied through this process, so that the closing lines can be read.
    fn run_tests(&self, runner: Runner) -> Result<(Result<()>, Count)> {
        let mut command = self.command();
        let (mut child, stream): (_, Box<dyn Read>) = match runner {
            Runner::Libtest => {
                let mut child = command.stdout(Stdio::piped()).spawn()?;
                let stream = child.stdout.take().expect("standard output was piped");
                (child, Box::new(stream))
            }
            Runner::Nextest => {
                let mut child = command.stderr(Stdio::piped()).spawn()?;
                let stream = child.stderr.take().expect("standard error was piped");
                (child, Box::new(stream))
            }
        };
        let count = copy_and_count(stream, runner, &mut std::io::stdout())?;
        Ok((ended(child.wait()?), count))
    }
}

/// What a test prints need not be UTF-8.
fn copy_and_count(stream: impl Read, runner: Runner, out: &mut impl Write) -> Result<Count> {
    let (mut reader, mut count, mut bytes) = (BufReader::new(stream), Count::default(), Vec::new());
    while reader.read_until(b'\n', &mut bytes)? > 0 {
        out.write_all(&bytes)?;
        count.add(Count::read(runner, &String::from_utf8_lossy(&bytes)));
        bytes.clear();
    }
    Ok(count)
}

fn ended(status: std::process::ExitStatus) -> Result<()> {
    if status.success() { Ok(()) } else { Err(status.to_string().into()) }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.variables {
            write!(f, "{name}='{value}' ")?;
        }
        f.write_str(&self.words.join(" "))
    }
}

impl Count {
    /// Reads a closing line; any other counts nothing.
    fn read(runner: Runner, line: &str) -> Self {
        let mark = match runner {
            Runner::Libtest => "test result: ",
            Runner::Nextest => "Summary [",
        };
        let line = line.trim_start();
        if !line.starts_with(mark) {
            return Self::default();
        }
        let number = |word: &str| {
            let before = line.split_once(&format!(" {word}")).map(|(before, _)| before);
            let digits = before.and_then(|text| text.rsplit(' ').next());
            digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
        };
        match runner {
            Runner::Libtest => Self { passed: number("passed"), failed: number("failed"), skipped: number("ignored") },
            Runner::Nextest => Self {
                passed: number("passed"),
                failed: number("failed") + number("timed out"),
                skipped: number("skipped"),
            },
        }
    }

    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { passed, failed, skipped } = self;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

#[cfg(test)]
mod tests {
    use super::{Count, Line, Runner, copy_and_count};

    #[test]
    fn closing_lines_of_both_runners_are_counted() {
        let libtest = "test a ... ok\ntest result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out\n\
                       test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out\n";
        let count = copy_and_count(libtest.as_bytes(), Runner::Libtest, &mut std::io::sink()).unwrap();
        assert_eq!(count, Count { passed: 15, failed: 2, skipped: 1 });
        let nextest = "     Summary [   0.0s] 9 tests run: 5 passed (1 slow), 3 failed, 1 timed out, 4 skipped\n";
        let count = copy_and_count(nextest.as_bytes(), Runner::Nextest, &mut std::io::sink()).unwrap();
        assert_eq!(count, Count { passed: 5, failed: 4, skipped: 4 });
    }

    #[test]
    fn a_test_step_that_runs_no_test_fails() {
        let (outcome, count) = Line::new("cargo --version").run_tests(Runner::Libtest).unwrap();
        assert!(outcome.is_ok());
        assert_eq!(count, Count::default());
    }

    #[test]
    fn a_line_shows_what_a_person_types() {
        let line = Line::new("cargo doc  --no-deps").with("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(line.to_string(), "RUSTDOCFLAGS='-D warnings' cargo doc --no-deps");
    }
}
