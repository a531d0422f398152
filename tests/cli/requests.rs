//! `request` and `reply`: who answers, how a command does, and the exit codes when nobody can.

use super::program::{Ended, Home, Running, schemes};

/// Starts `reply`, and waits until the server has it.
fn reply(home: &Home, arguments: &[&str]) -> Running {
    let mut running = home.start([&["reply"], arguments].concat());
    let line = running.complaint();
    assert!(line.starts_with("responding to "), "{line}");
    running
}

#[track_caller]
fn check(ended: &Ended, code: i32, words: &str) {
    assert_eq!(ended.status.code(), Some(code), "{}", ended.stderr);
    assert!(ended.stderr.contains(words), "{}", ended.stderr);
}

#[test]
fn a_request_is_answered_over_each_transport_and_across() {
    let home = Home::new();
    let server = home.serve(&[]);
    for answered in schemes() {
        let count = schemes().len().to_string();
        let url = server.url(answered);
        let mut responder = reply(&home, &["lamp.*", "on", "--count", &count, "--url", &url]);
        for asked in schemes() {
            assert_eq!(home.succeed(["request", "lamp.hall", "state", "--url", &server.url(asked)]), "on\n");
            assert_eq!(responder.line(), "lamp.hall state\n");
        }
        assert!(responder.end().status.success());
    }
}

#[test]
fn a_command_answers_with_its_output_and_fails_with_its_words() {
    let home = Home::new();
    let _server = home.serve(&[]);
    let command = "read word; [ \"$word\" = no ] && { echo first >&2; echo not today >&2; exit 3; }; \
                   echo \"$SINEW_SUBJECT $word\"";
    let _responder = reply(&home, &["do.*", "--exec", command]);
    assert_eq!(home.succeed(["request", "do.it", "now", "--raw"]), "do.it now\n");
    let mut asking = home.start(["request", "do.it", "-", "--json"]);
    asking.feed(b"twice\n");
    let ended = asking.end();
    let answer: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(answer, serde_json::json!({"subject": "do.it", "payload": "do.it twice\n"}));
    let failed = home.run(["request", "do.it", "no"]);
    check(&failed, 4, "the responder for `do.it` failed: the command ended with exit status: 3: not today");
}

#[test]
fn a_command_that_takes_too_long_is_ended_and_the_next_request_answered() {
    let home = Home::new();
    let _server = home.serve(&[]);
    let command = "read word; [ \"$word\" = wait ] && exec sleep 1000; echo \"$word\"";
    let _responder = reply(&home, &["do", "--exec", command]);
    // Which of the two clocks is first is open; both say so.
    let late = home.run(["request", "do", "wait", "--timeout", "0.3"]);
    assert!(matches!(late.status.code(), Some(4 | 5)) && late.stdout.is_empty(), "{late:?}");
    assert_eq!(home.succeed(["request", "do", "again"]), "again\n");
}

#[test]
fn without_a_responder_it_ends_at_once_with_its_own_code() {
    let home = Home::new();
    let _server = home.serve(&[]);
    let mut sub = home.start(["sub", "lamp.*", "--json"]);
    assert!(sub.complaint().starts_with("subscribed to "));
    check(&home.run(["request", "lamp.hall", "state", "--timeout", "1000"]), 3, "no responders for `lamp.hall`");
}

#[test]
fn what_cannot_be_asked_is_said() {
    let home = Home::new();
    check(&home.run(["request", "$SYS.a"]), 1, "belong to the server");
    for arguments in [
        &["request", "a.*"][..],
        &["request", "a", "--timeout", "0"],
        &["request", "a", "--header", "nothing"],
        &["reply", "a"],
        &["reply", "a", "x", "--exec", "y"],
    ] {
        assert_eq!(home.run(arguments).status.code(), Some(2), "{arguments:?}");
    }
}
