//! `sinew task`: submitting, working by a command, looking into queues, exit codes.

use std::path::Path;

use rustix::process::Signal;

use super::log::find;
use super::program::{Home, Running, Serving, schemes};

fn objects(text: &str) -> Vec<serde_json::Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A server, and a worker that has joined.
fn with_worker(home: &Home, work: &[&str]) -> (Serving, Running) {
    let server = home.serve(&[]);
    (server, worker(home, work))
}

fn worker(home: &Home, work: &[&str]) -> Running {
    let mut worker = home.start([&["task", "work"], work].concat());
    let joined = worker.complaint();
    assert!(joined.starts_with("working on "), "{joined}");
    worker
}

/// What a submission that is not done says, with its exit code.
fn not_done(home: &Home, submit: &[&str], code: i32) -> String {
    let ended = home.run([&["task", "submit"], submit].concat());
    assert_eq!(ended.status.code(), Some(code), "{}", ended.stderr);
    ended.stderr
}

/// A file whose reader waits for its writer, and the other way round.
fn fifo(path: &Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status().unwrap();
    assert!(made.success());
}

/// Whether a process is there, and no zombie.
fn is_alive(id: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let state = status.rsplit_once(") ").map(|(_, rest)| rest.as_bytes()[0]);
    state.is_some_and(|state| state != b'Z' && state != b'X')
}

/// Waits until these have died; what waits for them has a deadline of its own.
fn until_dead(ids: &[&str]) {
    let begun = std::time::Instant::now();
    while ids.iter().any(|id| is_alive(id)) {
        assert!(begun.elapsed() < std::time::Duration::from_secs(30), "{ids:?} live on");
        std::thread::yield_now();
    }
}

#[test]
fn a_task_comes_back_with_its_result() {
    let home = Home::new();
    let (server, mut worker) = with_worker(&home, &["shout", "--exec", "tr a-z A-Z", "--json"]);
    for scheme in schemes() {
        assert_eq!(home.succeed(["task", "submit", "shout", "hello", "--url", &server.url(scheme)]), "HELLO\n");
        let done = &objects(&worker.line())[0];
        assert_eq!((&done["ended"], &done["bytes"], &done["attempt"]), (&"done".into(), &5.into(), &1.into()));
    }
    assert_eq!(home.succeed(["task", "submit", "shout", "a\nb", "--raw"]), "A\nB");
    let object = &objects(&home.succeed(["task", "submit", "shout", "x", "--json"]))[0];
    assert_eq!((&object["ending"], &object["result"]), (&"done".into(), &"X".into()));
    let mut submit = home.start(["task", "submit", "shout", "-", "--raw"]);
    submit.feed(b"\xffz");
    assert_eq!(submit.end().stdout, b"\xffZ");
    worker.signal(Signal::TERM);
    let ended = worker.end();
    assert!(ended.status.success(), "{}", ended.stderr);
}

#[test]
fn each_way_to_end_has_its_exit_code() {
    let home = Home::new();
    let script = r#"read word; case "$word" in fail) echo one >&2; echo two >&2; exit 7;; kill) kill -9 $$;;
        loud) yes;; none) no-such-command;; *) echo "$word";; esac"#;
    let (_server, _worker) = with_worker(&home, &["odd", "--exec", script, "--output-limit", "10"]);
    let _sleeper = worker(&home, &["sleep", "--exec", "sleep 600", "--time-limit", "1s"]);
    assert_eq!(home.succeed(["task", "submit", "odd", "123456789\n"]), "123456789\n");
    let failed = not_done(&home, &["odd", "fail\n"], 4);
    assert!(failed.contains("with `exit-7`: one\ntwo\n"), "{failed}");
    let killed = not_done(&home, &["odd", "kill\n"], 4);
    assert!(killed.contains("with `signal-9`: the command ended with signal: 9"), "{killed}");
    let loud = not_done(&home, &["odd", "loud\n"], 4);
    assert!(loud.contains("with `output-limit`: the command wrote more than 10 bytes"), "{loud}");
    let slow = not_done(&home, &["sleep"], 4);
    assert!(slow.contains("with `time-limit`: the command took longer than 1 s"), "{slow}");
    let none = not_done(&home, &["odd", "none\n"], 4);
    assert!(none.contains("with `exit-127`") && none.contains("no-such-command"), "{none}");
    let nobody = not_done(&home, &["odd", "x", "--tag", "gpu"], 3);
    assert!(nobody.contains("nobody works on queue `odd`"), "{nobody}");
    let late = not_done(&home, &["odd", "x", "--tag", "gpu", "--queue", "--deadline", "1s"], 5);
    assert!(late.contains("its deadline passed after 0 attempts"), "{late}");
    let json = home.run(["task", "submit", "odd", "fail\n", "--json"]);
    assert_eq!(json.status.code(), Some(4));
    let object = &objects(&String::from_utf8(json.stdout).unwrap())[0];
    assert_eq!((&object["ending"], &object["code"]), (&"failed".into(), &"exit-7".into()));
}

#[test]
fn what_is_cancelled_is_killed_with_all_that_it_has_started() {
    let home = Home::new();
    let path = home.path("processes");
    let (_server, _worker) = {
        let server = home.serve(&[]);
        fifo(&path);
        let script = format!("sleep 600 & echo \"$$ $!\" > '{}'; wait", path.display());
        (server, worker(&home, &["long", "--exec", &script]))
    };
    let id = home.succeed(["task", "submit", "long", "--detach"]);
    // Opens once the command writes into it.
    let processes = std::fs::read_to_string(&path).unwrap();
    let processes: Vec<&str> = processes.split_whitespace().collect();
    assert!(processes.len() == 2 && processes.iter().all(|id| is_alive(id)), "{processes:?}");
    let running = &objects(&home.succeed(["task", "list", "long", "--json"]))[0];
    assert!(running["state"]["running"]["worker"].is_string(), "{running}");
    assert_eq!(home.succeed(["task", "cancel", "long", id.trim()]), format!("cancelled {id}"));
    until_dead(&processes);
    assert_eq!(home.succeed(["task", "cancel", "long", id.trim()]), format!("{} had ended before\n", id.trim()));
    let fetched = home.run(["task", "fetch", "long", id.trim()]);
    assert_eq!(fetched.status.code(), Some(4), "{}", fetched.stderr);
    assert!(fetched.stderr.contains("it was cancelled after 1 attempts"), "{}", fetched.stderr);
}

#[test]
fn a_worker_that_is_told_to_end_finishes_and_then_hands_back() {
    let home = Home::new();
    let (begun, go) = (home.path("begun"), home.path("go"));
    let _server = home.serve(&[]);
    fifo(&begun);
    fifo(&go);
    let script = format!("echo $$ > '{}'; cat '{}'", begun.display(), go.display());
    let first = worker(&home, &["slow", "--exec", &script]);
    let submit = home.start(["task", "submit", "slow", "--queue"]);
    std::fs::read_to_string(&begun).unwrap();
    let mut first = first;
    first.signal(Signal::TERM);
    assert!(first.complaint().starts_with("finishing what runs"));
    std::fs::write(&go, "finished").unwrap();
    assert_eq!(submit.end().stdout, b"finished\n");
    let ended = first.end();
    assert!(ended.status.success(), "{}", ended.stderr);

    let mut second = worker(&home, &["slow", "--exec", &script]);
    let submit = home.start(["task", "submit", "slow", "--queue"]);
    let process = std::fs::read_to_string(&begun).unwrap();
    second.signal(Signal::TERM);
    assert!(second.complaint().starts_with("finishing what runs"));
    second.signal(Signal::TERM);
    let ended = second.end();
    assert!(ended.status.success(), "{}", ended.stderr);
    assert!(String::from_utf8(ended.stdout).unwrap().contains(" handed-back in "));
    until_dead(&[process.trim()]);
    let _third = worker(&home, &["slow", "--exec", "echo by another"]);
    assert_eq!(submit.end().stdout, b"by another\n");
}

#[test]
fn queues_tasks_and_dead_letters_are_looked_into() {
    let home = Home::new();
    let _server = home.serve(&[]);
    let made = home.succeed(["task", "queue", "create", "jobs", "--durability", "memory", "--tasks", "3"]);
    assert!(made.contains("accepted when     in memory"), "{made}");
    let altered = &objects(&home.succeed(["task", "queue", "alter", "jobs", "--tasks", "2", "--json"]))[0];
    assert_eq!(altered["config"]["limits"]["tasks_max"], 2);
    let submit = |more: &[&str]| {
        let options = ["task", "submit", "jobs", "payload", "--detach", "--queue"];
        home.succeed([&options[..], more].concat()).trim().to_owned()
    };
    let first = submit(&["--idempotency-key", "one"]);
    assert_eq!(submit(&["--idempotency-key", "one"]), first);
    let tagged = submit(&["--tag", "gpu"]);
    assert!(home.fail(["task", "submit", "jobs", "x", "--queue"]).contains("queue `jobs` is full"));
    let explained = home.succeed(["task", "explain", "jobs", &tagged]);
    assert!(explained.starts_with("waits\n") && explained.contains("nobody works on this queue"), "{explained}");
    assert_eq!(home.succeed(["task", "show", "jobs", &first, "--payload"]), "payload");
    assert!(home.succeed(["task", "show", "jobs", &tagged]).contains("needs the tags   gpu\n"));
    let listed = objects(&home.succeed(["task", "list", "jobs", "--json"]));
    assert_eq!(listed.iter().map(|task| task["task"].as_str().unwrap()).collect::<Vec<_>>(), [&first, &tagged]);
    let queues = objects(&home.succeed(["task", "queue", "list", "--json"]));
    assert_eq!((&queues[0]["name"], &queues[0]["waiting"]), (&"jobs".into(), &2.into()));

    // The first goes to a worker that cannot do it, and becomes a dead letter; the other waits for its tag.
    let mut poor = worker(&home, &["jobs", "--exec", "exit 3", "--name", "poor"]);
    assert!(poor.line().contains(" failed in "));
    let fetched = home.run(["task", "fetch", "jobs", &first]);
    assert_eq!(fetched.status.code(), Some(4), "{}", fetched.stderr);
    assert!(home.succeed(["task", "explain", "jobs", &tagged]).contains("no worker has the tags gpu"));
    let workers = &objects(&home.succeed(["task", "workers", "jobs", "--json"]))[0];
    assert_eq!((&workers["name"], &workers["handed"]), (&"poor".into(), &1.into()));
    let dead = objects(&home.succeed(["task", "dead", "list", "jobs", "--json"]));
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0]["state"]["dead"]["ending"]["failed"]["code"], "exit-3");
    poor.signal(Signal::TERM);
    assert!(poor.end().status.success());
    let again = home.succeed(["task", "dead", "retry", "jobs", "--all"]);
    let _rich = worker(&home, &["jobs", "--exec", "cat", "--tag", "gpu"]);
    assert_eq!(home.succeed(["task", "fetch", "jobs", again.trim()]), "payload\n");
    assert_eq!(home.succeed(["task", "fetch", "jobs", &tagged, "--raw"]), "payload");
    let none = home.run(["task", "dead", "drop", "jobs", &first]);
    assert!(none.stderr.contains("has no dead letter"), "{}", none.stderr);

    assert!(home.fail(["task", "queue", "delete", "jobs"]).contains("add --yes to delete `jobs` for ever"));
    assert_eq!(home.succeed(["task", "queue", "delete", "jobs", "--yes"]), "deleted jobs\n");
    assert!(home.fail(["task", "queue", "info", "jobs"]).contains("there is no queue `jobs`"));
    assert!(home.fail(["task", "fetch", "other", &first]).contains("there is no queue `other`"));
    let unreadable = home.run(["task", "fetch", "jobs", "7"]);
    assert_eq!(unreadable.status.code(), Some(2), "{}", unreadable.stderr);
}

#[test]
fn a_copy_is_made_checked_and_restored() {
    let home = Home::new();
    let server = home.serve(&[]);
    let submit = |queue: &str, payload: &str| home.succeed(["task", "submit", queue, payload, "--detach", "--queue"]);
    let first = submit("a", "first");
    home.succeed(["task", "queue", "create", "m", "--durability", "memory"]);
    let copy = home.path("copy");
    let copy = copy.to_str().unwrap();
    let made = home.succeed(["task", "backup", "a", copy]);
    assert!(made.starts_with(&format!("1 changes are in {copy}, ")), "{made}");
    let again = home.fail(["task", "backup", "a", copy]);
    assert!(again.contains(copy) && again.contains("is not empty"), "{again}");
    submit("a", "second");
    assert!(home.succeed(["task", "restore", copy, "b"]).contains("waiting           1, "));
    assert!(home.fail(["task", "restore", copy, "b"]).contains("`b`"));
    let restored = &objects(&home.succeed(["task", "restore", copy, "--json"]))[0];
    assert_eq!((&restored["name"], &restored["waiting"]), (&"copy".into(), &1.into()));
    let verified = home.succeed(["task", "verify"]);
    let lines: Vec<_> = verified.lines().map(|line| line.rsplit_once(", ").unwrap().0).collect();
    let expected = ["a: whole; 2 tasks, 2 changes", "b: whole; 1 tasks, 1 changes", "copy: whole; 1 tasks, 1 changes"];
    assert_eq!(lines, expected, "and nothing of what is in memory: {verified}");
    for refused in [home.fail(["task", "verify", "m"]), home.fail(["task", "backup", "m", "/nowhere"])] {
        assert!(refused.contains("queue `m` is in memory alone"), "{refused}");
    }
    assert!(
        home.fail(["task", "restore", home.path("").to_str().unwrap(), "c"]).contains("holds no backup of a queue")
    );
    server.running.signal(Signal::TERM);
    assert_eq!(server.running.end().status.code(), Some(0));

    let _server = home.serve(&[]);
    let _worker = worker(&home, &["b", "--exec", "tr a-z A-Z"]);
    assert_eq!(home.succeed(["task", "fetch", "b", first.trim()]), "FIRST\n");
    // One bit of a payload, wherever the engine keeps it.
    let (path, at) = find(&home.path("data"), b"second");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let found = home.run(["task", "verify", "a", "--json"]);
    assert_eq!(found.status.code(), Some(8), "{}", found.stderr);
    let found = &objects(std::str::from_utf8(&found.stdout).unwrap())[0];
    assert_eq!((&found["queue"], &found["tasks"]), (&"a".into(), &2.into()));
    assert!(found["problems"][0].as_str().unwrap().contains("are damaged"), "{found}");
}
