//! zenoh through its router, with the client's callbacks, which are its fastest way to hear.

use std::time::Duration;

use bytes::Bytes;
use futures::channel::oneshot;
use zenoh::handlers::FifoChannelHandler;
use zenoh::pubsub::{Publisher, Subscriber};
use zenoh::qos::CongestionControl;
use zenoh::query::{ConsolidationMode, Querier, QueryTarget};
use zenoh::sample::Sample;
use zenoh::{Config, Session, Wait};

use super::{Ask, Asks, Over, Peer, Publish, Subscribe};
use crate::Outcome;
use crate::measure::pause;
use crate::payload::Word;
use crate::place::Place;

const QUESTIONS: &str = "bench/question";
/// Between two looks whether somebody hears.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// zenoh as a client of a router.
#[derive(Debug)]
pub(crate) struct Zenoh;

/// A session that publishes; it holds back rather than drop.
pub(crate) struct Speaker {
    publisher: Publisher<'static>,
    session: Session,
}

/// A session that hears: message by message through a channel, or all of them in a callback.
pub(crate) struct Listener {
    session: Session,
    subject: &'static str,
    channel: Option<Subscriber<FifoChannelHandler<Sample>>>,
}

/// A session that asks.
pub(crate) struct Asker {
    querier: Querier<'static>,
    _session: Session,
}

async fn connect(place: &Place) -> Outcome<Session> {
    let mut config = Config::default();
    config.insert_json5("mode", "\"client\"")?;
    config.insert_json5("connect/endpoints", &format!("[\"{}\"]", place.address))?;
    config.insert_json5("scouting/multicast/enabled", "false")?;
    zenoh::open(config).await
}

/// `express` sends each message by itself, which is what the system's own ping example does.
async fn speaker(session: Session, subject: &'static str, express: bool) -> Outcome<Speaker> {
    let publisher = session.declare_publisher(subject).congestion_control(CongestionControl::Block).express(express);
    Ok(Speaker { publisher: publisher.await?, session })
}

impl Peer for Zenoh {
    type Publisher = Speaker;
    type Subscriber = Listener;

    async fn publisher(place: &Place, subject: &'static str) -> Outcome<Speaker> {
        speaker(connect(place).await?, subject, false).await
    }

    async fn subscriber(place: &Place, subject: &'static str) -> Outcome<Listener> {
        Ok(Listener { session: connect(place).await?, subject, channel: None })
    }

    async fn both(place: &Place, speaks: &'static str, hears: &'static str) -> Outcome<(Speaker, Listener)> {
        let session = connect(place).await?;
        let channel = Some(session.declare_subscriber(hears).await?);
        let listener = Listener { session: session.clone(), subject: hears, channel };
        Ok((speaker(session, speaks, true).await?, listener))
    }

    /// Answers where the message arrives, as the system's own pong example does.
    async fn pong(place: &Place, speaks: &'static str, hears: &'static str, ready: impl FnOnce()) -> Outcome {
        let session = connect(place).await?;
        let publisher = speaker(session.clone(), speaks, true).await?.publisher;
        let (ends, ended) = oneshot::channel();
        let mut ends = Some(ends);
        let answer = move |sample: Sample| {
            let sent = publisher.put(sample.payload().clone()).wait();
            let over = matches!(Word::of(&sample.payload().to_bytes()), Some(Word::End(_)));
            if (over || sent.is_err())
                && let Some(ends) = ends.take()
            {
                // Nobody waits any more only if the measurement has failed already.
                let _ = ends.send(sent);
            }
        };
        let _subscriber = session.declare_subscriber(hears).callback_mut(answer).await?;
        ready();
        ended.await?
    }

    /// The library has runtimes of its own; it needs one to close, and refuses to be awaited in a current-thread one.
    fn block_on<F: Future>(side: F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        runtime.expect("a runtime needs no more than two threads").block_on(side)
    }
}

impl Asks for Zenoh {
    type Asker = Asker;

    async fn asker(place: &Place) -> Outcome<Asker> {
        let session = connect(place).await?;
        let querier = session.declare_querier(QUESTIONS).target(QueryTarget::BestMatching);
        let querier = querier.congestion_control(CongestionControl::Block).consolidation(ConsolidationMode::None);
        Ok(Asker { querier: querier.await?, _session: session })
    }

    async fn answer(place: &Place, ready: impl FnOnce(), over: Over) -> Outcome {
        let session = connect(place).await?;
        // Complete: any one of them can answer, so the router asks one.
        let questions = session.declare_queryable(QUESTIONS).complete(true).callback(|query| {
            let body = query.payload().cloned().unwrap_or_default();
            // A reply that cannot be sent shows as a question without an answer.
            let _ = query.reply(QUESTIONS, body).wait();
        });
        let _questions = questions.await?;
        ready();
        // The sender is dropped at the end.
        let _: Result<(), _> = over.await;
        session.close().await
    }
}

impl Publish for Speaker {
    async fn publish(&mut self, body: Bytes) -> Outcome {
        self.publisher.put(body).await
    }

    async fn finish(&mut self) -> Outcome {
        self.session.close().await
    }

    async fn wait_heard(&mut self) -> Outcome {
        while !self.publisher.matching_status().await?.matching() {
            pause(LOOK_EVERY).await;
        }
        Ok(())
    }
}

impl Subscribe for Listener {
    async fn next(&mut self) -> Outcome<Bytes> {
        let channel = self.channel.as_ref().ok_or("this one hears through a callback alone")?;
        Ok(Bytes::from(channel.recv_async().await?.payload().to_bytes().into_owned()))
    }

    async fn listen(self, mut heard: impl FnMut(&[u8]) -> bool + Send + 'static) -> Outcome {
        let (ends, ended) = oneshot::channel();
        let mut ends = Some(ends);
        // It must be shareable, and is never called by two at once.
        let heard = std::sync::Mutex::new(move |body: &[u8]| {
            if ends.is_some() && !heard(body) {
                drop(ends.take());
            }
        });
        let hear = move |sample: Sample| {
            let mut heard = heard.lock().expect("it does not panic");
            heard(&sample.payload().to_bytes());
        };
        let _subscriber = self.session.declare_subscriber(self.subject).callback(hear).await?;
        // The sender is dropped at the end.
        let _: Result<(), _> = ended.await;
        self.session.close().await
    }
}

impl Ask for Asker {
    async fn ask(&self, body: Bytes) -> Outcome<Bytes> {
        let replies = self.querier.get().payload(body).await?;
        let reply = replies.recv_async().await?;
        let sample = reply.into_result().map_err(|error| format!("answered with an error: {error:?}"))?;
        Ok(Bytes::from(sample.payload().to_bytes().into_owned()))
    }
}
