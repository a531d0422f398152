//! The examples of the key-value store, each in processes of its own: this program, started again as one of them.

use super::program::{Home, Running, schemes};

#[allow(dead_code, reason = "its `main` is not ours")]
#[path = "../../examples/calculator.rs"]
mod calculator;
#[allow(dead_code, reason = "its `main` is not ours")]
#[path = "../../examples/configuration.rs"]
mod configuration;
#[allow(dead_code, reason = "its `main` is not ours")]
#[path = "../../examples/counters.rs"]
mod counters;
#[allow(dead_code, reason = "its `main` is not ours")]
#[path = "../../examples/gpu.rs"]
mod gpu;
#[allow(dead_code, reason = "its `main` is not ours")]
#[path = "../../examples/lock.rs"]
mod lock;
#[allow(dead_code, reason = "its `main` is not ours")]
#[path = "../../examples/thumbnails.rs"]
mod thumbnails;

/// What a process is to be: the example and its arguments, a line each.
const EXAMPLE: &str = "SINEW_TEST_EXAMPLE";

/// Run by itself it shows that each example explains itself; as another process it is one of them.
#[test]
fn an_example_runs_or_explains_itself() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let Ok(example) = std::env::var(EXAMPLE) else {
        let none = || std::iter::empty::<String>();
        runtime.block_on(async {
            assert!(calculator::run(none()).await.unwrap_err().to_string().starts_with("usage: calculator "));
            assert!(counters::run(none()).await.unwrap_err().to_string().starts_with("usage: counters "));
            assert!(gpu::run(none()).await.unwrap_err().to_string().starts_with("usage: gpu "));
            assert!(thumbnails::run(none()).await.unwrap_err().to_string().starts_with("usage: thumbnails "));
            assert!(lock::run(none()).await.unwrap_err().to_string().starts_with("usage: lock "));
            assert!(configuration::run(none()).await.unwrap_err().to_string().starts_with("usage: configuration "));
        });
        return;
    };
    let mut arguments = example.lines().map(str::to_owned);
    runtime
        .block_on(async {
            match arguments.next().as_deref() {
                Some("calculator") => calculator::run(arguments).await,
                Some("counters") => counters::run(arguments).await,
                Some("gpu") => gpu::run(arguments).await,
                Some("thumbnails") => thumbnails::run(arguments).await,
                Some("lock") => lock::run(arguments).await,
                Some("configuration") => configuration::run(arguments).await,
                other => panic!("{other:?}"),
            }
        })
        .unwrap();
}

fn start(home: &Home, example: &[&str]) -> Running {
    home.start_test("examples::an_example_runs_or_explains_itself", EXAMPLE, &example.join("\n"))
}

fn succeed(running: Running) -> String {
    let ended = running.end();
    let stdout = String::from_utf8(ended.stdout).unwrap();
    assert!(ended.status.success(), "{stdout}{}", ended.stderr);
    stdout
}

#[test]
fn four_counters_over_each_transport() {
    let home = Home::new();
    let server = home.serve(&[]);
    for scheme in schemes() {
        let url = server.url(scheme);
        let counters = [0, 1, 2, 3].map(|counter| start(&home, &["counters", &counter.to_string(), &url]));
        for (counter, running) in counters.into_iter().enumerate() {
            let said = succeed(running);
            assert!(said.contains(&format!("counter.{counter}: 1000 times set and read")), "{scheme}: {said}");
        }
    }
    assert_eq!(home.succeed(["kv", "ls", "counters"]), "counter.0\ncounter.1\ncounter.2\ncounter.3\n");
}

#[test]
fn one_at_a_time_has_the_lock_and_fences_rise() {
    let home = Home::new();
    let server = home.serve(&[]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("report");
    let urls = schemes().into_iter().map(|scheme| server.url(scheme)).cycle();
    let takers: Vec<_> = urls.take(3).map(|url| start(&home, &["lock", file.to_str().unwrap(), &url])).collect();
    for taker in takers {
        assert!(succeed(taker).contains(" had it 20 times"));
    }
    let text = std::fs::read_to_string(&file).unwrap();
    let fences: Vec<u64> = text.lines().map(|line| line.split_once(' ').unwrap().0.parse().unwrap()).collect();
    assert_eq!(fences.len(), 60);
    assert!(fences.is_sorted_by(|one, other| one < other), "{fences:?}");
}

#[test]
fn settings_reload_themselves() {
    let home = Home::new();
    let server = home.serve(&[]);
    let mut watch = start(&home, &["configuration", "watch", &server.urls[0]]);
    let mut next = || loop {
        let line = watch.line();
        if let Some((_, speed)) = line.split_once("speed ") {
            return speed.trim().to_owned();
        }
    };
    assert_eq!(next(), "10");
    for speed in ["30", "50", "0"] {
        succeed(start(&home, &["configuration", "set", speed, &server.urls[server.urls.len() - 1]]));
        assert_eq!(next(), speed);
    }
    succeed(watch);
}

#[test]
fn a_calculator_over_each_transport() {
    let home = Home::new();
    let server = home.serve(&[]);
    for scheme in schemes() {
        let url = server.url(scheme);
        let mut serving = start(&home, &["calculator", "serve", &url]);
        while !serving.line().contains("serving") {}
        let answer = succeed(start(&home, &["calculator", "divide", "84", "2", &url]));
        assert!(answer.contains(" 42\n"), "{answer}");
        let listed = home.succeed(["rpc", "list"]);
        assert!(listed.lines().nth(1).is_some_and(|line| line.starts_with("calculator  ")), "{listed}");
        let answer = succeed(start(&home, &["calculator", "divide", "84", "0", &url]));
        assert!(answer.contains(" DividedByZero\n"), "{answer}");
        drop(serving);
    }
}

/// Each picture is shrunk by a process of its own, which is this program again. What the test harness writes before the picture
/// and after it is cut off: a thumbnail has 13 bytes of head and 32 x 32 points.
#[test]
fn thumbnails_by_a_command() {
    let home = Home::new();
    let server = home.serve(&[]);
    let url = server.url(schemes()[0]);
    let program = std::env::current_exe().unwrap();
    let test = "--exact examples::an_example_runs_or_explains_itself --nocapture --test-threads=1";
    let command = format!(
        "{EXAMPLE}='thumbnails\nshrink' '{}' {test} | tail -n +3 | sed '1s/^.*P5$/P5/' | head -c 1037",
        program.display()
    );
    let mut worker = home.start(["task", "work", "thumbnails", "--exec", &command, "--concurrency", "2"]);
    let joined = worker.complaint();
    assert!(joined.starts_with("working on thumbnails"), "{joined}");
    let told = succeed(start(&home, &["thumbnails", "submit", "10", &url]));
    assert!(told.contains("10 thumbnails\n"), "{told}");
}

#[test]
fn matrices_go_to_the_machine_with_a_gpu() {
    let home = Home::new();
    let server = home.serve(&[]);
    for scheme in schemes() {
        let url = server.url(scheme);
        let mut workers = [&["gpu", "work", "raspberry", &url][..], &["gpu", "work", "jetson", "gpu", &url]];
        let mut workers = workers.each_mut().map(|arguments| start(&home, arguments));
        for worker in &mut workers {
            while !worker.line().contains(" is ready") {}
        }
        let told = succeed(start(&home, &["gpu", "submit", "16", &url]));
        assert_eq!(told.matches("16 x 16 by jetson\n").count(), 3, "{told}");
    }
}
