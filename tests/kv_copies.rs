//! Changes of the key-value store on the bus of the same server: every one, once and in order, to whoever may read it, and
//! nothing where nobody listens.
#![cfg(all(feature = "kvstore", feature = "bus"))]

use std::sync::Arc;
use std::time::Duration;

use sinew::kvstore::{Key, KvBucket};
use sinew::{BusError, Client, Delivery, Message, Operation, Pattern, Server, ServerBuilder, Subscription};
use sinew_testkit::rules::Rules;
use sinew_testkit::setup::soon;

fn pattern(text: &str) -> Pattern {
    text.parse().expect("a pattern of this test")
}

fn key(text: &str) -> Key {
    text.parse().expect("a key of this test")
}

async fn serve(url: &str, with: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Server {
    let server = with(Server::builder().listen(url).plaintext().kv_in_memory());
    soon("starting", server.start()).await.expect("it starts")
}

async fn connect(server: &Server) -> Client {
    let client = Client::builder(server.urls()[0].to_string()).plaintext();
    soon("connecting", client.connect()).await.expect("it is there")
}

fn bucket(client: &Client, name: &str) -> KvBucket {
    client.kv().bucket(&name.parse().expect("a name of this test"))
}

async fn next(copies: &mut Subscription) -> Message {
    match soon("a copy", copies.next()).await {
        Some(Delivery::Message(message)) => message,
        other => panic!("{other:?}"),
    }
}

fn header(message: &Message, name: &str) -> Option<String> {
    message.headers.get(name).map(|value| String::from_utf8_lossy(value).into_owned())
}

/// Subject, value and the three headers.
fn told(message: &Message) -> (String, Vec<u8>, String, Option<String>, Option<String>) {
    let revision = header(message, "revision").expect("it says so");
    let subject = message.subject.to_string();
    (subject, message.body.to_vec(), revision, header(message, "change"), header(message, "reason"))
}

async fn every_change_is_told(url: &str) {
    let server = serve(url, |server| server).await;
    let (writer, listener) = (connect(&server).await, connect(&server).await);
    let config = bucket(&writer, "config");
    let lamp = key("lights.hall");
    soon("a put", config.put(&lamp, "before")).await.expect("it is written");
    let mut copies = soon("subscribing", listener.bus().subscribe(&pattern("$KV.config.lights.*"))).await.unwrap();
    let mut others = soon("subscribing", listener.bus().subscribe(&pattern("$KV.*.n"))).await.unwrap();
    soon("a put", config.put(&lamp, "on")).await.expect("it is written");
    soon("a put", config.put(&key("door"), "x")).await.expect("it is written");
    soon("a delete", config.delete(&lamp)).await.expect("it is done");
    soon("a put", config.put(&lamp, "off")).await.expect("it is written");
    soon("a purge", config.purge(&lamp)).await.expect("it is done");
    let short = sinew::kvstore::PutOptions { time_to_live: Some(Duration::from_millis(5)), ..Default::default() };
    soon("a put", config.put_with(&lamp, "brief", &short)).await.expect("it is written");
    let expected = [
        ("on", "2", "put", None),
        ("", "4", "gone", Some("deleted")),
        ("off", "5", "put", None),
        ("", "6", "gone", Some("purged")),
        ("brief", "7", "put", None),
        ("", "8", "gone", Some("expired")),
    ];
    for (value, revision, change, reason) in expected {
        let subject = "$KV.config.lights.hall".to_owned();
        let wanted = (
            subject,
            value.as_bytes().to_vec(),
            revision.to_owned(),
            Some(change.to_owned()),
            reason.map(str::to_owned),
        );
        assert_eq!(told(&next(&mut copies).await), wanted);
    }
    // A bucket that is made by its first put is heard from that on.
    for number in 0..100 {
        soon("an add", bucket(&writer, "counters").add(&key("n"), 1)).await.expect("it is counted");
        let message = next(&mut others).await;
        assert_eq!(
            (&message.body[..], message.subject.as_str()),
            ((number + 1).to_string().as_bytes(), "$KV.counters.n")
        );
    }
    soon("draining", server.drain()).await.expect("all is closed");
}

#[tokio::test]
async fn every_change_is_told_over_mem() {
    every_change_is_told("mem://kv-copies").await;
}

#[cfg(feature = "zmq")]
#[tokio::test]
async fn every_change_is_told_over_zmq() {
    every_change_is_told("zmq://127.0.0.1:0").await;
}

#[cfg(feature = "quic")]
#[tokio::test]
async fn every_change_is_told_over_quic() {
    every_change_is_told("quic://127.0.0.1:0").await;
}

/// Whoever subscribes hears what is acknowledged behind that, however busy the bucket is, and each change once.
#[tokio::test]
async fn nothing_is_missed_behind_a_subscription_and_nothing_doubled() {
    let server = serve("mem://kv-copies-busy", |server| server).await;
    let (writer, listener) = (connect(&server).await, connect(&server).await);
    let config = bucket(&writer, "config");
    for round in 0..50 {
        let mut copies = soon("subscribing", listener.bus().subscribe(&pattern("$KV.config.>"))).await.unwrap();
        let mut last = 0;
        for _ in 0..3 {
            let stored = soon("a put", config.put(&key("k"), round.to_string())).await.expect("it is written");
            // What was written while nobody listened may still be on its way to the bus; nothing later goes before it.
            while last < stored.revision {
                let message = next(&mut copies).await;
                let revision: u64 = header(&message, "revision").unwrap().parse().unwrap();
                assert!(revision > last && revision <= stored.revision, "{revision} behind {last}");
                assert!(last == 0 || revision == last + 1, "{revision} behind {last}: one was missed");
                last = revision;
            }
        }
        drop(copies);
        // Heard by nobody.
        soon("a put", config.put(&key("k"), "silence")).await.expect("it is written");
    }
    soon("draining", server.drain()).await.expect("all is closed");
}

#[tokio::test]
async fn copies_are_for_whoever_may_read_what_they_are_of() {
    let rules = Arc::new(Rules::default());
    let server = serve("mem://kv-copies-rules", |server| server.authorize(rules.clone())).await;
    let client = connect(&server).await;
    let mut open = soon("subscribing", client.bus().subscribe(&pattern("$KV.config.open.*"))).await.unwrap();
    let mut shut = soon("subscribing", client.bus().subscribe(&pattern("$KV.config.shut.*"))).await.unwrap();
    let config = bucket(&client, "config");
    soon("a put", config.put(&key("shut.a"), "1")).await.expect("it is written");
    assert_eq!(next(&mut shut).await.subject.as_str(), "$KV.config.shut.a");
    rules.deny(Operation::KvRead, "config.shut.*");
    while soon("its end", shut.next()).await.is_some() {}
    assert!(matches!(shut.end(), Some(BusError::Denied { .. })), "{:?}", shut.end());
    let refused = soon("subscribing", client.bus().subscribe(&pattern("$KV.config.shut.*"))).await;
    assert!(matches!(&refused, Err(BusError::Denied { reason }) if reason.contains("kv.read")), "{refused:?}");
    // What the bus's own rules say does not open it, nor shut it.
    rules.deny(Operation::BusSubscribe, "$KV.config.open.*");
    let again = soon("subscribing", client.bus().subscribe(&pattern("$KV.config.open.*"))).await;
    assert!(again.is_ok(), "{again:?}");
    soon("a put", config.put(&key("open.a"), "1")).await.expect("it is written");
    assert_eq!(next(&mut open).await.subject.as_str(), "$KV.config.open.a");
    // A client cannot publish there.
    let forged = soon("publishing", client.bus().publish(&"$KV.config.open.a".parse().unwrap(), "forged")).await;
    assert!(forged.is_err(), "{forged:?}");
    soon("draining", server.drain()).await.expect("all is closed");
}
