//! `sinew log`: streams from the shell, exit codes, an orderly end, one server for a data directory, a failing disk.

use rustix::process::Signal;

use super::program::Home;

fn objects(text: &str) -> Vec<serde_json::Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn offsets(text: &str) -> Vec<u64> {
    objects(text).iter().map(|object| object["offset"].as_u64().unwrap()).collect()
}

#[test]
fn what_is_appended_is_read_filtered_and_followed() {
    let home = Home::new();
    let _server = home.serve(&[]);
    home.succeed(["log", "create", "orders"]);
    let mut tail = home.start(["log", "tail", "orders", "--count", "1", "--raw"]);
    assert_eq!(tail.complaint(), "following orders\n");
    assert_eq!(home.succeed(["log", "append", "orders", "tea", "--subject", "orders.eu", "--key", "t7"]), "0\n");
    assert_eq!(tail.end().stdout, b"tea");
    let told = home.succeed(["log", "append", "orders", "x", "--header", "by=me", "--subject", "orders.us", "--json"]);
    let told = &objects(&told)[0];
    assert_eq!((&told["offset"], &told["level"], &told["duplicate"]), (&1.into(), &"fsynced".into(), &false.into()));
    let read = objects(&home.succeed(["log", "read", "orders", "--json"]));
    assert_eq!(
        (&read[0]["subject"], &read[0]["key"], &read[0]["payload"]),
        (&"orders.eu".into(), &"t7".into(), &"tea".into())
    );
    assert_eq!(read[1]["headers"], serde_json::json!([{"name": "by", "value": "me"}]));
    assert_eq!(read.len(), 2);
    let time = read[1]["time"].as_str().unwrap();
    assert_eq!(home.succeed(["log", "read", "orders", "--from", "1"]), format!("1 {time} orders.us x\n"));
    for (arguments, expected) in [
        (["--filter", "orders.eu"], "tea"),
        (["--key", "t7"], "tea"),
        (["--count", "1"], "tea"),
        (["--from", "1h"], "teax"),
        (["--from", "end"], ""),
        (["--filter", "other.>"], ""),
    ] {
        let read = home.succeed([&["log", "read", "orders", "--raw"][..], &arguments].concat());
        assert_eq!(read, expected, "{arguments:?}");
    }
}

#[test]
fn lines_are_events_and_a_producer_stores_each_once() {
    let home = Home::new();
    let _server = home.serve(&[]);
    home.succeed(["log", "create", "app"]);
    let lines: Vec<String> = (0..3_000).map(|line| format!("line {line}")).collect();
    let append = |count: usize| {
        let mut append = home.start(["log", "append", "app", "--lines", "--producer", "host-1", "--resume", "--json"]);
        append.feed((lines[..count].join("\n") + "\n").as_bytes());
        let ended = append.end();
        assert!(ended.status.success(), "{}", ended.stderr);
        String::from_utf8(ended.stdout).unwrap()
    };
    assert_eq!(offsets(&append(2_000)), (0..2_000).collect::<Vec<u64>>());
    assert_eq!(offsets(&append(3_000)), (2_000..3_000).collect::<Vec<u64>>());
    assert_eq!(append(3_000), "");
    let read = objects(&home.succeed(["log", "read", "app", "--json"]));
    let read: Vec<&str> = read.iter().map(|event| event["payload"].as_str().unwrap()).collect();
    assert_eq!(read, lines);
}

#[test]
fn streams_are_made_altered_listed_and_deleted() {
    let home = Home::new();
    let server = home.serve(&[]);
    assert_eq!(home.succeed(["log", "list"]), "");
    let made = ["log", "create", "a", "--retention-age", "7d", "--retention-bytes", "10GB", "--durability", "written"];
    home.succeed(made);
    home.succeed(made);
    let other = home.fail(["log", "create", "a"]);
    assert!(other.contains("exists with another configuration"), "{other}");
    home.succeed(["log", "alter", "a", "--retention-age", "none", "--retention-events", "5", "--compact"]);
    let info = &objects(&home.succeed(["log", "info", "a", "--json"]))[0];
    let retention = serde_json::json!({"bytes_max": 10_000_000_000_u64, "events_max": 5});
    assert_eq!((&info["config"]["retention"], &info["level"]), (&retention, &"written".into()));
    assert!(home.succeed(["log", "info", "a"]).contains("at most 10.0 GB, 5 events"));
    assert!(home.succeed(["log", "list"]).lines().nth(1).unwrap().starts_with("a "));
    let kept = home.fail(["log", "delete", "a"]);
    assert!(kept.contains("--yes"), "{kept}");
    assert_eq!(home.succeed(["log", "delete", "a", "--yes"]), "deleted a\n");
    let gone = home.fail(["log", "read", "a"]);
    assert!(gone.contains("there is no stream `a`") && gone.contains("sinew log create a"), "{gone}");
    drop(server);
}

#[test]
fn groups_are_listed_and_begun_anew() {
    let home = Home::new();
    let server = home.serve(&[]);
    home.succeed(["log", "create", "a", "--retention-age", "90s"]);
    let info = &objects(&home.succeed(["log", "info", "a", "--json"]))[0];
    assert_eq!(info["config"]["retention"]["age_max"], 90);
    (0..5).for_each(|number| drop(home.succeed(["log", "append", "a", &number.to_string()])));
    let keys = sinew::Home::at(home.path("")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = sinew::Client::builder(&server.urls[0]).home(keys).connect().await.unwrap();
        let (a, crew) = ("a".parse().unwrap(), "crew".parse().unwrap());
        let mut member = client.log().join(&a, &crew, sinew::GroupOptions::default()).await.unwrap();
        let first = member.next().await.unwrap();
        member.ack(&first);
        member.leave().await.unwrap();
        client.log().commit_cursor(&a, &"reader".parse().unwrap(), 2).await.unwrap();
    });
    let shown = home.succeed(["log", "groups", "a"]);
    let rows: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[1], ["crew", "1", "4", "0", "0", "0", "0", "running"], "{shown}");
    assert_eq!(rows[2][..3], ["reader", "2", "3"], "{shown}");
    let told = objects(&home.succeed(["log", "groups", "a", "--json"]));
    assert_eq!((&told[0]["group"], &told[0]["settings"]["acknowledge_within"]), (&"crew".into(), &30.into()));
    assert_eq!(told[1], serde_json::json!({"cursor": "reader", "offset": 2, "lag": 3}));
    let alter = ["log", "groups", "alter", "a", "crew"];
    let altered = home.succeed([&alter[..], &["--acknowledge-within", "2m", "--deliveries", "5"]].concat());
    assert_eq!(altered, "crew hands out again after 120 s, 5 times at most\n");
    let told = &objects(&home.succeed([&alter[..], &["--deliveries", "none", "--json"]].concat()))[0]["settings"];
    assert_eq!((&told["acknowledge_within"], &told["deliveries_max"]), (&120.into(), &serde_json::Value::Null));
    assert_eq!(home.run(alter).status.code(), Some(2), "nothing to be altered");
    assert_eq!(
        home.succeed(["log", "reset", "a", "crew", "--to", "end"]),
        "crew goes on with offset 5, 0 behind the end\n"
    );
    let told = &objects(&home.succeed(["log", "reset", "a", "crew", "--to", "3", "--json"]))[0];
    assert_eq!((&told["offset"], &told["lag"]), (&3.into(), &2.into()));
    let beyond = home.fail(["log", "reset", "a", "crew", "--to", "9"]);
    assert!(beyond.contains("offset 9 of stream `a` is out of range"), "{beyond}");
}

#[test]
fn what_the_policy_does_not_permit_ends_with_its_own_code() {
    let (home, elsewhere) = (Home::new(), Home::new());
    home.succeed(["auth", "list"]);
    let policy = "version = 1\n\n[roles.reader]\nallow = [\"log.read a\"]\n";
    std::fs::write(home.path("policy.toml"), policy).unwrap();
    let key = super::keys::first_word(&elsewhere.succeed(["keys", "show"]));
    home.succeed(["auth", "allow", &key, "--name", "reader", "--role", "reader"]);
    let server = home.serve(&[]);
    for stream in ["a", "b"] {
        home.succeed(["log", "create", stream]);
        home.succeed(["log", "append", stream, "x"]);
    }
    let url = ["--url", &server.urls[0]];
    assert_eq!(elsewhere.succeed([&["log", "read", "a", "--raw"][..], &url].concat()), "x");
    for arguments in [
        &["log", "read", "b"][..],
        &["log", "append", "a", "y"],
        &["log", "create", "c"],
        &["log", "reset", "a", "crew", "--to", "start"],
        &["log", "delete", "a", "--yes"],
        &["log", "verify", "a"],
        &["log", "backup", "a", "/nowhere"],
    ] {
        let ended = elsewhere.run([arguments, &url].concat());
        assert_eq!(ended.status.code(), Some(6), "{arguments:?}: {}", ended.stderr);
    }
}

#[test]
fn each_failure_has_its_exit_code() {
    let home = Home::new();
    let _server = home.serve(&[]);
    home.succeed(["log", "create", "a"]);
    assert_eq!(home.succeed(["log", "append", "a", "x", "--expected-offset", "0"]), "0\n");
    let late = home.run(["log", "append", "a", "y", "--expected-offset", "0"]);
    assert_eq!(late.status.code(), Some(9), "{}", late.stderr);
    assert!(late.stderr.contains("the next offset is 1"), "{}", late.stderr);
    let beyond = home.fail(["log", "read", "a", "--from", "5"]);
    assert!(beyond.contains("offset 5 of stream `a` is out of range"), "{beyond}");
    let group = home.fail(["log", "reset", "a", "nobody", "--to", "start"]);
    assert!(group.contains("no group `nobody`"), "{group}");
    assert_eq!(home.succeed(["log", "groups", "a"]), "");
    for wrong in [
        &["log", "create", "two.tokens"][..],
        &["log", "create", "a", "--retention-age", "7"],
        &["log", "read", "a", "--from", "middle"],
        &["log", "append", "a", "x", "--lines"],
        &["log", "append", "a", "x", "--resume"],
        &["log", "verify", "--data", "x", "--insecure"],
    ] {
        assert_eq!(home.run(wrong).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn a_copy_is_made_checked_and_restored_with_and_without_a_server() {
    let home = Home::new();
    let server = home.serve(&[]);
    home.succeed(["log", "create", "a"]);
    home.succeed(["log", "append", "a", "x"]);
    let (copy, data) = (home.path("copy"), home.path("data"));
    let (copy, data) = (copy.to_str().unwrap(), data.to_str().unwrap());
    home.succeed(["log", "backup", "a", copy]);
    let again = home.fail(["log", "backup", "a", copy]);
    assert!(again.contains(copy), "{again}");
    home.succeed(["log", "append", "a", "y"]);
    home.succeed(["log", "restore", copy, "b"]);
    assert_eq!(home.succeed(["log", "read", "b", "--raw"]), "x");
    assert!(home.fail(["log", "restore", copy, "b"]).contains("`b`"));
    assert!(home.succeed(["log", "verify"]).contains("a: whole; 2 events from 0 up to 2"));
    home.succeed(["log", "compact", "a"]);
    let busy = home.fail(["log", "verify", "--data", data]);
    assert!(busy.contains(data), "{busy}");
    server.running.signal(Signal::TERM);
    assert_eq!(server.running.end().status.code(), Some(0));
    let checked = objects(&home.succeed(["log", "verify", "--data", data, "--json"]));
    let events: Vec<_> = checked.iter().map(|found| (&found["stream"], &found["events"])).collect();
    assert_eq!(events, [(&"a".into(), &2.into()), (&"b".into(), &1.into())]);
    home.succeed(["log", "restore", copy, "c", "--data", data]);
    let _server = home.serve(&[]);
    assert_eq!(home.succeed(["log", "read", "c", "--raw"]), "x");
}

#[test]
fn files_of_the_original_are_imported_and_damage_has_an_exit_code() {
    let home = Home::new();
    // The home is to be made by the program, closed to others.
    home.succeed(["keys", "show"]);
    let old = home.path("old");
    std::fs::create_dir_all(&old).unwrap();
    let mut file = Vec::new();
    for (offset, payload) in [(0_u64, "first"), (1, "second")] {
        file.extend(offset.to_le_bytes());
        file.extend((1_700_000_000_000_000_000 + offset).to_le_bytes());
        file.extend((payload.len() as u32).to_le_bytes());
        file.extend(payload.as_bytes());
    }
    std::fs::write(old.join("0.log"), &file).unwrap();
    let (old, data) = (old.to_str().unwrap(), home.path("data"));
    home.succeed(["log", "import", "old", old, "--data", data.to_str().unwrap()]);
    let server = home.serve(&[]);
    let read = objects(&home.succeed(["log", "read", "old", "--json"]));
    let read: Vec<_> = read.iter().map(|event| (&event["offset"], &event["payload"])).collect();
    assert_eq!(read, [(&0.into(), &"first".into()), (&1.into(), &"second".into())]);
    std::fs::write(home.path("old/0.log"), &file[..file.len() - 1]).unwrap();
    let torn = home.fail(["log", "import", "torn", old]);
    assert!(torn.contains("malformed at byte"), "{torn}");
    server.running.signal(Signal::TERM);
    assert_eq!(server.running.end().status.code(), Some(0));
    // One bit of a payload, wherever the engine keeps it.
    let (path, at) = find(&data, b"second");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let found = home.run(["log", "verify", "--data", data.to_str().unwrap()]);
    assert_eq!(found.status.code(), Some(8), "{} {}", String::from_utf8_lossy(&found.stdout), found.stderr);
}

/// The file below a directory that holds these bytes, and where.
pub(super) fn find(directory: &std::path::Path, bytes: &[u8]) -> (std::path::PathBuf, usize) {
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let content = std::fs::read(&path).unwrap();
            if let Some(at) = content.windows(bytes.len()).position(|window| window == bytes) {
                return (path, at);
            }
        }
    }
    panic!("no file below {} has it", directory.display());
}

#[test]
fn a_signal_ends_it_with_everything_on_disk() {
    let home = Home::new();
    let server = home.serve(&[]);
    home.succeed(["log", "create", "a"]);
    let mut append = home.start(["log", "append", "a", "--lines"]);
    append.feed((0..20_000).map(|line| format!("{line}\n")).collect::<String>().as_bytes());
    assert_eq!(append.line(), "0\n");
    server.running.signal(Signal::TERM);
    let ended = server.running.end();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    append.signal(Signal::KILL);
    let acknowledged = 1 + append.end().stdout.iter().filter(|byte| **byte == b'\n').count();
    let _server = home.serve(&[]);
    let read = home.succeed(["log", "read", "a", "--json"]);
    let stored = objects(&read);
    assert!(stored.len() >= acknowledged, "{} of {acknowledged}", stored.len());
    let in_order = |(line, event): (usize, &serde_json::Value)| event["payload"].as_str() == Some(&line.to_string());
    assert!(stored.iter().enumerate().all(in_order));
}

#[test]
fn a_second_server_of_one_data_directory_is_refused() {
    let home = Home::new();
    let _server = home.serve(&[]);
    let data = home.path("data");
    let error = Home::new().fail(["serve", "--port", "0", "--data", data.to_str().unwrap()]);
    assert!(error.contains(data.to_str().unwrap()) && error.contains("in use"), "{error}");
}

/// A write that fails for another reason than a full disk: what the disk has is not known any more.
#[test]
fn a_storage_that_fails_ends_the_server_with_an_exit_code_of_its_own() {
    let home = Home::new();
    // 8 MiB where a block has 512 bytes, 16 MiB where it has 1 KiB.
    let server = home.serve_in_small_files(16 << 10);
    home.succeed(["log", "create", "a"]);
    assert_eq!(home.succeed(["log", "append", "a", "kept"]), "0\n");
    let mut append = home.start(["log", "append", "a", "--lines"]);
    let line = [&[b'x'; 1 << 16][..], b"\n"].concat();
    append.offer(&line.repeat(512));
    let ended = server.running.end();
    assert_eq!(ended.status.code(), Some(7), "{}", ended.stderr);
    assert!(ended.stderr.contains("error: the storage failed"), "{}", ended.stderr);
    append.signal(Signal::KILL);
    let acknowledged = append.end().stdout.iter().filter(|byte| **byte == b'\n').count();
    let _server = home.serve(&[]);
    let stored = home.succeed(["log", "read", "a", "--json"]).lines().count();
    assert!(stored > acknowledged, "the first one and {acknowledged} were acknowledged, {stored} are there");
    assert_eq!(home.succeed(["log", "read", "a", "--raw", "--count", "1"]), "kept");
}
