//! `auth`, and keys that change: who comes in, what they may do, what is said, and what a running server does about it.

use super::keys::first_word;
use super::program::{Home, schemes};

/// A policy with one role.
const POLICY: &str = "# ours\nversion = 1\n\n[roles.sensor]\nallow = [\"bus.publish sensors.>\"]\ndeny = [\"bus.publish sensors.private.>\"]\n";

fn key_of(home: &Home) -> String {
    first_word(&home.succeed(["keys", "show"]))
}

#[test]
fn a_key_is_allowed_by_name_listed_and_revoked() {
    let (home, elsewhere) = (Home::new(), Home::new());
    let key = key_of(&elsewhere);
    assert!(home.succeed(["auth", "allow", &key, "--name", "roof"]).starts_with("allowed SHA256:"));
    assert!(home.succeed(["auth", "allow", &key, "--name", "roof"]).starts_with("allowed already"));
    let table = home.succeed(["auth", "list"]);
    let line = table.lines().find(|line| line.starts_with("roof")).unwrap();
    assert!(line.contains("allowlist") && line.contains("(everything)") && table.contains("no policy.toml"), "{table}");
    let object: serde_json::Value = serde_json::from_str(home.succeed(["auth", "list", "--json"]).trim()).unwrap();
    assert_eq!((&object["name"], &object["roles"]), (&"roof".into(), &serde_json::Value::Null));
    assert_eq!(object["key"], format!("ed25519:{key}"));
    home.succeed(["auth", "revoke", "roof"]);
    assert_eq!(home.succeed(["auth", "list", "--json"]), "");
    let error = home.fail(["auth", "revoke", "roof"]);
    assert!(error.contains("`roof`") && error.contains("sinew auth list"), "{error}");
}

#[test]
fn a_decision_is_explained() {
    let (home, elsewhere) = (Home::new(), Home::new());
    let key = key_of(&elsewhere);
    home.succeed(["auth", "list"]);
    let error = home.fail(["auth", "allow", &key, "--role", "sensor"]);
    assert!(error.contains("policy.toml") && error.contains("sinew auth --help"), "{error}");
    std::fs::write(home.path("policy.toml"), POLICY).unwrap();
    home.succeed(["auth", "allow", &key, "--name", "roof", "--role", "sensor"]);
    assert!(std::fs::read_to_string(home.path("policy.toml")).unwrap().starts_with(POLICY));
    let check = |operation: &str, resource: &str| ["auth", "check", "roof", operation, resource].map(str::to_owned);
    let allowed = home.succeed(check("bus.publish", "sensors.roof"));
    for part in ["allowed:", "`bus.publish sensors.>`", "role `sensor`", "line 5"] {
        assert!(allowed.contains(part), "{part} in {allowed}");
    }
    for (operation, resource, part) in [
        ("bus.publish", "sensors.private.x", "`deny`"),
        ("bus.publish", "sensors.>", "`deny`"),
        ("bus.subscribe", "sensors.*", "no rule of role `sensor`"),
    ] {
        let denied = home.fail(check(operation, resource));
        assert!(denied.contains("denied:") && denied.contains(part), "{part} in {denied}");
    }
    let error = home.run(check("bus.shout", "a"));
    assert!(error.status.code() == Some(2) && error.stderr.contains("bus.publish"), "{}", error.stderr);
    let error = home.fail(["auth", "allow", &key, "--role", "boss"]);
    assert!(error.contains("`boss`") && error.contains("sensor"), "{error}");
}

#[test]
fn what_the_policy_does_not_permit_ends_with_its_own_code() {
    let (home, elsewhere) = (Home::new(), Home::new());
    home.succeed(["auth", "list"]);
    std::fs::write(home.path("policy.toml"), POLICY).unwrap();
    home.succeed(["auth", "allow", &key_of(&elsewhere), "--name", "roof", "--role", "sensor"]);
    let server = home.serve(&[]);
    for scheme in schemes() {
        let url = server.url(scheme);
        elsewhere.succeed(["pub", "sensors.roof", "x", "--url", &url]);
        for (arguments, subject) in [
            (&["pub", "sensors.private.x", "x"][..], "sensors.private.x"),
            (&["pub", "news", "x", "--confirm"], "news"),
            (&["sub", "sensors.*"], "sensors.*"),
            (&["request", "sensors.roof", "x"], "sensors.roof"),
            (&["reply", "sensors.roof", "x"], "sensors.roof"),
        ] {
            let ended = elsewhere.run([arguments, &["--url", &url]].concat());
            assert_eq!(ended.status.code(), Some(6), "{arguments:?} over {scheme}: {}", ended.stderr);
            assert!(ended.stderr.contains(subject), "{arguments:?}: {}", ended.stderr);
        }
    }
}

/// Who may do something in a bucket, a stream or a queue sees that it is there, and nobody else does.
#[test]
fn a_list_shows_where_something_may_be_done_and_nothing_else() {
    let (home, elsewhere) = (Home::new(), Home::new());
    home.succeed(["auth", "list"]);
    let policy = r#"version = 1

[roles.worker]
allow = [
    "kv.read lights.hall.*", "kv.read secrets.>", "kv.manage made", "kv.read whole",
    "log.append appended", "log.read read", "task.submit submitted", "task.inspect looked",
]
deny = ["kv.* secrets"]
"#;
    std::fs::write(home.path("policy.toml"), policy).unwrap();
    home.succeed(["auth", "allow", &key_of(&elsewhere), "--name", "worker", "--role", "worker"]);
    let server = home.serve(&[]);
    for bucket in ["lights", "secrets", "hidden", "made", "whole"] {
        home.succeed(["kv", "put", bucket, "a", "1"]);
    }
    for stream in ["appended", "read", "other"] {
        home.succeed(["log", "create", stream]);
    }
    for queue in ["submitted", "looked", "other"] {
        home.succeed(["task", "queue", "create", queue]);
    }
    let url = ["--url", &server.urls[0]];
    // A name, and whether its figures are shown.
    for (command, seen) in [
        (&["kv", "bucket", "list"][..], &[("lights", false), ("made", false), ("whole", true)][..]),
        (&["log", "list"], &[("appended", false), ("read", true)]),
        (&["task", "queue", "list"], &[("looked", true), ("submitted", false)]),
    ] {
        let lines = elsewhere.succeed([command, &["--json"], &url].concat());
        let shown: Vec<(String, bool)> = lines
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .map(|object| (object["name"].as_str().unwrap().to_owned(), object.as_object().unwrap().len() > 1))
            .collect();
        let seen: Vec<_> = seen.iter().map(|(name, whole)| ((*name).to_owned(), *whole)).collect();
        assert_eq!(shown, seen, "{command:?}");
        let rows = elsewhere.succeed([command, &url].concat());
        let first = |row: &str| row.split_whitespace().next().unwrap().to_owned();
        let names: Vec<String> = rows.lines().skip(1).map(first).collect();
        assert_eq!(names, seen.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(), "{rows}");
    }
}

#[test]
fn a_policy_with_a_mistake_is_shown_with_its_line_and_a_server_does_not_start_by_it() {
    let home = Home::new();
    std::fs::write(home.path(""), "").unwrap_err();
    home.succeed(["auth", "list"]);
    std::fs::write(home.path("policy.toml"), "version = 1\n[roles.a]\nalow = []\n").unwrap();
    for arguments in [&["auth", "list"][..], &["serve", "--port", "0"]] {
        let error = home.fail(arguments);
        assert!(error.contains("policy.toml, line 3") && error.contains("allow, deny"), "{error}");
    }
}

#[test]
fn a_running_server_is_told_by_the_files() {
    for scheme in schemes() {
        let (home, elsewhere) = (Home::new(), Home::new());
        let mut server = home.serve(&[]);
        let url = server.url(scheme);
        let key = key_of(&elsewhere);
        let error = elsewhere.fail(["pub", "a", "x", "--url", &url]);
        assert!(error.contains("not listed"), "{error}");
        assert!(server.running.complaint().contains("not admitted"));
        home.succeed(["auth", "allow", &key, "--name", "roof"]);
        let mut subscriber = elsewhere.start(["sub", "a", "--url", &url]);
        subscriber.complaint();
        home.succeed(["auth", "revoke", "roof"]);
        let ended = subscriber.end();
        assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
        assert!(ended.stderr.contains("revoked") && ended.stderr.contains("sinew auth allow"), "{}", ended.stderr);
        let said: Vec<String> = (0..3).map(|_| server.running.complaint()).collect();
        assert!(said.iter().any(|line| line.contains("revoked") && line.contains("SHA256:")), "{said:?}");
        assert!(said.iter().any(|line| line.contains("in force")), "{said:?}");
    }
}

#[test]
fn a_server_elsewhere_is_trusted_once_and_its_url_needs_no_key() {
    for scheme in schemes() {
        let (home, elsewhere) = (Home::new(), Home::new());
        let server = home.serve(&[]);
        home.succeed(["auth", "allow", &key_of(&elsewhere)]);
        let url = server.url(scheme);
        let (_, address) = url.split_once('@').unwrap();
        let keyless = format!("{scheme}://{address}");
        let error = elsewhere.fail(["pub", "a", "x", "--url", &keyless]);
        assert!(error.contains("not known") && error.contains("sinew auth trust"), "{error}");
        let print = home.succeed(["keys", "show", "--server"]);
        let print = print.lines().nth(1).unwrap().trim_start_matches("# fingerprint ");
        // CURVE tells a client nothing that does not know the server already.
        assert_eq!(error.contains(print), scheme == "quic", "{error}");
        let error = elsewhere.fail(["auth", "trust", &keyless]);
        assert!(error.contains("KEY@host:port"), "{error}");
        assert!(elsewhere.succeed(["auth", "trust", &url]).contains(print));
        elsewhere.succeed(["pub", "a", "x", "--url", &keyless]);
        // Another server takes the address over.
        let other = first_word(&Home::new().succeed(["keys", "show"]));
        std::fs::write(elsewhere.path("known_servers"), format!("{address} {other}\n")).unwrap();
        let error = elsewhere.fail(["pub", "a", "x", "--url", &keyless]);
        assert!(error.contains("SHA256:") && error.contains("sinew auth trust") && error.contains(address), "{error}");
    }
}

#[test]
fn a_client_key_changes_while_the_server_lists_both() {
    let (home, elsewhere) = (Home::new(), Home::new());
    let server = home.serve(&[]);
    let url = server.url(schemes()[0]);
    let publish = ["pub", "a", "x", "--url", &url];
    let old = key_of(&elsewhere);
    home.succeed(["auth", "allow", &old]);
    let error = elsewhere.fail(["keys", "rotate", "--finish"]);
    assert!(error.contains("client.key.next") && error.contains("sinew keys rotate"), "{error}");
    let next = first_word(&elsewhere.succeed(["keys", "rotate"]));
    assert_eq!(key_of(&elsewhere), old);
    home.succeed(["auth", "allow", &next]);
    elsewhere.succeed(publish);
    elsewhere.succeed(["keys", "rotate", "--finish"]);
    assert_eq!(key_of(&elsewhere), next);
    elsewhere.succeed(publish);
    home.succeed(["auth", "revoke", &old]);
    elsewhere.succeed(publish);
}

#[test]
fn a_server_key_changes_while_clients_know_both() {
    let (home, elsewhere) = (Home::new(), Home::new());
    home.succeed(["auth", "allow", &key_of(&elsewhere)]);
    let server = home.serve(&[]);
    let (url, scheme) = (server.url(schemes()[0]), schemes()[0]);
    let (_, address) = url.split_once('@').unwrap();
    let keyless = format!("{scheme}://{address}");
    let port = address.rsplit_once(':').unwrap().1.to_owned();
    let next = first_word(&home.succeed(["keys", "rotate", "--server"]));
    elsewhere.succeed(["auth", "trust", &url]);
    elsewhere.succeed(["auth", "trust", &format!("{scheme}://{next}@{address}")]);
    elsewhere.succeed(["pub", "a", "x", "--url", &keyless]);
    home.succeed(["keys", "rotate", "--server", "--finish"]);
    // It runs on under the old key until it is started again; its own clients know both.
    home.succeed(["pub", "a", "x"]);
    server.running.signal(rustix::process::Signal::TERM);
    assert_eq!(server.running.end().status.code(), Some(0));
    let server = home.serve_at(&port);
    assert!(server.urls[0].contains(&next), "{:?}", server.urls);
    home.succeed(["pub", "a", "x"]);
    elsewhere.succeed(["pub", "a", "x", "--url", &keyless]);
}
