//! Runs cases: each on its own runtime, under a deadline, with panics caught; and makes the report.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime;

use super::cases as rooms;
use super::kit::{Kit, Stop};
use super::subject::Subject;

/// What a case may take in all. Waits within it have shorter deadlines of their own that say what was waited for.
const CASE_DEADLINE: Duration = Duration::from_secs(120);

type Running = Pin<Box<dyn Future<Output = Result<(), Stop>> + Send>>;

/// A promise of the contract and the code that tries it.
#[derive(Clone, Copy)]
pub struct Case {
    name: &'static str,
    promise: &'static str,
    two_threads: bool,
    start: fn(Kit) -> Running,
}

#[doc(hidden)]
#[macro_export]
macro_rules! __case_table {
    (() $($room:ident :: $case:ident, $threads:ident, $promise:literal;)*) => {
        &[$(Case {
            name: stringify!($case),
            promise: $promise,
            two_threads: matches!(stringify!($threads).as_bytes(), b"both"),
            start: |kit| Box::pin(rooms::$room::$case(kit)),
        }),*]
    };
}

/// All cases, in the order of the contract.
pub fn cases() -> &'static [Case] {
    const CASES: &[Case] = crate::__each_case! { __case_table () };
    CASES
}

/// What came of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The promise was kept.
    Kept,
    /// It does not apply to this transport; why.
    Skipped(String),
    /// It was broken; how, and where the case noticed.
    Broken(String),
}

impl Case {
    /// Its name: the name of the test.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The promise in a sentence.
    pub fn promise(&self) -> &'static str {
        self.promise
    }

    /// Tries the promise on the present tokio runtime, which may have its clock paused. A panic breaks the promise.
    pub async fn run(&self, subject: Arc<dyn Subject>, seed: u64) -> Verdict {
        let mut task = tokio::spawn((self.start)(Kit::new(subject, seed)));
        match tokio::time::timeout(CASE_DEADLINE, &mut task).await {
            Ok(Ok(Ok(()))) => Verdict::Kept,
            Ok(Ok(Err(Stop::Skip(why)))) => Verdict::Skipped(why),
            Ok(Ok(Err(Stop::Fail(how)))) => Verdict::Broken(how),
            Ok(Err(panicked)) => Verdict::Broken(panicked.to_string()),
            Err(_elapsed) => {
                task.abort();
                Verdict::Broken(format!("it was not over after {} s", CASE_DEADLINE.as_secs()))
            }
        }
    }

    /// Tries the promise on runtimes of its own: one with a single thread and, where threads matter, one with two.
    ///
    /// # Panics
    /// If the system has no thread left to give.
    pub fn run_alone(&self, subject: &Arc<dyn Subject>, seed: u64) -> Verdict {
        let mut verdict = Verdict::Kept;
        for threads in 1..=1 + usize::from(self.two_threads) {
            let mut builder = match threads {
                1 => runtime::Builder::new_current_thread(),
                _ => runtime::Builder::new_multi_thread(),
            };
            let runtime = builder.worker_threads(threads).enable_all().build().expect("a runtime can be made");
            verdict = runtime.block_on(self.run(Arc::clone(subject), seed));
            runtime.shutdown_timeout(Duration::from_secs(5));
            if let Verdict::Broken(how) = &mut verdict {
                how.push_str(&format!(" (on {threads} thread{})", if threads == 1 { "" } else { "s" }));
                break;
            }
        }
        verdict
    }
}

/// Runs the case `name` as a test does.
///
/// # Panics
/// If the promise is broken, with the seed; or if there is no such case.
pub fn check(name: &str, subject: Arc<dyn Subject>) {
    let case = cases().iter().find(|case| case.name == name).expect("the macro names cases there are");
    let seed = seed();
    match case.run_alone(&subject, seed) {
        Verdict::Kept => {}
        Verdict::Skipped(why) => println!("skipped: {why}"),
        Verdict::Broken(how) => panic!("broken: {}\n{how}\nrun it again with SINEW_SEED={seed}", case.promise),
    }
}

/// The seed of this run: `SINEW_SEED`, else a fixed one.
///
/// # Panics
/// If `SINEW_SEED` is no number.
pub fn seed() -> u64 {
    const FIXED: u64 = 20_240_607;
    std::env::var("SINEW_SEED").map_or(FIXED, |text| text.parse().expect("SINEW_SEED is a number below 2^64"))
}

/// Every promise with its result. `Display` gives a Markdown table.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed it was made with.
    pub seed: u64,
    /// One row for each case.
    pub rows: Vec<Row>,
}

/// One promise with its result.
#[derive(Clone, Debug)]
pub struct Row {
    /// The case's name.
    pub name: &'static str,
    /// The promise in a sentence.
    pub promise: &'static str,
    /// What came of it.
    pub verdict: Verdict,
    /// How long it took.
    pub elapsed: Duration,
}

/// Tries every promise with `subject` and tells; for programs, outside of tests. Blocks; not to be called on a runtime.
pub fn report(subject: Arc<dyn Subject>) -> Report {
    let seed = seed();
    let row = |case: &Case| {
        let start = Instant::now();
        let verdict = case.run_alone(&subject, seed);
        Row { name: case.name, promise: case.promise, verdict, elapsed: start.elapsed() }
    };
    Report { seed, rows: cases().iter().map(row).collect() }
}

impl Report {
    /// Whether no promise is broken.
    pub fn holds(&self) -> bool {
        !self.rows.iter().any(|row| matches!(row.verdict, Verdict::Broken(_)))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| promise | result | seconds |\n|---|---|---|")?;
        for row in &self.rows {
            let result = match &row.verdict {
                Verdict::Kept => "kept".to_owned(),
                Verdict::Skipped(why) => format!("skipped: {why}"),
                Verdict::Broken(how) => format!("BROKEN: {}", how.replace('\n', " ")),
            };
            writeln!(f, "| {} | {result} | {:.3} |", row.promise, row.elapsed.as_secs_f64())?;
        }
        writeln!(f, "\nseed {}", self.seed)
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
