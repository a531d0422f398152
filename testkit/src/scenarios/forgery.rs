//! Answers that others try to forge: raw peers that know more than a program could.

use serde::Serialize;
use sinew_bus::{RequestOptions, SERVICE};
use sinew_session::{CRITICAL, CallHead, Header, Run, encode, to_cbor};
use sinew_transport_api::{Connection, Lane};

use super::subject;
use crate::setup::{PATIENCE, Setup, soon};
use crate::tap::verb;
use crate::wire::{Hello, say_hello, send};

/// The raw responder's subscription.
const NUMBER: u32 = 7;
/// The one data lane that raw peers agree on.
const DATA: Lane = Lane(1);

#[derive(Serialize)]
struct Subscribe {
    pattern: &'static str,
    window_bytes: u64,
    used_bytes: u64,
    queue_records_max: u64,
    queue_bytes_max: u64,
    responds: bool,
}

/// A peer that says hello, and where it asks for that, a responder for `vault`.
async fn raw(setup: &Setup, index: usize, responds: bool) -> Connection {
    let mut peer = setup.raw(index % setup.endpoints.len()).await;
    let welcome = say_hello(&mut peer, &Hello { services: vec![SERVICE], ..Hello::default() }).await;
    assert!(welcome.expect("it is let in").is_some());
    let ask = Subscribe {
        pattern: "vault",
        window_bytes: 1 << 20,
        used_bytes: 0,
        queue_records_max: 10,
        queue_bytes_max: 1 << 20,
        responds,
    };
    let header = Header { service: SERVICE, verb: verb::SUBSCRIBE, flags: CRITICAL, call: NUMBER };
    let ask = encode(header, &to_cbor(&CallHead { deadline_ms: 60_000, operation: None }), &to_cbor(&ask));
    send(&mut peer, DATA, ask).await.expect("it is sent");
    // The reply: it stands.
    token_or_reply(&mut peer, verb::SUBSCRIBE).await;
    peer
}

/// Waits for a record of the bus with this verb; gives the last eight bytes of its head, where a request's token is.
async fn token_or_reply(peer: &mut Connection, wanted: u8) -> u64 {
    loop {
        let (_, block) = soon("a block", peer.receiver.recv()).await.expect("no error").expect("no end");
        for record in Run::parse(&block).expect("records") {
            if record.header.service == SERVICE && record.header.verb == wanted {
                return record.head().last_chunk().map_or(0, |token| u64::from_le_bytes(*token));
            }
        }
    }
}

/// An answer, on a subscription of the sender's.
async fn answer(peer: &mut Connection, call: u32, token: u64, body: &str) {
    let header = Header { service: SERVICE, verb: verb::ANSWER, flags: 0, call };
    let head = [&token.to_le_bytes()[..], &[0, 0, 0]].concat();
    send(peer, DATA, encode(header, &head, body.as_bytes())).await.expect("it is sent");
}

/// Waits until the server has taken in what the peer has sent, by a call that it answers.
async fn settled(peer: &mut Connection) {
    let header = Header { service: SERVICE, verb: verb::INSPECT, flags: CRITICAL, call: 1_000 };
    let head = to_cbor(&CallHead { deadline_ms: 60_000, operation: None });
    send(peer, DATA, encode(header, &head, b"")).await.expect("it is sent");
    token_or_reply(peer, verb::INSPECT).await;
}

/// Another session cannot answer, even with the token and a responder of its own under the same number; the responder
/// itself cannot with a wrong token, on another subscription, or twice.
///
/// # Panics
/// If a forged answer arrives.
pub async fn forged_answers(setup: &Setup) {
    let alice = setup.bus(0).await;
    let mut honest = raw(setup, 1, true).await;
    let asker = alice.clone();
    let options = RequestOptions { deadline: 10 * PATIENCE, ..RequestOptions::default() };
    let asking = tokio::spawn(async move { asker.request_with(&subject("vault"), "open", &options).await });
    let token = token_or_reply(&mut honest, verb::ASKED).await;

    for responds in [false, true] {
        let mut mallory = raw(setup, 2, responds).await;
        for call in [0, 1, NUMBER] {
            answer(&mut mallory, call, token, "forged").await;
        }
        settled(&mut mallory).await;
    }
    answer(&mut honest, NUMBER, token ^ 1, "forged").await;
    answer(&mut honest, NUMBER + 1, token, "forged").await;
    answer(&mut honest, NUMBER, token, "the true one").await;
    answer(&mut honest, NUMBER, token, "forged").await;
    settled(&mut honest).await;

    let answered = soon("the answer", asking).await.expect("no panic").expect("it comes");
    assert_eq!(answered.body, "the true one");
}
