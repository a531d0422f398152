//! Headers, kept values, receipts, groups and accounts, from the shell.

use super::program::{Home, Running};

fn subscribe(home: &Home, arguments: &[&str]) -> Running {
    let mut running = home.start([&["sub"], arguments].concat());
    let line = running.complaint();
    assert!(line.starts_with("subscribed to "), "{line}");
    running
}

fn object(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn headers_go_along_and_are_shown_when_asked_for() {
    let home = Home::new();
    let _server = home.serve(&[]);
    let mut lines = subscribe(&home, &["a", "--headers", "--count", "1"]);
    let mut objects = subscribe(&home, &["a", "--json", "--count", "1"]);
    home.succeed(["pub", "a", "x", "--header", "unit=°C", "--header", "n=1=2"]);
    assert_eq!(lines.line(), "a [unit=°C] [n=1=2] x\n");
    let headers = serde_json::json!([{"name": "unit", "value": "°C"}, {"name": "n", "value": "1=2"}]);
    assert_eq!(object(&objects.line()), serde_json::json!({"subject": "a", "headers": headers, "payload": "x"}));
}

#[test]
fn a_kept_value_is_heard_listed_and_cleared() {
    let home = Home::new();
    let _server = home.serve(&[]);
    home.succeed(["pub", "state.lamp", "on", "--retain"]);
    assert_eq!(home.succeed(["pub", "state.door", "shut", "--retain", "--confirm"]).lines().count(), 1);
    let mut late = subscribe(&home, &["state.lamp", "--json", "--count", "1"]);
    assert_eq!(object(&late.line()), serde_json::json!({"subject": "state.lamp", "retained": true, "payload": "on"}));
    let mut live = subscribe(&home, &["state.*", "--live", "--count", "1"]);
    home.succeed(["pub", "state.lamp", "off"]);
    assert_eq!(live.line(), "state.lamp off\n");
    let listed = home.succeed(["bus", "retained"]);
    assert!(listed.starts_with("state.door ") && listed.contains("\nstate.lamp "), "{listed}");
    assert_eq!(object(&home.succeed(["bus", "retained", "state.lamp", "--json"]))["subject"], "state.lamp");
    assert_eq!(home.succeed(["bus", "clear", "state.lamp"]), "1 cleared\n");
    assert_eq!(object(&home.succeed(["bus", "clear", ">", "--json"])), serde_json::json!({"cleared": 1}));
    assert_eq!(home.succeed(["bus", "retained"]), "");
}

#[test]
fn a_receipt_counts_a_group_once() {
    let home = Home::new();
    let _server = home.serve(&[]);
    let mut members = [0, 1].map(|_| subscribe(&home, &["work", "--group", "crew", "--count", "1"]));
    let told = home.succeed(["pub", "work", "first", "--confirm"]);
    assert_eq!(told, "delivered to 1, queued for 0, dropped for 0\n");
    let told = object(&home.succeed(["pub", "work", "second", "--confirm", "--json"]));
    assert_eq!(told, serde_json::json!({"delivered": 1, "queued": 0, "dropped": 0, "retained": false}));
    let mut heard = members.each_mut().map(Running::line);
    heard.sort();
    assert_eq!(heard, ["work first\n", "work second\n"]);
}

#[test]
fn accounts_are_shown_by_pattern_and_in_all() {
    let home = Home::new();
    let _server = home.serve(&[]);
    let mut sub = subscribe(&home, &["a.*", "--overflow", "drop-newest"]);
    home.succeed(["pub", "a.b", "heard"]);
    home.succeed(["pub", "b", "unheard"]);
    assert_eq!(sub.line(), "a.b heard\n");
    let sums = object(&home.succeed(["bus", "accounting", "a.>", "--json"]));
    assert_eq!((&sums["published"], &sums["delivered"], &sums["unheard"]), (&1.into(), &1.into(), &0.into()));
    let table = home.succeed(["bus", "accounting"]);
    let row = |name: &str| table.lines().find(|line| line.starts_with(name)).map(|line| line.split_whitespace().nth(1));
    assert_eq!((row("published"), row("unheard")), (Some(Some("2")), Some(Some("1"))), "{table}");
}

#[test]
fn what_cannot_be_said_is_refused() {
    let home = Home::new();
    for arguments in [
        &["pub", "a", "x", "--header", "two words=x"][..],
        &["pub", "a", "x", "--json"],
        &["sub", "a", "--overflow", "explode"],
        &["bus"],
        &["bus", "clear"],
    ] {
        assert_eq!(home.run(arguments).status.code(), Some(2), "{arguments:?}");
    }
}
