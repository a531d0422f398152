//! Calls and streams: answers, failures, deadlines, cancel, limits, and what a cut leaves unknown.

use std::sync::Arc;
use std::time::Duration;

use sinew_session::{Error, Executor, Header, Lane, Request, Server, Session, State};
use sinew_testkit::echo::{ECHO, Echo, Heard, Mounted, Seen, call, count, echo, verb};
use sinew_testkit::net::Net;
use sinew_testkit::setup::{Setup, soon};
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

/// A network, a server with an echo and a client, by `mem` or with eight lanes.
async fn start(scheme: &str) -> (Net, Echo, Server, Session) {
    let net = Net::default();
    let mut setup = Setup::on(&net, &format!("{scheme}://here"));
    let service = Echo::default();
    let server = setup.serve(vec![Arc::new(service.clone())]).await;
    (net, service, server, setup.session().await)
}

async fn until(session: &Session, wanted: impl FnMut(&State) -> bool) {
    soon("the state", session.state().wait_for(wanted)).await.expect("the session lives");
}

/// Gives everybody who can run a turn, without time passing.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_is_answered_and_a_failure_says_why() {
    let (_net, _service, _server, session) = start("mem").await;
    echo(&session, "hello").await.unwrap();
    let error = session.call(call(verb::FAIL, b"k", &(), SECOND)).await.unwrap_err();
    let Error::Failed(failure) = error else { panic!("{error}") };
    assert_eq!((failure.code.as_str(), failure.reason.as_str()), ("denied", "not today"));
}

#[tokio::test(start_paused = true)]
async fn an_unknown_service_and_an_unknown_verb_are_answered() {
    let (_net, _service, _server, session) = start("mem").await;
    for (service, code) in [(ECHO, "unknown-verb"), (200, "unknown-service")] {
        let request = Request { service, ..call(99, b"k", &(), SECOND) };
        let error = session.call(request).await.unwrap_err();
        assert!(matches!(&error, Error::Failed(failure) if failure.code == code), "{error}");
    }
    echo(&session, "the session lives on").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_the_wait_at_its_time_and_no_earlier() {
    let (_net, service, _server, session) = start("mem").await;
    let begun = Instant::now();
    let error = session.call(call(verb::HOLD, b"k", &(), 7 * SECOND)).await.unwrap_err();
    assert!(matches!(error, Error::Timeout { after, .. } if after == 7 * SECOND), "{error}");
    let took = begun.elapsed();
    assert!((7 * SECOND..7 * SECOND + SECOND / 100).contains(&took), "{took:?}");
    echo(&session, "behind it").await.unwrap();
    let Seen::Hold(number) = service.seen()[0] else { panic!("it is the first") };
    assert!(service.seen().contains(&Seen::Cancel(number)), "the server is told");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_beyond_all_time_is_no_harm() {
    let (_net, _service, _server, session) = start("mem").await;
    let reply = session.call(call(verb::ECHO, b"k", &"x", Duration::MAX)).await.unwrap();
    assert_eq!(reply.read::<String>().unwrap(), "x");
    session.flush(Duration::MAX).await.unwrap();
}

/// On one lane and on eight, and also when request and cancel wait in the outbox together.
#[tokio::test(start_paused = true)]
async fn dropping_a_call_cancels_it_behind_its_request() {
    for scheme in ["mem", "wide"] {
        let (_net, service, _server, session) = start(scheme).await;
        for index in 0..50_u32 {
            let key = index.to_le_bytes();
            let mut held = Box::pin(session.call(call(verb::HOLD, &key, &(), 60 * SECOND)));
            tokio::select! {
                biased;
                _ = &mut held => panic!("nobody answers"),
                () = std::future::ready(()) => {}
            }
            drop(held);
        }
        session.flush(SECOND).await.unwrap();
        let seen = service.seen().clone();
        let holds: Vec<u32> = seen.iter().filter_map(|s| if let Seen::Hold(n) = s { Some(*n) } else { None }).collect();
        assert_eq!(holds.len(), 50, "{scheme}");
        for number in holds {
            let place = |wanted: &Seen| seen.iter().position(|seen| seen == wanted);
            let (hold, cancel) = (place(&Seen::Hold(number)), place(&Seen::Cancel(number)));
            assert!(cancel.is_some() && hold < cancel, "{scheme}: call {number} at {hold:?}, cancelled at {cancel:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_comes_whole_and_in_order_under_its_number() {
    let (_net, _service, _server, session) = start("wide").await;
    let mounted = Mounted::default();
    session.mount(ECHO, Arc::new(mounted.clone())).unwrap();
    for count in [3_u64, 5_000] {
        let number = session.number().unwrap();
        let request = Request { number: Some(number), ..call(verb::STREAM, b"s", &count, 10 * SECOND) };
        session.call(request).await.unwrap();
        session.flush(10 * SECOND).await.unwrap();
        settle().await;
        let index = |heard: &Heard| match heard {
            Heard::Item(of, index) if *of == number => Some(*index),
            _ => None,
        };
        let items: Vec<u64> = mounted.0.heard().iter().filter_map(index).collect();
        assert_eq!(items, (0..count).collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn calls_have_a_limit_and_room_comes_back() {
    let net = Net::default();
    let mut setup = Setup::on(&net, "mem://here");
    setup.limits.calls_max = 2;
    let _server = setup.serve(vec![Arc::new(Echo::default())]).await;
    let session = setup.session().await;
    let hold = |key: &'static [u8]| {
        let session = session.clone();
        tokio::spawn(async move { session.call(call(verb::HOLD, key, &(), 60 * SECOND)).await })
    };
    let (held, _other) = (hold(b"a"), hold(b"b"));
    settle().await;
    let error = echo(&session, "third").await.unwrap_err();
    assert!(matches!(error, Error::Calls { max: 2 }), "{error}");
    held.abort();
    let _ = held.await;
    echo(&session, "room again").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_smaller_record_limit_of_both_ends_holds() {
    for (server_max, client_max) in [(2_000, 1 << 20), (1 << 20, 2_000), (300_000, 1 << 20)] {
        let net = Net::default();
        let mut setup = Setup::on(&net, "mem://here");
        setup.limits.record_bytes_max = server_max;
        let _server = setup.serve(vec![Arc::new(Echo::default())]).await;
        setup.limits.record_bytes_max = client_max;
        let session = setup.session().await;
        let max = server_max.min(client_max);
        assert_eq!(session.record_bytes_max(), max);
        let error = session.call(call(verb::ECHO, b"k", &"x".repeat(max), SECOND)).await.unwrap_err();
        assert!(matches!(error, Error::RecordSize { max: told, .. } if told == max), "{error}");
        let fits = max.min(16 * 1024) - 300;
        echo(&session, &"x".repeat(fits)).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_above_the_limit_ends_the_connection_even_in_one_block() {
    let net = Net::default();
    let mut setup = Setup::on(&net, "mem://here");
    setup.limits.record_bytes_max = 2_000;
    let service = Echo::default();
    let _server = setup.serve(vec![Arc::new(service.clone())]).await;
    let session = setup.session().await;
    let header = Header { service: ECHO, verb: verb::COUNT, flags: 0, call: 0 };
    session.outbox().pack().push(Lane(1), header, &[b"k"], &vec![0; 5_000].into());
    until(&session, |state| matches!(state, State::Reconnecting)).await;
    assert_eq!(service.counted(b"k"), [] as [u64; 0]);
    until(&session, |state| matches!(state, State::Connected)).await;
    assert_eq!(session.losses().lost, 1);
}

#[tokio::test(start_paused = true)]
async fn cut_between_request_and_reply_the_outcome_is_unknown() {
    let (net, service, _server, session) = start("mem").await;
    let caller = session.clone();
    let held = tokio::spawn(async move { caller.call(call(verb::HOLD, b"k", &(), 60 * SECOND)).await });
    settle().await;
    assert_eq!(service.seen().len(), 1);
    net.faults("here").cut();
    let error = soon("the outcome", held).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::OutcomeUnknown), "{error}");
    echo(&session, "again").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_was_never_sent_is_sent_after_the_reconnect_and_nothing_is_unknown() {
    let (net, service, _server, session) = start("mem").await;
    let faults = net.faults("here");
    faults.down();
    until(&session, |state| matches!(state, State::Reconnecting)).await;
    let caller = session.clone();
    let waiting = tokio::spawn(async move { echo(&caller, "patient").await });
    tokio::time::sleep(3 * SECOND).await;
    assert_eq!(service.seen().len(), 0);
    faults.up();
    soon("the answer", waiting).await.unwrap().unwrap();
    assert_eq!(*service.seen(), [Seen::Call("patient".into())]);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_holds_while_disconnected_too() {
    let (net, _service, _server, session) = start("mem").await;
    net.faults("here").down();
    until(&session, |state| matches!(state, State::Reconnecting)).await;
    let begun = Instant::now();
    let error = session.call(call(verb::ECHO, b"k", &"x", 2 * SECOND)).await.unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    assert!(begun.elapsed() < 3 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn after_the_end_every_call_says_so_at_once() {
    let (_net, _service, _server, session) = start("mem").await;
    session.close().await.unwrap();
    assert!(matches!(echo(&session, "late").await, Err(Error::Closed)));
    assert!(matches!(count(&session, b"k", 1).await, Err(Error::Closed)));
    let flushed = soon("a late flush", session.flush(10 * SECOND)).await;
    assert!(matches!(flushed, Err(Error::Closed)), "{flushed:?}");
    soon("a second close", session.close()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn two_services_share_a_session_and_one_cannot_be_mounted_twice() {
    let net = Net::default();
    let mut setup = Setup::on(&net, "mem://here");
    let (first, second) = (Echo::default(), Echo::with_code(10));
    let _server = setup.serve(vec![Arc::new(first.clone()), Arc::new(second.clone())]).await;
    let session = setup.session().await;
    for (service, text) in [(ECHO, "nine"), (10, "ten"), (ECHO, "nine again")] {
        let request = Request { service, ..call(verb::ECHO, b"k", &text, SECOND) };
        assert_eq!(session.call(request).await.unwrap().read::<String>().unwrap(), text);
    }
    assert_eq!((first.seen().len(), second.seen().len()), (2, 1));
    session.mount(ECHO, Arc::new(Mounted::default())).unwrap();
    let error = session.mount(ECHO, Arc::new(Mounted::default())).unwrap_err();
    assert!(matches!(error, Error::Mounted { code: ECHO }), "{error}");
    session.mount(10, Arc::new(Mounted::default())).unwrap();
}

#[test]
fn a_thread_of_its_own_serves_callers_whose_runtime_has_no_driver() {
    let net = Net::default();
    let mut setup = Setup::on(&net, "mem://here");
    setup.executor = Executor::Thread;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (server, session) = runtime.block_on(async {
        let server = setup.serve(vec![Arc::new(Echo::default())]).await;
        (server, setup.session().await)
    });
    drop(runtime);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        for index in 0..100 {
            echo(&session, &format!("number {index}")).await.unwrap();
        }
        session.close().await.unwrap();
        server.drain().await;
    });
}
