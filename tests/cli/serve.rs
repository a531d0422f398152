//! `serve`: one port for all transports, what it prints, one at a time, and an orderly end.

use rustix::process::Signal;

use super::program::{Home, schemes};

#[test]
fn every_transport_on_one_port_and_what_to_type_next() {
    let home = Home::new();
    let server = home.serve(&[]);
    let ports: Vec<&str> = server.urls.iter().map(|url| url.rsplit_once(':').unwrap().1).collect();
    assert_eq!(ports.len(), schemes().len());
    assert!(ports.iter().all(|port| *port == ports[0]), "{ports:?}");
    for text in [
        "sinew sub 'news.>'",
        "sinew pub news.today",
        "sinew kv watch config",
        "SHA256:",
        "--host 0.0.0.0",
        &server.urls[0],
    ] {
        assert!(server.greeting.contains(text), "{text} in {}", server.greeting);
    }
}

#[test]
fn signals_end_it_in_order() {
    for signal in [Signal::TERM, Signal::INT] {
        let home = Home::new();
        let server = home.serve(&[]);
        let _subscriber = home.start(["sub", "a"]).complaint();
        server.running.signal(signal);
        let ended = server.running.end();
        assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
        assert!(!home.path("run/endpoints").exists());
    }
}

/// A subscriber that reads nothing holds its connection's outbox full and a goodbye back: the server leaves in time all
/// the same, and in order.
#[test]
fn a_stalled_subscriber_does_not_hold_up_the_end() {
    let home = Home::new();
    let server = home.serve(&[]);
    let stalled: Vec<_> = schemes()
        .into_iter()
        .map(|scheme| {
            let mut stalled = home.start(["sub", "a", "--raw", "--url", &server.url(scheme)]);
            assert!(stalled.complaint().starts_with("subscribed"));
            stalled.signal(Signal::STOP);
            stalled
        })
        .collect();
    let mut live = home.start(["sub", "b", "--count", "2"]);
    assert!(live.complaint().starts_with("subscribed"));
    for _ in 0..4 {
        let mut publish = home.start(["pub", "a", "-"]);
        publish.feed(&vec![7; 7 << 20]);
        assert!(publish.end().status.success());
    }
    home.succeed(["pub", "b", "before the end"]);
    server.running.signal(Signal::TERM);
    let ended = server.running.end();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert_eq!(live.line(), "b before the end\n");
    stalled.iter().for_each(|stalled| stalled.signal(Signal::KILL));
}

#[test]
fn a_busy_port_is_an_error_that_names_the_flag() {
    let home = Home::new();
    let server = home.serve(&[]);
    let port = server.urls[0].rsplit_once(':').unwrap().1;
    let error = Home::new().fail(["serve", "--port", port]);
    assert!(error.contains("--port") && error.contains(port), "{error}");
}

#[test]
fn a_second_server_of_one_home_names_the_first() {
    let home = Home::new();
    let server = home.serve(&[]);
    let error = home.fail(["serve", "--port", "0"]);
    assert!(error.contains("runs for") && error.contains(&server.urls[0]) && error.contains("SINEW_HOME"), "{error}");
}

#[test]
fn what_a_killed_server_left_behind_stops_nobody() {
    let home = Home::new();
    let server = home.serve(&[]);
    server.running.signal(Signal::KILL);
    server.running.end();
    assert!(home.path("run/endpoints").exists());
    let error = home.fail(["pub", "a", "x"]);
    assert!(error.contains("sinew serve"), "{error}");
    let _server = home.serve(&[]);
    home.succeed(["pub", "a", "x"]);
}

#[test]
fn other_machines_are_let_in_by_a_list_or_by_nobodys_leave() {
    let home = Home::new();
    let error = home.fail(["serve", "--port", "0", "--host", "0.0.0.0"]);
    assert!(error.contains("allowlist") && error.contains("--insecure"), "{error}");
    let key = Home::new().succeed(["keys", "show"]);
    std::fs::write(home.path("allowlist"), key).unwrap();
    let server = home.serve(&["--host", "0.0.0.0"]);
    assert!(server.urls.iter().all(|url| url.contains("@127.0.0.1:")), "{:?}", server.urls);
    home.succeed(["pub", "a", "x"]);
}
