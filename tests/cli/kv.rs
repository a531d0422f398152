//! `sinew kv`: buckets from the shell, exit codes, files in and out, values to begin with.

use rustix::process::Signal;

use super::program::Home;

fn objects(text: &str) -> Vec<serde_json::Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn what_is_put_is_got_listed_changed_and_removed() {
    let home = Home::new();
    let _server = home.serve(&[]);
    assert_eq!(home.succeed(["kv", "put", "config", "lights.hall", "on"]), "1\n");
    let stored = &objects(&home.succeed(["kv", "put", "config", "limits", "{\"speed\": 30}", "--json"]))[0];
    assert_eq!((&stored["revision"], &stored["duplicate"]), (&2.into(), &false.into()));
    assert_eq!(home.succeed(["kv", "get", "config", "lights.hall"]), "on\n");
    assert_eq!(home.succeed(["kv", "get", "config", "lights.hall", "--raw"]), "on");
    let got = &objects(&home.succeed(["kv", "get", "config", "limits", "--json"]))[0];
    assert_eq!((&got["value_json"]["speed"], &got["revision"], &got["created"]), (&30.into(), &2.into(), &2.into()));
    assert_eq!(home.succeed(["kv", "create", "config", "lights.attic", "off"]), "3\n");
    assert_eq!(home.succeed(["kv", "update", "config", "lights.attic", "a\nb", "--revision", "3"]), "4\n");
    assert_eq!(home.succeed(["kv", "get", "config", "lights.attic"]), "a\\nb\n");
    assert_eq!(home.succeed(["kv", "ls", "config"]), "lights.attic\nlights.hall\nlimits\n");
    assert_eq!(home.succeed(["kv", "ls", "config", "lights.h"]), "lights.hall\n");
    let listed = objects(&home.succeed(["kv", "ls", "config", "lights.", "--json"]));
    let listed: Vec<_> = listed.iter().map(|key| (&key["key"], &key["revision"], key.get("value"))).collect();
    assert_eq!(listed, [(&"lights.attic".into(), &4.into(), None), (&"lights.hall".into(), &1.into(), None)]);
    let time = objects(&home.succeed(["kv", "ls", "config", "lights.h", "--json"]))[0]["time"].clone();
    let line = format!("1 {} lights.hall on\n", time.as_str().unwrap());
    assert_eq!(home.succeed(["kv", "ls", "config", "lights.h", "--values"]), line);
    assert_eq!(home.succeed(["kv", "del", "config", "lights.attic", "--revision", "4"]), "5\n");
    assert_eq!(home.succeed(["kv", "del", "config", "limits", "--purge"]), "6\n");
    assert_eq!(home.succeed(["kv", "ls", "config"]), "lights.hall\n");
    let mut put = home.start(["kv", "put", "config", "picture", "-"]);
    put.feed(b"\xff\xd8\n");
    assert_eq!(put.end().stdout, b"7\n");
    assert_eq!(home.run(["kv", "get", "config", "picture", "--raw"]).stdout, b"\xff\xd8\n");
    assert_eq!(objects(&home.succeed(["kv", "get", "config", "picture", "--json"]))[0]["value_base64"], "/9gK");
}

#[test]
fn what_was_is_shown_and_comes_back() {
    let home = Home::new();
    let _server = home.serve(&[]);
    home.succeed(["kv", "bucket", "create", "config", "--history", "3"]);
    for value in ["a", "b", "c", "d"] {
        home.succeed(["kv", "put", "config", "k", value]);
    }
    let history = || {
        let revisions = objects(&home.succeed(["kv", "history", "config", "k", "--json"]));
        let shown = |revision: &serde_json::Value| {
            let text = |name: &str| revision[name].as_str().unwrap_or("-").to_owned();
            format!("{} {} {}", revision["revision"], text("change"), text("value"))
        };
        revisions.iter().map(shown).collect::<Vec<_>>()
    };
    assert_eq!(history(), ["2 put b", "3 put c", "4 put d"]);
    assert_eq!(home.succeed(["kv", "revert", "config", "k", "2"]), "5\n");
    assert_eq!(home.succeed(["kv", "get", "config", "k"]), "b\n");
    home.succeed(["kv", "del", "config", "k"]);
    assert_eq!(history(), ["4 put d", "5 put b", "6 deleted -"]);
    assert!(home.succeed(["kv", "history", "config", "k"]).ends_with(" k (deleted)\n"));
    let removed = home.fail(["kv", "revert", "config", "k", "6"]);
    assert!(removed.contains("`k` was removed by revision 6; `sinew kv history config k`"), "{removed}");
    let gone = home.fail(["kv", "revert", "config", "k", "2"]);
    assert!(gone.contains("revision 2 of `k` is not kept"), "{gone}");
    assert_eq!(home.succeed(["kv", "revert", "config", "k", "4"]), "7\n");
    assert_eq!(home.succeed(["kv", "get", "config", "k"]), "d\n");
}

#[test]
fn a_watch_tells_what_there_is_and_then_what_changes() {
    let home = Home::new();
    let _server = home.serve(&[]);
    home.succeed(["kv", "put", "config", "lights.hall", "on"]);
    home.succeed(["kv", "put", "config", "other", "x"]);
    let mut watch = home.start(["kv", "watch", "config", "lights.*", "--json", "--count", "4"]);
    assert_eq!(watch.complaint(), "watching config\n");
    let first: serde_json::Value = serde_json::from_str(&watch.line()).unwrap();
    assert_eq!((&first["key"], &first["value"], &first["revision"]), (&"lights.hall".into(), &"on".into(), &1.into()));
    assert_eq!(watch.line(), "{\"caught_up\":2}\n");
    home.succeed(["kv", "put", "config", "lights.attic", "off", "--ttl", "1s"]);
    home.succeed(["kv", "put", "config", "other", "y"]);
    home.succeed(["kv", "del", "config", "lights.hall"]);
    let ended = watch.end();
    assert!(ended.status.success(), "{}", ended.stderr);
    let changes = objects(&String::from_utf8(ended.stdout).unwrap());
    let shown: Vec<_> = changes.iter().map(|change| (change["key"].as_str(), change["change"].as_str())).collect();
    let (attic, hall) = (Some("lights.attic"), Some("lights.hall"));
    let put = (attic, Some("put"));
    // On a slow machine the second is over before the hall is dark.
    let mut rest = shown[1..].to_vec();
    rest.sort_unstable();
    assert_eq!((shown[0], rest), (put, vec![(attic, Some("expired")), (hall, Some("deleted"))]));
    let since = home.succeed(["kv", "watch", "config", "--from", "1", "--count", "2", "--raw"]);
    assert_eq!(since, "onx");
    let gone = home.run(["kv", "get", "config", "lights.attic"]);
    assert_eq!(gone.status.code(), Some(10), "{}", gone.stderr);
}

#[test]
fn buckets_are_made_altered_listed_and_deleted() {
    let home = Home::new();
    let _server = home.serve(&[]);
    assert_eq!(home.succeed(["kv", "bucket", "list"]), "");
    let made = ["kv", "bucket", "create", "a", "--history", "5", "--ttl", "7d", "--keys", "2"];
    home.succeed(made);
    home.succeed(made);
    let other = home.fail(["kv", "bucket", "create", "a"]);
    assert!(other.contains("exists with another configuration"), "{other}");
    home.succeed(["kv", "bucket", "alter", "a", "--ttl", "none", "--bytes", "10GB", "--value-bytes", "4096"]);
    let info = &objects(&home.succeed(["kv", "bucket", "info", "a", "--json"]))[0];
    let limits = &info["config"]["limits"];
    assert_eq!((&limits["keys_max"], &limits["bytes_max"]), (&2.into(), &10_000_000_000_u64.into()));
    assert_eq!((&info["config"]["history"], &info["config"]["time_to_live"]), (&5.into(), &().into()));
    assert!(home.succeed(["kv", "bucket", "info", "a"]).contains("2 keys, 10.0 GB"));
    home.succeed(["kv", "put", "a", "k", "v"]);
    home.succeed(["kv", "put", "a", "l", "v"]);
    let full = home.fail(["kv", "put", "a", "m", "v"]);
    assert!(full.contains("nothing was written to `a`"), "{full}");
    let large = home.fail(["kv", "put", "a", "k", &"x".repeat(5_000)]);
    assert!(large.contains("5000 bytes for `a`; the limit is 4096"), "{large}");
    let listed = home.succeed(["kv", "bucket", "list"]);
    assert!(listed.lines().nth(1).unwrap().starts_with("a "), "{listed}");
    let kept = home.fail(["kv", "bucket", "delete", "a"]);
    assert!(kept.contains("--yes"), "{kept}");
    assert_eq!(home.succeed(["kv", "bucket", "delete", "a", "--yes"]), "deleted a\n");
    let gone = home.fail(["kv", "get", "a", "k"]);
    assert!(gone.contains("there is no bucket `a`") && gone.contains("sinew kv bucket create a"), "{gone}");
}

#[test]
fn each_failure_has_its_exit_code() {
    let home = Home::new();
    let _server = home.serve(&[]);
    home.succeed(["kv", "put", "a", "k", "v"]);
    for missing in [&["kv", "get", "a", "x"][..], &["kv", "del", "a", "x"], &["kv", "history", "a", "x"]] {
        let ended = home.run(missing);
        assert_eq!(ended.status.code(), Some(10), "{missing:?}: {}", ended.stderr);
        assert!(
            ended.stderr.starts_with("error: there is no key `x` in bucket `a`; `sinew kv ls a`"),
            "{}",
            ended.stderr
        );
    }
    for late in [
        &["kv", "create", "a", "k", "w"][..],
        &["kv", "update", "a", "k", "w", "--revision", "7"],
        &["kv", "update", "a", "x", "w", "--revision", "7"],
        &["kv", "del", "a", "k", "--revision", "7"],
    ] {
        let ended = home.run(late);
        assert_eq!(ended.status.code(), Some(9), "{late:?}: {}", ended.stderr);
        assert!(ended.stderr.starts_with("error: nothing was written to `a`: "), "{}", ended.stderr);
    }
    for wrong in [
        &["kv", "get", "two.tokens", "k"][..],
        &["kv", "get", "a", "two words"],
        &["kv", "put", "a", "$KV.k", "v"],
        &["kv", "put", "a", "k", "v", "--ttl", "0s"],
        &["kv", "put", "a", "k", "v", "--ttl", "-5s"],
        &["kv", "bucket", "create", "b", "--history", "0"],
        &["kv", "bucket", "create", "b", "--history", "65"],
        &["kv", "update", "a", "k", "v"],
        &["kv", "watch", "a", "--changes", "--from", "3"],
        &["kv", "get", "a", "k", "--raw", "--json"],
    ] {
        assert_eq!(home.run(wrong).status.code(), Some(2), "{wrong:?}");
    }
    assert_eq!(home.succeed(["kv", "get", "a", "k"]), "v\n");
}

#[test]
fn what_is_exported_is_imported() {
    let home = Home::new();
    let _server = home.serve(&[]);
    for number in 0..20 {
        home.succeed(["kv", "put", "a", &format!("k.{number:02}"), &format!("{{\"n\": {number}}}")]);
    }
    home.succeed(["kv", "put", "a", "short", "x", "--ttl", "2h"]);
    let file = home.path("a.jsonl");
    let file = file.to_str().unwrap();
    home.succeed(["kv", "export", "a", file]);
    let text = std::fs::read_to_string(file).unwrap();
    assert_eq!(home.succeed(["kv", "export", "a"]), text);
    assert_eq!(
        (text.lines().count(), text.matches("value_json").count(), text.matches("expires").count()),
        (21, 20, 1)
    );
    assert_eq!(home.succeed(["kv", "export", "a", "--prefix", "s"]).lines().count(), 1);
    home.succeed(["kv", "put", "b", "short", "mine"]);
    let told = home.succeed(["kv", "import", "b", file, "--absent"]);
    assert_eq!(told, "20 keys were put, 1 were there already, 0 had expired\n");
    assert_eq!(home.succeed(["kv", "get", "b", "short"]), "mine\n");
    let told = &objects(&home.succeed(["kv", "import", "b", file, "--json"]))[0];
    assert_eq!(told, &serde_json::json!({"put": 21, "kept": 0, "expired": 0}));
    let plain = |bucket: &str| {
        let strip = |mut entry: serde_json::Value| {
            let rest = entry.as_object_mut().unwrap();
            ["revision", "created", "time"].iter().for_each(|name| drop(rest.remove(*name)));
            // Counted from when it was read: milliseconds later.
            if let Some(time) = rest.get_mut("expires") {
                *time = "then".into();
            }
            entry
        };
        objects(&home.succeed(["kv", "export", bucket])).into_iter().map(strip).collect::<Vec<_>>()
    };
    assert_eq!(plain("a"), plain("b"));
}

#[test]
fn many_entries_come_through_standard_input_and_the_last_of_a_key_stays() {
    let home = Home::new();
    let _server = home.serve(&[]);
    let mut lines: String =
        (0..2_000).map(|number| format!("{{\"key\":\"k.{number}\",\"value\":\"{number}\"}}\n")).collect();
    (0..50).for_each(|number| lines += &format!("{{\"key\":\"same\",\"value\":\"{number}\"}}\n"));
    lines += "{\"key\":\"late\",\"value\":\"x\",\"expires\":\"2001-01-01T00:00:00Z\"}\n";
    let mut import = home.start(["kv", "import", "a", "-"]);
    import.feed(lines.as_bytes());
    let ended = import.end();
    assert_eq!(ended.stdout, b"2050 keys were put, 0 were there already, 1 had expired\n", "{}", ended.stderr);
    assert_eq!(home.succeed(["kv", "ls", "a"]).lines().count(), 2_001);
    assert_eq!(home.succeed(["kv", "get", "a", "same"]), "49\n");
}

#[test]
fn a_file_with_a_mistake_changes_nothing_and_the_line_is_named() {
    let home = Home::new();
    let _server = home.serve(&[]);
    home.succeed(["kv", "put", "a", "k", "v"]);
    let file = home.path("a.jsonl");
    std::fs::write(&file, "{\"key\":\"k\",\"value\":\"w\"}\n\n{\"key\":\"l\" 5}\n").unwrap();
    let file = file.to_str().unwrap();
    let error = home.fail(["kv", "import", "a", file]);
    assert_eq!(error, format!("error: {file}: malformed JSON at line 3, column 12: expected `,` or `}}`\n"));
    assert_eq!(home.succeed(["kv", "get", "a", "k"]), "v\n");
    let error = home.fail(["kv", "import", "a", "nowhere.jsonl"]);
    assert!(error.starts_with("error: nowhere.jsonl: "), "{error}");
    let missing = home.fail(["kv", "export", "b"]);
    assert!(missing.contains("there is no bucket `b`"), "{missing}");
}

#[test]
fn the_file_of_the_original_is_imported() {
    let home = Home::new();
    let _server = home.serve(&[]);
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/kvstore/tests/fixtures/pickledb.json");
    let told = home.succeed(["kv", "import", "old", file, "--format", "pickledb"]);
    assert_eq!(told, "15 keys were put, 0 were there already, 0 had expired\n");
    assert_eq!(home.succeed(["kv", "get", "old", "counter-3"]), "999\n");
    assert_eq!(home.succeed(["kv", "get", "old", "name"]), "\"kitchen lamp\"\n");
    assert_eq!(home.succeed(["kv", "get", "old", "a.%2Eb"]), "1\n");
    home.succeed(["kv", "import", "plain", file, "--format", "pickledb", "--plain"]);
    assert_eq!(home.succeed(["kv", "get", "plain", "name"]), "kitchen lamp\n");
}

#[test]
fn a_server_begins_with_values_that_are_absent() {
    let home = Home::new();
    // The home is to be made by the program, closed to others.
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("initial.json");
    std::fs::write(
        &file,
        "{\"config\": {\"mode\": \"auto\", \"limits\": {\"speed\": 30}},\n \"counters\": {\"n\": 0}}",
    )
    .unwrap();
    let initial = ["--kv-initial", file.to_str().unwrap()];
    let server = home.serve(&initial);
    assert_eq!(home.succeed(["kv", "get", "config", "mode"]), "auto\n");
    assert_eq!(home.succeed(["kv", "get", "config", "limits"]), "{\"speed\": 30}\n");
    assert_eq!(home.succeed(["kv", "get", "counters", "n"]), "0\n");
    home.succeed(["kv", "put", "config", "mode", "manual"]);
    server.running.signal(Signal::TERM);
    assert_eq!(server.running.end().status.code(), Some(0));
    let server = home.serve(&initial);
    assert_eq!(home.succeed(["kv", "get", "config", "mode"]), "manual\n");
    drop(server);
    std::fs::write(&file, "{\"config\": {\n \"mode\": }}").unwrap();
    let error = home.fail([&["serve", "--port", "0"][..], &initial].concat());
    assert!(error.contains("initial.json: malformed JSON at line 2, column 10: expected value"), "{error}");
}

#[test]
fn a_copy_is_made_checked_and_restored() {
    let home = Home::new();
    let server = home.serve(&[]);
    home.succeed(["kv", "put", "a", "k", "x"]);
    let copy = home.path("copy");
    let copy = copy.to_str().unwrap();
    assert!(home.succeed(["kv", "bucket", "backup", "a", copy]).contains("up to revision 1 is in"));
    let again = home.fail(["kv", "bucket", "backup", "a", copy]);
    assert!(again.contains(copy), "{again}");
    home.succeed(["kv", "put", "a", "k", "y"]);
    home.succeed(["kv", "bucket", "restore", copy, "b"]);
    assert_eq!(home.succeed(["kv", "get", "b", "k"]), "x\n");
    assert!(home.fail(["kv", "bucket", "restore", copy, "b"]).contains("`b`"));
    let verified = home.succeed(["kv", "bucket", "verify"]);
    assert!(verified.contains("a: whole; 1 keys") && verified.contains("b: whole; 1 keys"), "{verified}");
    home.succeed(["kv", "bucket", "compact", "a"]);
    server.running.signal(Signal::TERM);
    assert_eq!(server.running.end().status.code(), Some(0));
    let _server = home.serve(&[]);
    assert_eq!(home.succeed(["kv", "get", "a", "k"]), "y\n");
    assert_eq!(home.succeed(["kv", "get", "b", "k"]), "x\n");
}
