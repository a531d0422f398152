//! Eight lanes: order where it is promised, and what comes behind everything does so on all of them.

use std::sync::Arc;
use std::time::Duration;

use sinew_session::{Lane, Request, Server, Session, State};
use sinew_testkit::echo::{ECHO, Echo, Heard, Mounted, call, count, verb};
use sinew_testkit::net::Net;
use sinew_testkit::random::{Telltale, seeds};
use sinew_testkit::setup::{Setup, soon};
use sinew_transport_api::{Faults, LaneSet};
use tokio::time::{sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);

async fn start() -> (Net, Echo, Server, Session) {
    let net = Net::default();
    let mut setup = Setup::on(&net, "wide://here");
    let service = Echo::default();
    let server = setup.serve(vec![Arc::new(service.clone())]).await;
    (net, service, server, setup.session().await)
}

fn bad_weather(seed: u64) -> Faults {
    Faults {
        seed,
        stall_per_block: 0.05,
        stall_for: Duration::from_millis(1)..Duration::from_millis(900),
        delay: Duration::ZERO..Duration::from_millis(40),
        reorder_lanes: true,
        ..Faults::default()
    }
}

const KEYS: [&[u8]; 20] = [
    b"a", b"b", b"c", b"d", b"e", b"f", b"g", b"h", b"i", b"j", b"k", b"l", b"m", b"n", b"o", b"p", b"q", b"r", b"s",
    b"t",
];

async fn send_all(session: &Session, each: u64) {
    for number in 0..each {
        for key in KEYS {
            count(session, key, number).await.unwrap();
        }
        tokio::task::yield_now().await;
    }
}

fn assert_all(service: &Echo, each: u64, when: &str) {
    for key in KEYS {
        assert_eq!(service.counted(key), (0..each).collect::<Vec<_>>(), "{when}, key {}", key.escape_ascii());
    }
}

#[tokio::test(start_paused = true)]
async fn order_holds_for_each_key_in_any_weather() {
    for seed in seeds(30) {
        let _telltale = Telltale(seed);
        let (net, service, _server, session) = start().await;
        net.faults("here").follow(bad_weather(seed));
        send_all(&session, 50).await;
        session.flush(60 * SECOND).await.unwrap();
        assert_all(&service, 50, "after the flush");
    }
}

#[tokio::test(start_paused = true)]
async fn a_flush_waits_for_the_slowest_lane() {
    for slow in 1..=8 {
        let (net, service, _server, session) = start().await;
        let faults = net.faults("here");
        faults.stall(Lane(slow).into());
        send_all(&session, 10).await;
        let flush = session.flush(60 * SECOND);
        tokio::pin!(flush);
        timeout(3 * SECOND, &mut flush).await.expect_err("one lane is missing");
        faults.resume();
        soon("the flush", flush).await.unwrap();
        assert_all(&service, 10, "after the flush");
    }
}

#[tokio::test(start_paused = true)]
async fn any_number_of_flushes_at_one_time_come_to_their_end() {
    let (net, _service, _server, session) = start().await;
    let faults = net.faults("here");
    faults.stall(Lane(3).into());
    let flushes: Vec<_> = (0..3_000)
        .map(|_| {
            let session = session.clone();
            tokio::spawn(async move { session.flush(30 * SECOND).await })
        })
        .collect();
    sleep(2 * SECOND).await;
    faults.resume();
    for flush in flushes {
        soon("a flush", flush).await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_flush_that_is_cut_is_asked_again() {
    let (net, service, _server, session) = start().await;
    let faults = net.faults("here");
    faults.stall(LaneSet::first(32));
    let flusher = session.clone();
    let flush = tokio::spawn(async move { flusher.flush(60 * SECOND).await });
    sleep(SECOND).await;
    faults.cut();
    faults.resume();
    soon("the flush", flush).await.unwrap().unwrap();
    send_all(&session, 1).await;
    session.flush(SECOND).await.unwrap();
    assert_all(&service, 1, "after the second flush");
}

#[tokio::test(start_paused = true)]
async fn closing_confirms_everything_on_all_lanes() {
    for seed in seeds(20) {
        let _telltale = Telltale(seed);
        let (net, service, server, session) = start().await;
        net.faults("here").follow(bad_weather(seed));
        send_all(&session, 20).await;
        session.close().await.unwrap();
        assert_all(&service, 20, "after the close");
        soon("the end", async {
            while server.connections() > 0 {
                sleep(SECOND / 100).await;
            }
        })
        .await;
        assert_eq!(server.sessions(), 0, "a goodbye leaves nothing to resume");
    }
}

#[tokio::test(start_paused = true)]
async fn the_goodbye_of_the_last_handle_overtakes_nothing() {
    for seed in seeds(20) {
        let _telltale = Telltale(seed);
        let (net, service, server, session) = start().await;
        net.faults("here").follow(bad_weather(seed));
        send_all(&session, 20).await;
        drop(session);
        soon("the end", async {
            while server.sessions() > 0 {
                sleep(SECOND / 100).await;
            }
        })
        .await;
        assert_all(&service, 20, "after the last handle is gone");
    }
}

#[tokio::test(start_paused = true)]
async fn the_goodbye_of_a_draining_server_overtakes_nothing() {
    for seed in seeds(20) {
        let _telltale = Telltale(seed);
        let (net, _service, server, session) = start().await;
        let mounted = Mounted::default();
        session.mount(ECHO, Arc::new(mounted.clone())).unwrap();
        for key in KEYS {
            let number = session.number().unwrap();
            let request = Request { number: Some(number), ..call(verb::STREAM, key, &40_u64, 10 * SECOND) };
            session.call(request).await.unwrap();
        }
        net.faults("here").follow(bad_weather(seed));
        for key in KEYS {
            let number = session.number().unwrap();
            session.cast(Request { number: Some(number), ..call(verb::STREAM, key, &40_u64, 10 * SECOND) }, |_| ());
        }
        session.flush(60 * SECOND).await.unwrap();
        let mut state = session.state();
        soon("the drain", server.drain()).await;
        soon("the goodbye", state.wait_for(|state| !matches!(state, State::Connected))).await.unwrap();
        let items = mounted.0.heard().iter().filter(|heard| matches!(heard, Heard::Item(..))).count();
        assert_eq!(items, 2 * 40 * KEYS.len());
    }
}
