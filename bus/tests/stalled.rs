//! One of a hundred subscribers does not read: what waits for it stays within its bound at every step, the others miss
//! nothing, and what it lost is told exactly. And all of them: what waits for all together stays within the server's bound.
//! In virtual time and counted bytes.

use std::sync::Arc;

use bytes::Bytes;
use sinew_bus::{BacklogLimits, Broker, BusLimits, Delivery, Pattern, Subject, SubscribeOptions, Subscription};
use sinew_testkit::net::Net;
use sinew_testkit::setup::{Setup, soon};

const SUBSCRIBERS: usize = 100;
const ROUNDS: usize = 40;
const MESSAGES: usize = 25;
const BYTES: usize = 1_024;
const WINDOW: usize = 16 * 1024;
const QUEUE: usize = 32 * 1024;

/// How many messages and told losses come, and in how many messages after the first loss.
#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    messages: usize,
    told: usize,
    after_loss: usize,
}

async fn read(subscription: &mut Subscription, heard: &mut Heard, all: usize) {
    while heard.messages + heard.told < all {
        match soon("a delivery", subscription.next()).await {
            Some(Delivery::Message(message)) => {
                assert_eq!(message.body.len(), BYTES);
                heard.messages += 1;
                heard.after_loss += usize::from(heard.told > 0);
            }
            Some(Delivery::Lagged(count)) => heard.told += usize::try_from(count).unwrap(),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(heard.messages + heard.told, all, "more was told than was published");
}

#[tokio::test(start_paused = true)]
async fn one_of_a_hundred_stops_reading() {
    let net = Net::default();
    let mut setup = Setup::on(&net, "mem://stalled");
    let server = setup.serve_bus().await;
    let options = || SubscribeOptions {
        window_bytes: WINDOW,
        queue: BacklogLimits { bytes_max: QUEUE, ..BacklogLimits::default() },
        ..SubscribeOptions::default()
    };
    let mut subscriptions = Vec::new();
    for number in 0..SUBSCRIBERS {
        let bus = setup.bus(number).await;
        let pattern = Pattern::try_from("steady.>").unwrap();
        subscriptions.push((bus.subscribe_with(&pattern, options()).await.unwrap(), Heard::default(), bus));
    }
    let publisher = setup.bus(0).await;
    let subject = Subject::try_from("steady.on").unwrap();
    let (stalled, others) = subscriptions.split_first_mut().unwrap();
    for round in 1..=ROUNDS {
        for _ in 0..MESSAGES {
            publisher.publish(&subject, Bytes::from_static(&[7; BYTES])).await.unwrap();
        }
        publisher.flush().await.unwrap();
        for (subscription, heard, _) in others.iter_mut() {
            read(subscription, heard, round * MESSAGES).await;
        }
    }
    for (_, heard, _) in others.iter() {
        assert_eq!(*heard, Heard { messages: ROUNDS * MESSAGES, told: 0, after_loss: 0 });
    }
    let (subscription, heard, _) = stalled;
    read(subscription, heard, ROUNDS * MESSAGES).await;
    assert!(heard.told > 0, "nothing was lost, so nothing is shown: {heard:?}");
    // The window was under way; behind the loss is what had waited, and it costs more than its payload.
    assert!(heard.messages - heard.after_loss <= WINDOW / BYTES + 1, "{heard:?}");
    assert!(heard.after_loss <= QUEUE / BYTES, "{heard:?}");
    server.drain().await;
}

#[tokio::test(start_paused = true)]
async fn all_of_a_hundred_stop_reading() {
    const ALL: usize = 256 * 1024;
    let net = Net::default();
    let mut setup = Setup::on(&net, "mem://all-stalled");
    let broker = Arc::new(Broker::new(BusLimits { queued_bytes_max: ALL, ..BusLimits::default() }));
    let server = setup.serve(vec![broker.clone()]).await;
    let mut subscriptions = Vec::new();
    for number in 0..SUBSCRIBERS {
        let bus = setup.bus(number).await;
        let options = SubscribeOptions { window_bytes: WINDOW, ..SubscribeOptions::default() };
        let pattern = Pattern::try_from("steady.>").unwrap();
        subscriptions.push((bus.subscribe_with(&pattern, options).await.unwrap(), bus));
    }
    let publisher = setup.bus(0).await;
    let subject = Subject::try_from("steady.on").unwrap();
    let mut most = 0;
    for _ in 0..ROUNDS * MESSAGES {
        publisher.publish(&subject, Bytes::from_static(&[7; BYTES])).await.unwrap();
        publisher.flush().await.unwrap();
        most = most.max(broker.queued_bytes());
        assert!(most <= ALL, "{most} bytes wait");
    }
    assert!(most > ALL / 2, "{most} bytes are no pressure");
    for (subscription, _bus) in &mut subscriptions {
        let mut heard = Heard::default();
        read(subscription, &mut heard, ROUNDS * MESSAGES).await;
        assert!(heard.told > 0 && heard.messages > WINDOW / BYTES / 2, "{heard:?}");
    }
    assert_eq!(broker.queued_bytes(), 0);
    server.drain().await;
}
