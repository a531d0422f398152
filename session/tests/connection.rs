//! What happens to a session when its connection does not last: liveness, reconnect, restore, resume, losses.

use std::sync::Arc;
use std::time::Duration;

use sinew_session::{Error, Losses, Server, Session, State};
use sinew_testkit::echo::{ECHO, Echo, Heard, Mounted, Seen, count, echo};
use sinew_testkit::net::Net;
use sinew_testkit::setup::{Setup, soon};
use sinew_transport_api::auth::{Admit, Candidate, PeerKey, Refusal};
use sinew_transport_api::{LaneSet, ListenOptions, Security};
use tokio::time::{Instant, sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);

struct World {
    net: Net,
    setup: Setup,
    service: Echo,
    server: Server,
    session: Session,
}

impl World {
    async fn new(scheme: &str) -> Self {
        let net = Net::default();
        let setup = Setup::on(&net, &format!("{scheme}://here"));
        Self::with(net, setup).await
    }

    async fn with(net: Net, mut setup: Setup) -> Self {
        let service = Echo::default();
        let server = setup.serve(vec![Arc::new(service.clone())]).await;
        let session = setup.session().await;
        Self { net, setup, service, server, session }
    }

    async fn until(&self, wanted: impl FnMut(&State) -> bool) {
        soon("the state", self.session.state().wait_for(wanted)).await.expect("the session lives");
    }

    async fn cut_and_back(&self) {
        self.net.faults("here").cut();
        self.until(|state| matches!(state, State::Reconnecting)).await;
        self.until(|state| matches!(state, State::Connected)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_lives_for_an_hour() {
    let world = World::new("mem").await;
    let mut state = world.session.state();
    state.mark_unchanged();
    sleep(3_600 * SECOND).await;
    assert!(!state.has_changed().unwrap(), "it was never cut");
    assert_eq!((world.server.connections(), world.server.sessions()), (1, 1));
    echo(&world.session, "still here").await.unwrap();
}

/// Both ends notice, five seconds after the last byte and no later than a moment after that.
#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_lost_after_five_seconds() {
    for late in [0, 130, 770] {
        let world = World::new("mem").await;
        sleep(Duration::from_millis(1_000 + late)).await;
        echo(&world.session, "the last word").await.unwrap();
        let begun = Instant::now();
        let faults = world.net.faults("here");
        faults.stall(LaneSet::first(32));
        world.until(|state| matches!(state, State::Reconnecting)).await;
        let took = begun.elapsed();
        assert!((5 * SECOND..5 * SECOND + SECOND / 20).contains(&took), "{took:?}");
        faults.resume();
        world.until(|state| matches!(state, State::Connected)).await;
        echo(&world.session, "back").await.unwrap();
        assert_eq!(world.server.sessions(), 1, "the old one was taken up again");
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_come_back_within_the_bounds_of_the_back_off() {
    let world = World::new("mem").await;
    let faults = world.net.faults("here");
    for down in [SECOND / 10, SECOND, 60 * SECOND] {
        faults.down();
        world.until(|state| matches!(state, State::Reconnecting)).await;
        sleep(down).await;
        faults.up();
        let up = Instant::now();
        world.until(|state| matches!(state, State::Connected)).await;
        let backoff = sinew_session::Backoff::default();
        assert!(up.elapsed() <= backoff.max.min(2 * down + backoff.first), "{down:?}: {:?}", up.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_restored_stands_before_new_work_is_sent() {
    for scheme in ["mem", "wide"] {
        let world = World::new(scheme).await;
        let mounted = Mounted::default();
        world.session.mount(ECHO, Arc::new(mounted.clone())).unwrap();
        let faults = world.net.faults("here");
        faults.down();
        world.until(|state| matches!(state, State::Reconnecting)).await;
        for number in 0..100_u64 {
            count(&world.session, &number.to_le_bytes(), number).await.unwrap();
        }
        faults.up();
        world.until(|state| matches!(state, State::Connected)).await;
        world.session.flush(10 * SECOND).await.unwrap();
        let seen = world.service.seen().clone();
        assert_eq!((seen.len(), &seen[0]), (101, &Seen::Call("restore".into())));
        assert_eq!(mounted.0.heard(), [Heard::Disconnected, Heard::Restored(true, true)]);
    }
}

/// The calls that wait for the restore must not keep it from ending, however many they are.
#[tokio::test(start_paused = true)]
async fn a_restore_goes_through_when_all_calls_are_in_use() {
    let net = Net::default();
    let mut setup = Setup::on(&net, "mem://here");
    setup.limits.calls_max = 1;
    let world = World::with(net, setup).await;
    let mounted = Mounted::default();
    world.session.mount(ECHO, Arc::new(mounted.clone())).unwrap();
    world.net.faults("here").down();
    world.until(|state| matches!(state, State::Reconnecting)).await;
    let caller = world.session.clone();
    let waiting = tokio::spawn(async move { echo(&caller, "waiting").await });
    sleep(SECOND).await;
    world.net.faults("here").up();
    soon("the call behind the restore", waiting).await.unwrap().unwrap();
    assert_eq!(mounted.0.heard(), [Heard::Disconnected, Heard::Restored(true, true)]);
}

#[tokio::test(start_paused = true)]
async fn work_is_buffered_while_disconnected_up_to_the_bound() {
    let net = Net::default();
    let mut setup = Setup::on(&net, "mem://here");
    setup.limits.outbox_bytes_max = 10_000;
    let world = World::with(net, setup).await;
    world.net.faults("here").down();
    world.until(|state| matches!(state, State::Reconnecting)).await;
    let mut packed = 0_u64;
    let error = loop {
        match soon("packing", count(&world.session, b"key", packed)).await {
            Ok(()) => packed += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Disconnected { bytes, .. } if bytes >= 10_000), "{error}");
    assert!(error.is_retryable() && (300..400).contains(&packed), "{packed}");
    world.net.faults("here").up();
    world.until(|state| matches!(state, State::Connected)).await;
    world.session.flush(10 * SECOND).await.unwrap();
    assert_eq!(world.service.counted(b"key"), (0..packed).collect::<Vec<_>>());
    assert_eq!(world.session.losses(), Losses::default());
}

/// What arrived and what is told as lost are together what was sent, and it is told once.
#[tokio::test(start_paused = true)]
async fn losses_in_a_cut_are_exact_and_told_once() {
    for scheme in ["mem", "wide"] {
        let world = World::new(scheme).await;
        let faults = world.net.faults("here");
        let (mut sent, mut told) = (0_u64, 0);
        for round in 0..30 {
            faults.stall(LaneSet::first(32));
            for _ in 0..100 {
                count(&world.session, &sent.to_le_bytes(), sent).await.unwrap();
                sent += 1;
                if sent % (10 + round) == 0 {
                    tokio::task::yield_now().await;
                }
            }
            tokio::task::yield_now().await;
            faults.cut();
            faults.resume();
            world.until(|state| matches!(state, State::Reconnecting)).await;
            match world.session.flush(10 * SECOND).await {
                Ok(()) => {}
                Err(Error::Lost { lost, unknown: 0 }) => told += lost,
                Err(error) => panic!("{error}"),
            }
            let arrived = world.service.seen().len() as u64;
            assert_eq!(arrived + told, sent, "{scheme}, round {round}");
            world.session.flush(10 * SECOND).await.expect("it was told once");
        }
        assert!(told > 100, "{told}: something was cut off");
        assert_eq!(world.session.losses(), Losses { lost: told, unknown: 0 });
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_the_fate_of_what_was_not_confirmed_is_unknown() {
    let mut world = World::new("mem").await;
    for number in 0..100 {
        count(&world.session, b"key", number).await.unwrap();
    }
    world.session.flush(10 * SECOND).await.unwrap();
    sleep(3 * SECOND).await; // Heartbeats tell what arrived.
    for number in 100..150 {
        count(&world.session, b"key", number).await.unwrap();
    }
    tokio::task::yield_now().await;
    world.server.abort().await;
    world.server = world.setup.serve(vec![Arc::new(world.service.clone())]).await;
    let error = world.session.flush(30 * SECOND).await.unwrap_err();
    let Error::Lost { lost: 0, unknown } = error else { panic!("{error}") };
    let arrived = world.service.counted(b"key").len() as u64;
    assert!(150 - arrived <= unknown && unknown <= 50, "{unknown} of which {} are gone", 150 - arrived);
    world.session.flush(10 * SECOND).await.expect("it was told once");
    count(&world.session, b"key", 150).await.unwrap();
    world.session.flush(10 * SECOND).await.unwrap();
    assert_eq!(world.service.counted(b"key").last(), Some(&150));
}

#[tokio::test(start_paused = true)]
async fn a_session_is_resumed_within_the_window_and_new_after_it() {
    let world = World::new("mem").await;
    let mounted = Mounted::default();
    world.session.mount(ECHO, Arc::new(mounted.clone())).unwrap();
    let faults = world.net.faults("here");
    for (down, resumed) in [(30, true), (70, false), (50, true)] {
        faults.down();
        world.until(|state| matches!(state, State::Reconnecting)).await;
        sleep(down * SECOND).await;
        assert_eq!(world.server.sessions(), usize::from(resumed), "{down} s");
        faults.up();
        world.until(|state| matches!(state, State::Connected)).await;
        assert_eq!(mounted.0.heard().last(), Some(&Heard::Restored(resumed, true)), "{down} s");
        assert_eq!((world.server.connections(), world.server.sessions()), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_resume_window_nothing_is_remembered_and_nothing_spins() {
    let net = Net::default();
    let mut setup = Setup::on(&net, "mem://here");
    setup.limits.resume_window = Duration::ZERO;
    let world = World::with(net, setup).await;
    world.cut_and_back().await;
    sleep(10 * SECOND).await;
    assert_eq!(world.server.sessions(), 1);
    echo(&world.session, "new").await.unwrap();
}

/// The client comes back before the server has noticed that the old connection is dead.
#[tokio::test(start_paused = true)]
async fn a_half_open_connection_is_taken_over() {
    let net = Net::default();
    let mut setup = Setup::on(&net, "mem://here");
    setup.limits.lost_after = 60 * SECOND;
    let service = Echo::default();
    let server = setup.serve(vec![Arc::new(service.clone())]).await;
    setup.limits.lost_after = 2 * SECOND;
    let session = setup.session().await;
    let mounted = Mounted::default();
    session.mount(ECHO, Arc::new(mounted.clone())).unwrap();
    let faults = net.faults("here");
    faults.stall(LaneSet::first(32));
    let mut state = session.state();
    soon("the silence", state.wait_for(|state| matches!(state, State::Reconnecting))).await.unwrap();
    faults.resume();
    soon("the reconnect", state.wait_for(|state| matches!(state, State::Connected))).await.unwrap();
    assert_eq!(mounted.0.heard().last(), Some(&Heard::Restored(true, true)));
    echo(&session, "over the new one").await.unwrap();
    sleep(10 * SECOND).await;
    assert_eq!((server.connections(), server.sessions()), (1, 1));
}

/// Admits the first so many and then nobody.
#[derive(Debug)]
struct First(std::sync::atomic::AtomicUsize);

impl Admit for First {
    fn admit(&self, _: &Candidate<'_>) -> Result<Option<PeerKey>, Refusal> {
        let left =
            self.0.fetch_update(std::sync::atomic::Ordering::Relaxed, std::sync::atomic::Ordering::Relaxed, |left| {
                left.checked_sub(1)
            });
        left.map(|_| None).map_err(|_| Refusal::Anonymous)
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_time_does_not_heal_ends_the_session() {
    let net = Net::default();
    let setup = Setup::on(&net, "mem://here");
    let admit = Arc::new(First(2.into()));
    let _server = sinew_session::ServerBuilder::new(net.registry())
        .listen(setup.endpoints[0].clone(), ListenOptions::new(Security::Plaintext, admit))
        .executor(setup.executor)
        .start()
        .await
        .unwrap();
    let session = setup.session().await;
    let mounted = Mounted::default();
    session.mount(ECHO, Arc::new(mounted.clone())).unwrap();
    let faults = net.faults("here");
    faults.cut();
    soon("the reconnect", async {
        let mut state = session.state();
        state.wait_for(|state| matches!(state, State::Reconnecting)).await.unwrap();
        state.wait_for(|state| matches!(state, State::Connected)).await.unwrap();
    })
    .await;
    faults.cut();
    let mut state = session.state();
    let ended = soon("the end", state.wait_for(|state| matches!(state, State::Ended(_)))).await.unwrap().clone();
    let State::Ended(Error::Transport(error)) = ended else { panic!("{ended:?}") };
    assert!(matches!(*error, sinew_transport_api::Error::Refused { .. }), "{error}");
    assert!(matches!(mounted.0.heard().last(), Some(Heard::Ended(why)) if why.contains("listed key")));
    assert!(matches!(echo(&session, "too late").await, Err(Error::Transport(_))));
    assert!(matches!(setup.try_session(0).await, Err(Error::Transport(_))));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_never_comes_during_a_restore_does_not_hang_it() {
    let world = World::new("wide").await;
    let mounted = Mounted::default();
    world.session.mount(ECHO, Arc::new(mounted.clone())).unwrap();
    let faults = world.net.faults("here");
    // Control and with it the heartbeats pass, the data lanes do not.
    let mut data = LaneSet::first(32);
    data.remove(sinew_session::Lane::CONTROL);
    faults.stall(data);
    faults.cut();
    world.until(|state| matches!(state, State::Reconnecting)).await;
    sleep(15 * SECOND).await;
    faults.resume();
    timeout(30 * SECOND, world.until(|state| matches!(state, State::Connected)))
        .await
        .expect("it gives up and tries again");
    assert_eq!(mounted.0.heard().last(), Some(&Heard::Restored(true, true)));
    echo(&world.session, "works").await.unwrap();
}
