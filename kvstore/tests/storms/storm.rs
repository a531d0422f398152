//! A server that restarts and connections that are cut, from a seed, until there were enough of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use sinew_kvstore::{BucketConfig, Engine, Kv, KvBucket, KvLimits, MemoryEngine};
use sinew_session::{Entropy, Server, Session};
use sinew_testkit::net::Net;
use sinew_testkit::random::Random;
use sinew_testkit::setup::Setup;
use sinew_transport_api::{FaultControl, Faults};
use tokio::time::{sleep, timeout};

/// A storm that takes longer hangs.
const DEADLINE: Duration = Duration::from_secs(7 * 24 * 3_600);

/// Where a test's people stand.
#[derive(Clone, Debug)]
pub(crate) struct Storm {
    setup: Setup,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    /// Cuts and restarts so far.
    cuts: AtomicU64,
    /// It is calm after so many.
    cuts_wanted: u64,
    is_over: AtomicBool,
}

/// Runs `life` through a storm of so many cuts, in virtual time and on this thread alone.
pub(crate) fn storm<T>(seed: u64, cuts: u64, config: &BucketConfig, life: impl AsyncFnOnce(Storm) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime without IO");
    runtime.block_on(async {
        let mut random = Random::new(seed);
        let net = Net::default();
        let mut setup = Setup::on(&net, if random.once_in(2) { "mem://sea" } else { "wide://sea" });
        let mut source = Random::new(random.bits());
        setup.entropy = Entropy::drawn_from(move || source.bits());
        let engine = Arc::new(MemoryEngine::default());
        engine.create(&name(), config).await.expect("it is made");
        let server = setup.serve_kv_on(engine.clone(), KvLimits::default()).await;
        let state = State { cuts: AtomicU64::new(0), cuts_wanted: cuts, is_over: AtomicBool::new(false) };
        let storm = Storm { setup, state: Arc::new(state) };
        let weather = tokio::spawn(rage(storm.clone(), net.faults("sea"), server, engine, random));
        let outcome = timeout(DEADLINE, life(storm.clone())).await.expect("it comes to its end");
        storm.state.is_over.store(true, Ordering::Relaxed);
        weather.await.expect("no panic");
        outcome
    })
}

fn name() -> sinew_session::ResourceName {
    "sea".parse().expect("a name of this test")
}

async fn rage(
    mut storm: Storm,
    faults: FaultControl,
    mut server: Server,
    engine: Arc<MemoryEngine>,
    mut random: Random,
) {
    while !storm.state.is_over.load(Ordering::Relaxed) {
        sleep(random.millis(300)).await;
        if storm.is_calm() {
            faults.follow(Faults::default());
            continue;
        }
        match random.below(10) {
            0..=4 => {
                faults.cut();
                storm.state.cuts.fetch_add(1, Ordering::Relaxed);
            }
            5 => faults.follow(weather(&mut random)),
            6 if random.once_in(3) => {
                storm.state.cuts.fetch_add(1, Ordering::Relaxed);
                server.abort().await;
                sleep(random.millis(500)).await;
                server = storm.setup.serve_kv_on(engine.clone(), KvLimits::default()).await;
            }
            _ => {}
        }
    }
    server.abort().await;
}

fn weather(random: &mut Random) -> Faults {
    Faults {
        seed: random.bits(),
        cut_per_block: [0.0, 0.002, 0.01][random.below(3)],
        stall_per_block: [0.0, 0.01][random.below(2)],
        stall_for: Duration::from_millis(1)..Duration::from_millis([50, 800][random.below(2)]),
        delay: Duration::ZERO..Duration::from_millis([1, 10, 60][random.below(3)]),
        reorder_lanes: true,
    }
}

impl Storm {
    /// The bucket, through a connection of its own, however often it takes.
    pub(crate) async fn bucket(&self) -> KvBucket {
        loop {
            match Session::connect(&self.setup.endpoints[0], self.setup.session_options()).await {
                Ok(session) => return Kv::new(&session).expect("the first on its session").bucket(&name()),
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// Cuts and restarts so far.
    pub(crate) fn cuts(&self) -> u64 {
        self.state.cuts.load(Ordering::Relaxed)
    }

    /// Whether there were enough: nothing is cut any more.
    pub(crate) fn is_calm(&self) -> bool {
        self.cuts() >= self.state.cuts_wanted
    }
}
