//! Headers: beside every kind of message, as they were.

use sinew_bus::{Headers, PublishOptions};

use super::{next_message, publish, subject, subscribe};
use crate::setup::{Setup, soon};

/// Headers come as they were, in order, beside empty and large payloads, and a message without any has none.
///
/// # Panics
/// If they do not.
pub async fn headers(setup: &Setup) {
    let (alice, bob) = (setup.bus(0).await, setup.bus(1).await);
    let mut heard = subscribe(&bob, "h").await;
    let pairs = [("trace", &b"7"[..]), ("unit", "°C".as_bytes()), ("trace", b""), ("raw", &[0, 255])];
    let headers = pairs.iter().fold(Headers::default(), |all, (name, value)| all.with(name, value).expect("a header"));
    let large = Headers::default().with("large", vec![b'x'; 16_000]).expect("it fits");
    for (headers, size) in [(&headers, 0), (&large, 10), (&headers, 300_000), (&large, 9_000)] {
        let options = PublishOptions { headers: headers.clone(), retain: false };
        let body = vec![5; size];
        soon("publishing", alice.publish_with(&subject("h"), body.clone(), &options)).await.expect("it is packed");
        let message = next_message(&mut heard).await;
        assert!(message.headers == *headers && message.body == body, "{:?}, {size}", message.headers);
        publish(&alice, "h", "bare").await;
        assert!(next_message(&mut heard).await.headers.is_empty());
    }
}
