//! A world from a seed: a server that restarts, bad weather, and clients.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sinew_kvstore::{BucketConfig, Change, Engine, Kv, KvBucket, KvLimits, PageLimits};
use sinew_session::{Entropy, Lane, Session};
use sinew_testkit::net::Net;
use sinew_testkit::random::Random;
use sinew_testkit::setup::Setup;
use sinew_transport_api::{FaultControl, Faults, LaneSet};
use tokio::time::{sleep, timeout};

use crate::client::Client;
use crate::history::History;
use crate::rounds::Rounds;

/// A world that takes longer hangs.
const DEADLINE: Duration = Duration::from_secs(24 * 3_600);
const CLIENTS: usize = 4;

/// What a world is to have.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Of all clients.
    pub(crate) operations: usize,
    pub(crate) keys: usize,
    /// The engine answers with old values now and then.
    pub(crate) stale: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self { operations: 60, keys: 3, stale: false }
    }
}

/// Lives through the world of this seed, in virtual time and on this thread alone.
pub(crate) fn run(seed: u64, plan: &Plan) -> History {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime without IO");
    runtime.block_on(async { timeout(DEADLINE, live(seed, plan)).await.expect("the world comes to its end") })
}

async fn live(seed: u64, plan: &Plan) -> History {
    let mut random = Random::new(seed);
    let net = Net::default();
    let mut setup = Setup::on(&net, if random.once_in(2) { "mem://sea" } else { "wide://sea" });
    let mut source = Random::new(random.bits());
    setup.entropy = Entropy::drawn_from(move || source.bits());
    let faults = net.faults("sea");
    let engine = Arc::new(Rounds::new(Random::new(random.bits()), plan.stale));
    let name = "world".parse().expect("a name of this test");
    engine.create(&name, &BucketConfig::default()).await.expect("it is made");
    let mut server = setup.serve_kv_on(engine.clone(), KvLimits::default()).await;

    let clock = Arc::<AtomicU64>::default();
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let operations = plan.operations / CLIENTS + usize::from(number < plan.operations % CLIENTS);
        let (random, clock) = (Random::new(random.bits()), clock.clone());
        let client = Client {
            number,
            bucket: connect(&setup).await,
            random,
            clock,
            keys: plan.keys,
            operations,
            known: BTreeMap::new(),
            next: 0,
        };
        clients.push(tokio::spawn(client.live()));
    }
    faults.follow(weather(&mut random, seed));
    let mut cuts = 0;
    while clients.iter().any(|client| !client.is_finished()) {
        sleep(random.millis(400)).await;
        match random.below(8) {
            0 | 1 => {
                faults.cut();
                cuts += 1;
            }
            2 => faults.stall(LaneSet::from(Lane(random.below(9) as u8))),
            3 => faults.resume(),
            4 => faults.follow(weather(&mut random, seed)),
            5 if random.once_in(2) => {
                cuts += 1;
                server.abort().await;
                engine.crash();
                sleep(random.millis(300)).await;
                server = setup.serve_kv_on(engine.clone(), KvLimits::default()).await;
            }
            _ => {}
        }
    }
    let mut history = History { cuts, twins: engine.twins(), ..History::default() };
    for client in clients {
        history.events.extend(client.await.expect("no panic"));
    }
    history.events.sort_by_key(|event| event.begun);
    history.log = log(&engine, &name).await;
    let _ = clock.load(Ordering::Relaxed);
    heal(&faults);
    server.abort().await;
    history
}

async fn connect(setup: &Setup) -> KvBucket {
    let session = Session::connect(&setup.endpoints[0], setup.session_options()).await.expect("fair weather");
    Kv::new(&session).expect("the first on its session").bucket(&"world".parse().expect("a name of this test"))
}

fn heal(faults: &FaultControl) {
    faults.follow(Faults::default());
    faults.up();
    faults.resume();
}

fn weather(random: &mut Random, seed: u64) -> Faults {
    Faults {
        seed,
        cut_per_block: [0.0, 0.002, 0.01, 0.03][random.below(4)],
        stall_per_block: [0.0, 0.01, 0.05][random.below(3)],
        stall_for: Duration::from_millis(1)..Duration::from_millis([50, 800, 6_000][random.below(3)]),
        delay: Duration::ZERO..Duration::from_millis([1, 10, 60][random.below(3)]),
        reorder_lanes: true,
    }
}

/// What is stored in the end.
async fn log(engine: &Rounds, name: &sinew_session::ResourceName) -> BTreeMap<u64, (String, Option<u64>)> {
    let bucket = engine.bucket(name).await.expect("it is there");
    let limits = PageLimits { bytes_max: usize::MAX, items_max: usize::MAX, keys_only: false };
    let page = bucket.changes(1, limits).await.expect("all changes are kept");
    let number = |change: &Change| match change {
        Change::Put { value, .. } => Some(u64::from_le_bytes(value[..].try_into().expect("a number of this test"))),
        Change::Gone(_) => None,
    };
    page.changes.iter().map(|change| (change.revision, (change.key.to_string(), number(&change.change)))).collect()
}
