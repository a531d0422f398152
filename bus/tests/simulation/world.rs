//! A world from a seed: a server, those who speak, ask and listen, bad weather, and at the end the account of it all.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use sinew_bus::{Broker, BusLimits};
use sinew_session::{Entropy, Lane, Server};
use sinew_testkit::net::Net;
use sinew_testkit::random::Random;
use sinew_testkit::setup::Setup;
use sinew_testkit::tap::{Log, Tapped};
use sinew_testkit::trace::Trace;
use sinew_transport_api::{FaultControl, Faults, LaneSet};
use tokio::time::{sleep, timeout};

use crate::broken::{Invariant, Outcome};
use crate::people::People;
use crate::stage::{DEADLINE, Stage};

/// Lives through the world of this seed, in virtual time and on this thread alone.
pub(crate) fn run(seed: u64, trace: &Trace) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime without IO");
    let life = || {
        runtime.block_on(async {
            trace.begin();
            timeout(DEADLINE, World::new(seed, trace).live()).await
        })
    };
    match catch_unwind(AssertUnwindSafe(life)) {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_elapsed)) => Invariant::Ends.broken("the world does not come to its end"),
        Err(_panic) => Invariant::Sound.broken("a panic, told above"),
    }
}

pub(crate) struct World {
    random: Random,
    seed: u64,
    trace: Trace,
    setup: Setup,
    bus_limits: BusLimits,
    faults: FaultControl,
    pub(crate) log: Log,
    /// One data lane: everything has its place.
    pub(crate) narrow: bool,
    pub(crate) restarts: bool,
    /// Cut sessions are forgotten soon, so that nobody has counted.
    pub(crate) forgetful: bool,
}

impl World {
    fn new(seed: u64, trace: &Trace) -> Self {
        let mut random = Random::new(seed);
        let net = Net::traced(trace);
        let narrow = !random.once_in(2);
        let mut setup = Setup::on(&net, if narrow { "mem://sea" } else { "wide://sea" });
        let mut source = Random::new(random.bits());
        setup.entropy = Entropy::drawn_from(move || source.bits());
        if random.once_in(3) {
            setup.limits.outbox_bytes_max = 20_000;
        }
        if random.once_in(3) {
            // Two blocks: what a writer has taken waits outside the transport.
            setup.queue_bytes_max = 512 * 1024;
        }
        let forgetful = random.once_in(4);
        if forgetful {
            setup.limits.resume_window = Duration::from_secs(2);
        }
        let mut bus_limits = BusLimits::default();
        if random.once_in(3) {
            bus_limits.publish_window_bytes = 64 * 1024;
        }
        let (faults, restarts) = (net.faults("sea"), random.once_in(2));
        let (trace, log) = (trace.clone(), Log::default());
        Self { random, seed, trace, setup, bus_limits, faults, log, narrow, restarts, forgetful }
    }

    async fn serve(&mut self) -> (Arc<Broker>, Server) {
        let broker = Arc::new(Broker::new(self.bus_limits.clone()));
        let server = self.setup.serve(vec![Arc::new(Tapped::new(broker.clone(), &self.log))]).await;
        (broker, server)
    }

    async fn live(mut self) -> Outcome<()> {
        let (mut broker, mut server) = self.serve().await;
        let stage = Stage {
            setup: self.setup.clone(),
            trace: self.trace.clone(),
            end: Arc::default(),
            windows: Arc::default(),
            asked: Default::default(),
        };
        let weather = self.weather();
        self.faults.follow(weather);
        let people = People::enter(&stage, &mut self.random);
        for _ in 0..8 + self.random.below(16) {
            sleep(self.random.millis(1_500)).await;
            if self.change_weather() {
                match self.random.once_in(2) {
                    true => server.drain().await,
                    false => server.abort().await,
                }
                sleep(self.random.millis(2_000)).await;
                (broker, server) = self.serve().await;
            }
        }
        self.faults.follow(Faults::default());
        self.faults.up();
        self.faults.resume();
        stage.end.come();
        people.account(&self, &stage, &broker).await?;
        server.abort().await;
        Ok(())
    }

    /// What happens next; whether that is a restart.
    fn change_weather(&mut self) -> bool {
        let what = self.random.below(8);
        self.trace.note(|| format!("weather {what}"));
        match what {
            0 | 1 => drop(self.faults.cut()),
            2 => self.faults.stall(LaneSet::from(Lane(self.random.below(9) as u8))),
            3 => self.faults.resume(),
            4 => self.faults.down(),
            5 => self.faults.up(),
            6 => {
                let weather = self.weather();
                self.faults.follow(weather);
            }
            _ => return self.restarts,
        }
        false
    }

    fn weather(&mut self) -> Faults {
        let random = &mut self.random;
        Faults {
            seed: self.seed,
            cut_per_block: [0.0, 0.002, 0.01, 0.05][random.below(4)],
            stall_per_block: [0.0, 0.01, 0.05][random.below(3)],
            stall_for: Duration::from_millis(1)..Duration::from_millis([50, 800, 6_000][random.below(3)]),
            delay: Duration::ZERO..Duration::from_millis([1, 10, 60][random.below(3)]),
            reorder_lanes: true,
        }
    }
}
