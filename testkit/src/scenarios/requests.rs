//! Requests: one responder answers, and the requester is told at once when nobody will.

use sinew_bus::{Bus, Error, Headers, RequestOptions, Responder};

use super::{next_message, pattern, subject, subscribe};
use crate::setup::{PATIENCE, Setup, soon};

async fn respond(bus: &Bus, text: &str) -> Responder {
    soon("responding", bus.respond(&pattern(text))).await.expect("it stands")
}

/// Requests that wait longer than any test, so that an answer at once cannot be a timeout.
fn patient() -> RequestOptions {
    RequestOptions { deadline: 10 * PATIENCE, ..RequestOptions::default() }
}

/// Two responders answer in turn, with headers; a plain subscriber hears copies; a failure comes with its words.
///
/// # Panics
/// If it is not so.
pub async fn request_and_answer(setup: &Setup) {
    let (alice, bob, carol) = (setup.bus(0).await, setup.bus(1).await, setup.bus(2).await);
    let mut copies = subscribe(&alice, "math.*").await;
    for (bus, name) in [(bob, "bob"), (carol, "carol")] {
        let mut responder = respond(&bus, "math.*").await;
        tokio::spawn(async move {
            while let Some(asked) = responder.next().await {
                let from = Headers::default().with("from", name).expect("a header");
                match &asked.message.body.clone()[..] {
                    b"1/0" => asked.fail("division by zero"),
                    body => asked.answer_with([body, b"=2"].concat(), &from).await.expect("it is packed"),
                }
            }
        });
    }
    let (mut from, name, options) = (Vec::new(), subject("math.add"), patient());
    for _ in 0..4 {
        let asking = alice.request_with(&name, "1+1", &options);
        let answer = soon("the answer", asking).await.expect("somebody answers");
        assert_eq!(answer.body, "1+1=2");
        from.push(answer.headers.get("from").expect("who it was").to_vec());
        let copy = next_message(&mut copies).await;
        assert_eq!((&copy.body[..], copy.request), (&b"1+1"[..], true));
    }
    from.sort();
    assert_eq!(from, [&b"bob"[..], b"bob", b"carol", b"carol"], "in rotation");
    let failed = soon("the failure", alice.request_with(&subject("math.divide"), "1/0", &patient())).await;
    let failed = failed.expect_err("it cannot be done");
    assert_eq!(failed.to_string(), "the responder for `math.divide` failed: division by zero");
}

/// Without a responder a request ends at once: plain subscribers, responders of other names, and one that has left do
/// not count.
///
/// # Panics
/// If it waits, or ends otherwise.
pub async fn nobody_answers(setup: &Setup) {
    let (alice, bob) = (setup.bus(0).await, setup.bus(1).await);
    let _plain = subscribe(&bob, "math.*").await;
    let _other = respond(&bob, "physics.*").await;
    let left = respond(&bob, "math.*").await;
    drop(left);
    soon("flushing", bob.flush()).await.expect("it has left");
    let refused = soon("being told", alice.request_with(&subject("math.add"), "1+1", &patient())).await;
    let refused = refused.expect_err("nobody is there");
    assert!(matches!(refused, Error::NoResponders { .. }), "{refused}");
    assert!(refused.to_string().starts_with("no responders for `math.add`: "), "{refused}");
}

/// A requester is told at once that its responder has gone, or has dropped the request.
///
/// # Panics
/// If it waits, or ends otherwise.
pub async fn responder_leaves(setup: &Setup) {
    let (alice, bob) = (setup.bus(0).await, setup.bus(1).await);
    let mut responder = respond(&bob, "slow").await;
    let asker = alice.clone();
    let asking = tokio::spawn(async move { asker.request_with(&subject("slow"), "x", &patient()).await });
    drop(soon("the request", responder.next()).await.expect("it comes"));
    let dropped = soon("being told", asking).await.expect("no panic").expect_err("it was dropped");
    assert!(matches!(dropped, Error::ResponderFailed { .. }), "{dropped}");
    let asking = tokio::spawn(async move { alice.request_with(&subject("slow"), "x", &patient()).await });
    let asked = soon("the request", responder.next()).await.expect("it comes");
    soon("leaving", bob.close()).await.expect("it closes in order");
    let lost = soon("being told", asking).await.expect("no panic").expect_err("it has left");
    assert!(matches!(lost, Error::ResponderLost { .. }), "{lost}");
    drop(asked);
}
