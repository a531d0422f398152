//! `connect`: files, standard streams and the bus, in the foreground and within the server, killed and stopped.

use std::path::Path;

use rustix::process::Signal;
use sinew::connectors::stream_from_file;

use super::program::{Home, Running};

/// Payloads of a file of records.
fn payloads(path: &Path) -> Vec<String> {
    let text = |item: sinew::connectors::Item| String::from_utf8(item.payload.to_vec()).unwrap();
    stream_from_file(path).map(|item| text(item.unwrap())).collect()
}

fn address(path: &Path) -> String {
    format!("file:{}", path.display())
}

/// A folder for files, since the home is the server's.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// Waits until a file has this many records.
fn wait_for(path: &Path, count: usize) {
    let begun = std::time::Instant::now();
    while !path.exists() || payloads(path).len() < count {
        assert!(begun.elapsed() < std::time::Duration::from_secs(30), "{count} records in {}", path.display());
        std::thread::yield_now();
    }
}

#[test]
fn lines_go_through_files_and_come_out_as_they_were() {
    let (home, folder) = (Home::new(), folder());
    let path = folder.path().join("lines.jsonl.gz");
    let mut input = home.start(["connect", "stdin:?format=raw&subject=n", &address(&path), "--json"]);
    input.feed(b"one\n\ntwo \xff\nthree");
    let ended = input.end();
    assert!(ended.status.success(), "{}", ended.stderr);
    let done: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(
        (done["moved"].as_u64(), done["bytes"].as_u64(), done["phase"].as_str()),
        (Some(4), Some(17), Some("ended"))
    );
    let out = home.run(["connect", &address(&path), "stdout:?format=raw"]);
    assert_eq!(out.stdout, b"one\n\ntwo \xff\nthree\n");
    assert!(out.stderr.starts_with("moved 4 items, 17 bytes in "), "{}", out.stderr);
    let records = home.succeed(["connect", &address(&path), "stdout:", "--from", "2"]);
    assert_eq!(
        records,
        "{\"subject\":\"n\",\"payload_base64\":\"dHdvIP8=\"}\n{\"subject\":\"n\",\"payload\":\"three\"}\n"
    );
}

#[test]
fn killed_twenty_times_a_file_has_whole_records_and_is_appended_to() {
    for (kind, seed) in [("killed.jsonl", 3_u64), ("killed.jsonl.gz", 5)] {
        let (home, folder) = (Home::new(), folder());
        let path = folder.path().join(kind);
        let mut random = seed;
        for round in 0..20 {
            let mut input = home.start(["connect", "stdin:?format=raw", &address(&path)]);
            // The pipe holds 64 KiB, so that when all is fed most of it is read, and some of that written.
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let count = 100_000 + (random >> 33) % 60_000;
            let lines: String = (0..count).map(|number| format!("{round} {number}\n")).collect();
            input.feed_and_keep(lines.as_bytes());
            input.signal(Signal::KILL);
            let ended = input.end();
            assert!(!ended.status.success(), "it was killed: {}", ended.stderr);
        }
        let mut input = home.start(["connect", "stdin:?format=raw", &address(&path)]);
        input.feed(b"last 0\n");
        assert!(input.end().status.success());
        let found = payloads(&path);
        assert_eq!(found.last().unwrap(), "last 0");
        let mut before = (String::new(), 0);
        let mut rounds = 0;
        for payload in &found {
            let (round, number) = payload.split_once(' ').unwrap();
            let number: u64 = number.parse().unwrap();
            if round == before.0 {
                assert_eq!(number, before.1 + 1, "{kind}: round {round} has a hole");
            } else {
                assert_eq!(number, 0, "{kind}: round {round} begins late");
                rounds += 1;
            }
            before = (round.to_owned(), number);
        }
        assert!(rounds > 10, "{kind}: something was written in most rounds: {rounds}");
    }
}

/// Starts recording, and waits until it is heard.
fn record(home: &Home, path: &Path) -> Running {
    let recording = home.start(["connect", "bus:n.*", &address(path)]);
    home.until_heard("n.probe");
    recording
}

#[test]
fn what_is_published_is_recorded_and_played_again_in_the_time_it_took() {
    let (home, folder) = (Home::new(), folder());
    let _server = home.serve(&[]);
    let path = folder.path().join("heard.jsonl");
    let recording = record(&home, &path);
    for number in 0..3 {
        home.succeed(["pub", &format!("n.{number}"), &number.to_string(), "--confirm"]);
    }
    wait_for(&path, 4);
    recording.signal(Signal::INT);
    let ended = recording.end();
    assert!(ended.status.success() && ended.stderr.starts_with("moved "), "{}", ended.stderr);
    assert_eq!(payloads(&path)[1..], ["0", "1", "2"]);
    let mut again = home.start(["sub", "n.*"]);
    assert!(again.complaint().starts_with("subscribed to "));
    home.succeed(["connect", &address(&path), "bus:", "--speed", "2"]);
    let lines: Vec<_> = (0..4).map(|_| again.line()).collect();
    assert_eq!(lines[1..], ["n.0 0\n", "n.1 1\n", "n.2 2\n"]);
}

#[test]
fn the_server_runs_those_of_its_file_and_tells_what_they_do() {
    let (home, folder) = (Home::new(), folder());
    let path = folder.path().join("rooms.jsonl");
    std::fs::create_dir_all(home.path("")).unwrap();
    std::fs::set_permissions(home.path(""), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let to = address(&path);
    let config = format!(
        "[connector.rooms]\nfrom = \"bus:n.*\"\nto = \"{to}\"\n\n[connector.absent]\nfrom = \"file:{}/absent\"\nto = \"bus:\"\n",
        folder.path().display()
    );
    std::fs::write(home.path("connectors.toml"), config).unwrap();
    assert!(home.succeed(["connect", "list"]).contains(&format!("bus:n.*?follow=true  ->  {to}")));
    // A policy that lets nobody do anything is not about the server itself.
    std::fs::write(home.path("policy.toml"), "version = 1\n").unwrap();
    let server = home.serve(&[]);
    home.until_heard("n.probe");
    home.succeed(["pub", "n.1", "on", "--confirm"]);
    wait_for(&path, 2);
    assert_eq!(payloads(&path)[1..], ["on"]);
    let states = || -> Vec<serde_json::Value> {
        let lines = home.succeed(["connect", "status", "--json"]);
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let begun = std::time::Instant::now();
    let states = loop {
        let states = states();
        if states.len() == 2 && states[0]["moved"].as_u64() >= Some(2) && states[1]["state"] == "failed" {
            break states;
        }
        assert!(begun.elapsed() < std::time::Duration::from_secs(30), "{states:?}");
    };
    assert_eq!((states[0]["name"].as_str(), states[0]["state"].as_str()), (Some("rooms"), Some("moving")));
    assert!(states[1]["why"].as_str().unwrap().starts_with("cannot open "), "{states:?}");
    assert!(home.succeed(["connect", "status"]).contains("rooms"));
    server.running.signal(Signal::TERM);
    assert!(server.running.end().status.success());
    assert!(home.fail(["connect", "status"]).contains("no server runs"));
    for (text, expected) in [
        ("[connector.a]\nfrom = \"bus:a\"\n", "connectors.toml, line 1: connector `a` has no `to`"),
        ("[connector.a]\nfrom = \"kafka:a\"\nto = \"bus:\"\n", "this program knows bus, file, log, stdin, stdout"),
        ("[connector.a]\nfrom = \"stdin:\"\nto = \"bus:\"\n", "cannot be `from` in a server"),
    ] {
        std::fs::write(home.path("connectors.toml"), text).unwrap();
        let error = home.fail(["serve", "--port", "0"]);
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn what_cannot_be_connected_says_why_and_what_there_is() {
    let home = Home::new();
    let schemes = home.succeed(["connect", "schemes"]);
    let names: Vec<_> = schemes.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ["bus", "file", "log", "stdin", "stdout"]);
    assert!(home.fail(["connect", "stdout:", "file:x"]).contains("`stdout:` cannot be a source"));
    assert!(home.fail(["connect", "file:/nothing/here", "stdout:"]).contains("cannot open /nothing/here"));
    assert!(home.fail(["connect", "bus:a", "stdout:"]).contains("no server runs"));
    let wrong = home.run(["connect", "orders", "stdout:"]);
    assert_eq!(wrong.status.code(), Some(2), "{}", wrong.stderr);
    assert!(wrong.stderr.contains("write it as scheme:target"), "{}", wrong.stderr);
    let alone = home.run(["connect", "stdin:"]);
    assert_eq!(alone.status.code(), Some(2), "{}", alone.stderr);
}
