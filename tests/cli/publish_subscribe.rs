//! `pub` and `sub`: what goes in comes out, in each form.

use rustix::process::Signal;

use super::program::{Home, Running, schemes};

/// Starts `sub`, and waits until the server has the subscription.
fn subscribe(home: &Home, arguments: &[&str]) -> Running {
    let mut running = home.start([&["sub"], arguments].concat());
    let line = running.complaint();
    assert!(line.starts_with("subscribed to "), "{line}");
    running
}

#[test]
fn what_is_published_is_heard_over_each_transport_and_across() {
    let home = Home::new();
    let server = home.serve(&[]);
    for heard in schemes() {
        for said in schemes() {
            let mut sub = subscribe(&home, &["news.>", "--count", "2", "--url", &server.url(heard)]);
            home.succeed(["pub", "news.today", "it rains", "--url", &server.url(said)]);
            home.succeed(["pub", "hall", "unheard", "--url", &server.url(said)]);
            home.succeed(["pub", "news.x.y", "--url", &server.url(said)]);
            assert_eq!(sub.line(), "news.today it rains\n");
            assert_eq!(sub.line(), "news.x.y \n");
            let ended = sub.end();
            assert!(ended.status.success() && ended.stdout.is_empty(), "{ended:?}");
        }
    }
}

#[test]
fn without_a_url_the_local_server_is_found_and_without_its_key_too() {
    let home = Home::new();
    let server = home.serve(&[]);
    let mut sub = subscribe(&home, &["a"]);
    home.succeed(["pub", "a", "found"]);
    assert_eq!(sub.line(), "a found\n");
    for scheme in schemes() {
        let url = server.url(scheme);
        let (_, address) = url.split_once('@').expect("the key is in the URL");
        home.succeed(["pub", "a", scheme, "--url", &format!("{scheme}://{address}")]);
        assert_eq!(sub.line(), format!("a {scheme}\n"));
    }
    sub.signal(Signal::INT);
    let ended = sub.end();
    assert!(ended.status.success() && ended.stdout.is_empty(), "{ended:?}");
}

#[test]
fn a_payload_comes_from_standard_input_and_goes_out_as_it_was() {
    let home = Home::new();
    let _server = home.serve(&[]);
    let sub = subscribe(&home, &["blob", "--raw", "--count", "1"]);
    let payload: Vec<u8> = (0..1_000_000_u32).map(|index| (index * 7 / 3) as u8).collect();
    let mut publish = home.start(["pub", "blob", "-"]);
    publish.feed(&payload);
    assert!(publish.end().status.success());
    let ended = sub.end();
    assert!(ended.status.success());
    assert!(ended.stdout == payload, "{} bytes of {}", ended.stdout.len(), payload.len());
}

#[test]
fn json_has_texts_as_texts_and_bytes_as_base64() {
    let home = Home::new();
    let _server = home.serve(&[]);
    let mut sub = subscribe(&home, &["*", "--json", "--count", "2"]);
    home.succeed(["pub", "text", "line\nline"]);
    let mut publish = home.start(["pub", "bytes", "-"]);
    publish.feed(b"\xff\xd8");
    publish.end();
    let mut object = || serde_json::from_str::<serde_json::Value>(&sub.line()).unwrap();
    assert_eq!(object(), serde_json::json!({"subject": "text", "payload": "line\nline"}));
    assert_eq!(object(), serde_json::json!({"subject": "bytes", "payload_base64": "/9g="}));
}

#[test]
fn a_subscriber_outlives_a_restart_of_the_server_and_tells_the_gap() {
    let home = Home::new();
    let server = home.serve(&[]);
    let url = server.url(schemes()[0]);
    let mut sub = subscribe(&home, &["a", "--json", "--url", &url]);
    server.running.signal(Signal::KILL);
    server.running.end();
    let (_, address) = url.split_once('@').unwrap();
    let _server = home.start(["serve", "--listen", &format!("{}://{address}", schemes()[0])]);
    assert_eq!(sub.line(), "{\"gap\":\"unknown\"}\n");
    home.succeed(["pub", "a", "again", "--url", &url]);
    assert_eq!(sub.line(), "{\"subject\":\"a\",\"payload\":\"again\"}\n");
}

#[test]
fn a_subscriber_ends_when_nobody_reads_it() {
    let home = Home::new();
    let _server = home.serve(&[]);
    let mut sub = subscribe(&home, &["a"]);
    sub.stop_reading();
    // The pipe is closed once its reader has seen one more line.
    for _ in 0..2 {
        home.succeed(["pub", "a", "x"]);
    }
    assert!(sub.end().status.success());
}

#[test]
fn what_cannot_be_is_said() {
    let home = Home::new();
    let error = home.fail(["pub", "a", "x"]);
    assert!(error.contains("no server runs for") && error.contains("sinew serve"), "{error}");
    let error = home.fail(["pub", "$SYS.a", "x"]);
    assert!(error.contains("belong to the server"), "{error}");
    let error = home.fail(["pub", "a", "x", "--url", "zmq://192.0.2.1:1"]);
    assert!(error.contains("KEY@"), "{error}");
    let error = home.fail(["sub", "a", "--url", "pigeon://KEY"]);
    assert!(error.contains("this program knows mem"), "{error}");
    for arguments in [&["pub", "a..b"][..], &["sub", "a", "--count", "0"], &["sing"], &["sub", "a", "--json", "--raw"]]
    {
        assert_eq!(home.run(arguments).status.code(), Some(2), "{arguments:?}");
    }
}
