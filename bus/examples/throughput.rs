//! How many messages a second go from a publisher through the broker to a subscriber over `mem://`, each of the three on
//! its own threads: `cargo run --release -p sinew-bus --example throughput [BYTES] [SECONDS]`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sinew_bus::{Broker, Bus, Delivery, Pattern, Subject};
use sinew_session::{ServerBuilder, Session, SessionOptions};
use sinew_transport_api::auth::AdmitEveryone;
use sinew_transport_api::{Endpoint, ListenOptions, Registry, Security};

/// Messages on their way at most, so that none is dropped.
const OUTSTANDING: u64 = 8_192;
/// The subscriber tells its count after so many.
const STEP: u64 = 1_024;

async fn connect(endpoint: &Endpoint) -> Bus {
    let options = SessionOptions::new(Security::Plaintext, None).expect("one plug-in for each scheme");
    Bus::new(&Session::connect(endpoint, options).await.expect("the server is there")).expect("mounted once")
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let bytes: usize = arguments.next().map_or(16, |text| text.parse().expect("bytes"));
    let seconds: u64 = arguments.next().map_or(3, |text| text.parse().expect("seconds"));
    let endpoint: Endpoint = "mem://throughput".parse().expect("an endpoint");
    let listen = ListenOptions::new(Security::Plaintext, Arc::new(AdmitEveryone));
    let builder = ServerBuilder::new(Registry::linked().expect("one plug-in for each scheme"));
    let _server =
        builder.listen(endpoint.clone(), listen).service(Arc::new(Broker::default())).start().await.expect("it starts");

    let (publisher, subscriber) = (connect(&endpoint).await, connect(&endpoint).await);
    let data = Subject::try_from("bench.data").expect("a subject");
    let progress = Subject::try_from("bench.progress").expect("a subject");
    let mut heard =
        subscriber.subscribe(&Pattern::try_from("bench.data").expect("a pattern")).await.expect("it stands");
    let mut told =
        publisher.subscribe(&Pattern::try_from("bench.progress").expect("a pattern")).await.expect("it stands");
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut count = 0_u64;
            while let Some(delivery) = heard.next().await {
                assert!(matches!(delivery, Delivery::Message(_)), "{delivery:?}");
                count += 1;
                if count.is_multiple_of(STEP) {
                    subscriber.publish(&progress, count.to_le_bytes().to_vec()).await.expect("the session lives");
                }
            }
        });
    });

    let body = bytes::Bytes::from(vec![1_u8; bytes]);
    let start = Instant::now();
    let (mut sent, mut acknowledged) = (0_u64, 0_u64);
    while start.elapsed() < Duration::from_secs(seconds) {
        while sent - acknowledged + STEP <= OUTSTANDING {
            for _ in 0..STEP {
                publisher.publish(&data, body.clone()).await.expect("the session lives");
            }
            sent += STEP;
        }
        if let Some(Delivery::Message(message)) = told.next().await {
            acknowledged = u64::from_le_bytes(message.body[..].try_into().expect("eight bytes"));
        }
    }
    let rate = acknowledged as f64 / start.elapsed().as_secs_f64();
    println!("{bytes} bytes: {:.2} M messages/s, {:.0} MB/s", rate / 1e6, rate * bytes as f64 / 1e6);
}
