//! Beginnings and ends: hello and its refusals, resuming, drain, close, and who may do none of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sinew_auth::Identity;
use sinew_session::{
    Attachment, CRITICAL, Error, FAILURE, Failure, Header, Link, REPLY, Run, Service, Session, State, encode, to_cbor,
};
use sinew_testkit::echo::{ECHO, Echo, call, count, echo, verb};
use sinew_testkit::net::Net;
use sinew_testkit::setup::{Setup, soon};
use sinew_testkit::wire::{self, Hello, Welcome, say_hello, send, session_record};
use sinew_transport_api::{ConnectOptions, Connection, Lane, LaneSet, Security};
use tokio::time::{Instant, sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);

async fn ended(session: &Session) -> Error {
    let mut state = session.state();
    let state = soon("the end", state.wait_for(|state| matches!(state, State::Ended(_)))).await.unwrap().clone();
    let State::Ended(error) = state else { unreachable!("it was waited for") };
    error
}

#[tokio::test(start_paused = true)]
async fn a_silent_or_babbling_newcomer_is_dropped_in_time() {
    let net = Net::default();
    let mut setup = Setup::on(&net, "mem://here");
    let server = setup.serve(vec![Arc::new(Echo::default())]).await;
    let begun = Instant::now();
    let mut silent = setup.raw(0).await;
    assert!(soon("the end", silent.receiver.recv()).await.is_err());
    let took = begun.elapsed();
    assert!((3 * SECOND..4 * SECOND).contains(&took), "{took:?}");
    let twice = [wire::hello(&Hello::default()), wire::hello(&Hello::default())].concat();
    let echo = encode(Header { service: ECHO, verb: verb::ECHO, flags: CRITICAL, call: 1 }, &[], &[]);
    for first in [vec![7; 100], vec![0; 16], twice, echo.to_vec()] {
        let mut connection = setup.raw(0).await;
        send(&mut connection, Lane::CONTROL, first.into()).await.unwrap();
        assert!(soon("the end", connection.receiver.recv()).await.is_err());
    }
    assert_eq!((server.connections(), server.sessions()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_says_why_and_whether_to_try_again() {
    let net = Net::default();
    let mut setup = Setup::on(&net, "mem://here");
    let _server = setup.serve(vec![Arc::new(Echo::default())]).await;
    let later = Hello { protocol_min: 2, protocol_max: 9, ..Hello::default() };
    let spaced = Hello { space: "tenant".into(), ..Hello::default() };
    for (hello, word) in [(later, "protocol 1 to 1"), (spaced, "tenant")] {
        let mut connection = setup.raw(0).await;
        send(&mut connection, Lane::CONTROL, wire::hello(&hello)).await.unwrap();
        let (_, block) = soon("the answer", connection.receiver.recv()).await.unwrap().unwrap();
        let record = sinew_session::Run::parse(&block).unwrap().next().unwrap();
        let refusal: sinew_session::Refusal = sinew_session::from_cbor(record.body()).unwrap();
        assert_eq!(record.header.verb, wire::verb::REFUSAL);
        assert!(refusal.reason.contains(word) && !refusal.retry && !refusal.next.is_empty(), "{refusal}");
    }
}

/// Who knows the session's id but holds another key, or none, gets a new session.
#[tokio::test(start_paused = true)]
async fn only_the_same_key_resumes_a_session() {
    let net = Net::default();
    let mut setup = Setup::secured(net.registry(), &["mem://here"]);
    let server = setup.serve(vec![Arc::new(Echo::default())]).await;
    let (server_identity, _) = setup.identities.clone().unwrap();
    let options = |identity: &Arc<Identity>| {
        ConnectOptions::new(Security::Identity(identity.clone()), Some(server_identity.public_key()))
    };
    let (owner, thief) = (Arc::new(Identity::generate()), Arc::new(Identity::generate()));
    let connect = async |identity: &Arc<Identity>, resume| -> (Connection, Welcome) {
        let mut connection = net.registry().connect(&setup.endpoints[0], &options(identity)).await.unwrap();
        let hello = Hello { resume, ..Hello::default() };
        let welcome = say_hello(&mut connection, &hello).await.unwrap().expect("a welcome");
        (connection, welcome)
    };
    let (first, welcome) = connect(&owner, None).await;
    drop(first);
    sleep(SECOND).await;
    let (_kept, stolen) = connect(&thief, Some(welcome.session)).await;
    assert!(stolen.session != welcome.session && stolen.one_way_received.is_none());
    let (_kept, resumed) = connect(&owner, Some(welcome.session)).await;
    assert!(resumed.session == welcome.session && resumed.one_way_received == Some(0));
    assert_eq!(server.sessions(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_drained_server_refuses_newcomers_and_its_clients_wait_for_the_next() {
    let net = Net::default();
    let mut setup = Setup::on(&net, "mem://here");
    let service = Echo::default();
    let server = setup.serve(vec![Arc::new(service.clone())]).await;
    let session = setup.session().await;
    let mut late = setup.raw(0).await;
    net.faults("here").stall(Lane(1).into());
    let draining = tokio::spawn(server.drain());
    sleep(SECOND / 10).await;
    assert!(matches!(say_hello(&mut late, &Hello::default()).await, Ok(None)), "a refusal");
    assert!(setup.try_session(0).await.is_err(), "nobody listens any more");
    net.faults("here").resume();
    soon("the drain", draining).await.unwrap();
    let mut state = session.state();
    soon("the goodbye", state.wait_for(|state| matches!(state, State::Reconnecting))).await.unwrap();
    let _server = setup.serve(vec![Arc::new(service)]).await;
    echo(&session, "with the next").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_in_time_when_a_client_does_not_read() {
    let net = Net::default();
    let mut setup = Setup::on(&net, "mem://here");
    let server = setup.serve(vec![Arc::new(Echo::default())]).await;
    let mut deaf = setup.raw(0).await;
    say_hello(&mut deaf, &Hello::default()).await.unwrap().expect("a welcome");
    for number in 1..40 {
        let header = Header { service: ECHO, verb: verb::STREAM, flags: CRITICAL, call: number };
        let head = to_cbor(&sinew_session::CallHead::default());
        send(&mut deaf, Lane(1), encode(header, &head, &to_cbor(&20_000_u64))).await.unwrap();
    }
    sleep(SECOND).await;
    let begun = Instant::now();
    soon("the drain", server.drain()).await;
    assert!(begun.elapsed() <= setup.limits.drain_timeout + SECOND, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_connect_that_is_given_up_leaves_nothing_behind() {
    let net = Net::default();
    let mut setup = Setup::on(&net, "mem://here");
    let server = setup.serve(vec![Arc::new(Echo::default())]).await;
    for turns in 0..60 {
        let mut connecting = Box::pin(Session::connect(&setup.endpoints[0], setup.session_options()));
        for _ in 0..turns {
            tokio::select! {
                biased;
                _ = &mut connecting => break,
                () = tokio::task::yield_now() => {}
            }
        }
        drop(connecting);
    }
    sleep(100 * SECOND).await;
    assert_eq!((server.connections(), server.sessions()), (0, 0));
}

/// A server that says welcome and heartbeats, and then as the test likes.
async fn fake(net: &Net, setup: &mut Setup) -> Box<dyn sinew_transport_api::Listener> {
    net.registry().bind(&setup.endpoints[0], &setup.listen_options()).await.unwrap()
}

async fn welcome(connection: &mut Connection, one_way_received: Option<u64>) {
    soon("the hello", connection.receiver.recv()).await.unwrap().unwrap();
    let zero: [u8; 16] = [0; 16];
    let welcome = Welcome {
        protocol: 1,
        features: 0,
        software: "fake".into(),
        epoch: 1,
        session: zero.into(),
        services: vec![ECHO],
        lanes: 1,
        record_bytes_max: 1 << 20,
        heartbeat_ms: 1_000,
        lost_after_ms: 5_000,
        acknowledgement: "memory".into(),
        one_way_received,
    };
    let block = session_record(wire::verb::WELCOME, CRITICAL, 0, &[], &to_cbor(&welcome));
    send(connection, Lane::CONTROL, block).await.unwrap();
    connection.sender.open_lanes(2).unwrap();
}

#[tokio::test(start_paused = true)]
async fn closing_ends_in_time_when_the_server_does_not_read() {
    let net = Net::default();
    let mut setup = Setup::on(&net, "mem://here");
    let mut listener = fake(&net, &mut setup).await;
    let server = tokio::spawn(async move {
        let mut connection = listener.accept().await.unwrap();
        welcome(&mut connection, None).await;
        loop {
            let beat = session_record(wire::verb::HEARTBEAT, 0, 0, &[], &0_u64.to_le_bytes());
            if send(&mut connection, Lane::CONTROL, beat).await.is_err() {
                return;
            }
            sleep(SECOND).await;
        }
    });
    let session = setup.session().await;
    let mut packed = 0;
    while timeout(SECOND, count(&session, b"key", packed)).await.is_ok() {
        packed += 1;
    }
    let begun = Instant::now();
    let error = soon("the close", session.close()).await.unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    assert!(begun.elapsed() <= 2 * setup.limits.drain_timeout + SECOND, "{:?}", begun.elapsed());
    assert!(matches!(ended(&session).await, Error::Closed));
    server.abort();
}

/// Whatever a server sends, the client neither panics nor hangs: it reconnects or goes on.
#[tokio::test(start_paused = true)]
async fn a_client_stands_whatever_a_server_sends() {
    let net = Net::default();
    let mut setup = Setup::on(&net, "mem://here");
    let mut listener = fake(&net, &mut setup).await;
    let nonsense: Vec<bytes::Bytes> = vec![
        vec![0xff; 64].into(),
        vec![0; 16].into(),
        encode(Header { service: ECHO, verb: 1, flags: REPLY, call: 77 }, &[], b"never asked"),
        encode(Header { service: ECHO, verb: 1, flags: REPLY | FAILURE, call: 1 }, &[], &[0xff; 9]),
        encode(Header { service: 250, verb: 1, flags: CRITICAL, call: 0 }, &[], &[]),
        session_record(wire::verb::HEARTBEAT, 0, 0, &[], &u64::MAX.to_le_bytes()),
        session_record(wire::verb::HEARTBEAT, 0, 0, &[], &[1]),
        session_record(wire::verb::GOODBYE, 0, 0, &[], &[0xff; 20]),
        session_record(wire::verb::WELCOME, CRITICAL, 0, &[], &[]),
        session_record(wire::verb::FLUSH, CRITICAL, 9, &[], &[255]),
        session_record(wire::verb::FRAGMENT, 0, 0, &[0xff; 8], &[1; 8]),
        session_record(wire::verb::FRAGMENT, 0, 0, &[1], &[]),
    ];
    let rounds = nonsense.len();
    let server = tokio::spawn(async move {
        for (round, block) in nonsense.into_iter().enumerate() {
            let mut connection = soon("a client", listener.accept()).await.unwrap();
            welcome(&mut connection, Some(u64::MAX).filter(|_| round % 2 == 1)).await;
            send(&mut connection, Lane(1), block).await.unwrap();
            let _ = timeout(SECOND, connection.receiver.recv()).await;
        }
    });
    let session = setup.session().await;
    for number in 0..100 {
        let _ = timeout(SECOND / 4, count(&session, b"key", number)).await;
        let _ = timeout(SECOND / 4, session.call(call(verb::ECHO, b"k", &"x", SECOND))).await;
    }
    soon("all rounds", server).await.unwrap_or_else(|error| panic!("after at most {rounds} rounds: {error}"));
    let _server = setup.serve(vec![Arc::new(Echo::default())]).await;
    echo(&session, "an honest one").await.unwrap();
}

/// Nobody who asks and never listens makes the server keep its answers without bound.
#[tokio::test(start_paused = true)]
async fn who_does_not_take_its_answers_is_not_read_any_more() {
    let net = Net::default();
    let mut setup = Setup::on(&net, "mem://here");
    setup.limits.outbox_bytes_max = 100_000;
    setup.limits.record_bytes_max = 300_000;
    let server = setup.serve(vec![Arc::new(Echo::default())]).await;
    let mut deaf = setup.raw(0).await;
    say_hello(&mut deaf, &Hello::default()).await.unwrap().expect("a welcome");
    let ask = encode(Header { service: ECHO, verb: 77, flags: CRITICAL, call: 5 }, &[], &[]);
    let block = bytes::Bytes::from(ask.repeat(4_000));
    let mut sent = 0_usize;
    let flood = async {
        while deaf.sender.ready(LaneSet::from(Lane(1))).await.is_ok() {
            let mut block = sinew_transport_api::Block::from(block.clone());
            if !deaf.sender.try_send(Lane(1), &mut block).is_ok_and(|taken| taken) {
                break;
            }
            sent += 4_000;
        }
    };
    soon("it is lost as if it were silent", flood).await;
    // What the transport's two queues and the outbox hold, and no more.
    assert!(sent < 1_000_000, "{sent} requests were taken");
    let session = setup.session().await;
    echo(&session, "others are served").await.unwrap();
    assert_eq!(server.connections(), 1);
}

/// A service that counts how often it is told that a session is over.
#[derive(Clone, Debug, Default)]
struct Ends(Arc<AtomicU32>);

impl Service for Ends {
    fn code(&self) -> u8 {
        ECHO
    }

    fn open(&self, _link: &Arc<Link>) -> Box<dyn Attachment> {
        Box::new(self.clone())
    }
}

impl Attachment for Ends {
    fn records(&mut self, _lane: Lane, _run: Run<'_>) -> Result<(), Failure> {
        Ok(())
    }

    fn over(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_is_told_that_a_session_is_over_and_not_that_its_server_stops() {
    let net = Net::default();
    let mut setup = Setup::on(&net, "mem://here");
    let ends = Ends::default();
    let over = || ends.0.load(Ordering::Relaxed);
    let server = setup.serve(vec![Arc::new(ends.clone())]).await;
    let (leaves, stays) = (setup.session().await, setup.session().await);
    leaves.close().await.unwrap();
    while server.sessions() == 2 {
        sleep(SECOND).await;
    }
    assert_eq!(over(), 1, "it said goodbye");
    net.faults("here").cut();
    soon("coming back", stays.flush(30 * SECOND)).await.unwrap();
    assert_eq!((over(), server.sessions()), (1, 1), "it came back");
    net.faults("here").down();
    while server.sessions() == 1 {
        sleep(SECOND).await;
    }
    assert_eq!(over(), 2, "it did not come back in time");
    net.faults("here").up();
    soon("a new session", stays.flush(300 * SECOND)).await.unwrap();
    server.abort().await;
    assert_eq!(over(), 2, "it may go on at the next server");
}
