//! The bus in bad weather, in virtual time and from a seed: random publishes, subscribes, ends, cuts, stalls, restarts
//! and slow readers, and a count kept at the server of what really arrived there.
//!
//! What must hold: order for each publisher and subject, no message twice, none from before the subscription, nothing
//! missing that is not told, sums that add up exactly while a server lives, and an end within a virtual deadline.
//! `SINEW_SEED` picks one seed, `SINEW_LONG=1` takes ten times as many. The weather follows from the seed alone; the
//! jitter of reconnects does not.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sinew_bus::{BacklogLimits, Broker, Bus, Delivery, Error, Gap, Pattern, Subject, SubscribeOptions, Subscription};
use sinew_session::{Error as SessionError, Session};
use sinew_testkit::net::Net;
use sinew_testkit::random::{Random, Telltale, seeds};
use sinew_testkit::setup::Setup;
use sinew_testkit::tap::{Arrival, Log, Tapped};
use sinew_transport_api::{Faults, LaneSet};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

const SUBJECTS: [&str; 5] = ["s.0", "s.1", "s.2", "s.3.x", "t"];
const PATTERNS: [&str; 6] = ["s.*", "s.>", ">", "s.1", "t", "*.*.x"];
/// A simulated world that takes longer hangs.
const DEADLINE: Duration = Duration::from_secs(3_600);

fn millis(random: &mut Random, max: usize) -> Duration {
    Duration::from_millis(random.below(max) as u64)
}

fn pattern(text: &str) -> Pattern {
    Pattern::try_from(text).unwrap()
}

fn subject(text: &str) -> Subject {
    Subject::try_from(text).unwrap()
}

/// Connects, however often it takes.
async fn connect(setup: &Setup) -> Bus {
    loop {
        match Session::connect(&setup.endpoints[0], setup.session_options()).await {
            Ok(session) => return Bus::new(&session).unwrap(),
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
}

/// What one publisher did.
struct Published {
    sent: u64,
    lost: u64,
    unknown: u64,
}

async fn publisher(setup: Setup, id: u64, mut random: Random, mut stop: watch::Receiver<bool>) -> (Bus, u64) {
    let bus = connect(&setup).await;
    let mut sent = 0;
    while !*stop.borrow() {
        for _ in 0..random.below(20) {
            let size = [16, 16, 16, 200, 3_000, 9_000, 140_000][random.below(7).min(random.below(7))];
            let mut body = vec![0; size];
            body[..8].copy_from_slice(&(id << 32 | sent).to_le_bytes());
            match bus.publish(&subject(SUBJECTS[random.below(SUBJECTS.len())]), body).await {
                Ok(()) => sent += 1,
                Err(Error::Session(SessionError::Disconnected { .. })) => break,
                Err(error) => panic!("publisher {id}: {error}"),
            }
        }
        if random.once_in(6) {
            match bus.flush().await {
                Ok(()) | Err(Error::Session(SessionError::Lost { .. } | SessionError::Timeout { .. })) => {}
                Err(error) => panic!("publisher {id}: {error}"),
            }
        }
        let pause = millis(&mut random, 120);
        tokio::select! { () = sleep(pause) => {}, _ = stop.changed() => {} }
    }
    (bus, sent)
}

/// One subscription, and what came.
struct Heard {
    pattern: &'static str,
    window: u64,
    deliveries: Vec<Delivery>,
    /// Still there, with whoever holds it.
    open: Option<Subscription>,
}

async fn read(heard: &mut Heard, random: &mut Random, until: Duration) {
    let subscription = heard.open.as_mut().expect("it is open");
    let slow = random.once_in(3);
    let all = async {
        while let Some(delivery) = subscription.next().await {
            heard.deliveries.push(delivery);
            if slow && random.once_in(4) {
                sleep(millis(random, 60)).await;
            }
        }
        panic!("the session goes on, but `{}` ended: {:?}", heard.pattern, subscription.end());
    };
    let _ = timeout(until, all).await;
}

async fn subscriber(
    setup: Setup,
    numbers: Arc<AtomicU64>,
    mut random: Random,
    mut stop: watch::Receiver<bool>,
) -> Vec<Heard> {
    let bus = connect(&setup).await;
    let mut all = Vec::new();
    while !*stop.borrow() {
        let (bytes, records) = ([600, 5_000, 200_000][random.below(3)], [5, 50, 100_000][random.below(3)]);
        let window = bytes + numbers.fetch_add(1, Ordering::Relaxed);
        let queue = BacklogLimits { records_max: records, bytes_max: 1 << 20 };
        let options = SubscribeOptions { window_bytes: window as usize, queue, ..SubscribeOptions::default() };
        let text = PATTERNS[random.below(PATTERNS.len())];
        let wished = pattern(text);
        let asking = bus.subscribe_with(&wished, options);
        let patience = if random.once_in(8) { Duration::from_millis(5) } else { DEADLINE };
        let subscription = match timeout(patience, asking).await {
            Err(_) => continue, // Given up: nothing of it may stay.
            Ok(Ok(subscription)) => subscription,
            Ok(Err(Error::Session(error))) if error.is_retryable() => continue,
            Ok(Err(error)) => panic!("{error}"),
        };
        let mut heard = Heard { pattern: text, window, deliveries: Vec::new(), open: Some(subscription) };
        let until = millis(&mut random, 6_000);
        tokio::select! { () = read(&mut heard, &mut random, until) => {}, _ = stop.changed() => {} }
        match random.below(3) {
            0 => drop(heard.open.take()),
            1 => {
                let open = heard.open.take().expect("it is open");
                let _ = timeout(millis(&mut random, 3_000), open.unsubscribe()).await;
            }
            _ => {}
        }
        all.push(heard);
    }
    all
}

fn weather(random: &mut Random, seed: u64) -> Faults {
    Faults {
        seed,
        cut_per_block: [0.0, 0.002, 0.01, 0.05][random.below(4)],
        stall_per_block: [0.0, 0.01, 0.05][random.below(3)],
        stall_for: Duration::from_millis(1)..Duration::from_millis([50, 800, 6_000][random.below(3)]),
        delay: Duration::ZERO..Duration::from_millis([1, 10, 60][random.below(3)]),
        reorder_lanes: true,
    }
}

/// A whole world.
async fn simulate(seed: u64) {
    let mut random = Random::new(seed);
    let net = Net::default();
    let url = if random.once_in(2) { "wide://sea" } else { "mem://sea" };
    let mut setup = Setup::on(&net, url);
    if random.once_in(3) {
        setup.limits.outbox_bytes_max = 20_000;
    }
    let (log, faults) = (Log::default(), net.faults("sea"));
    let mut broker = Arc::new(Broker::default());
    let mut server = setup.serve(vec![Arc::new(Tapped::new(broker.clone(), &log))]).await;
    let (stop, stopped) = watch::channel(false);
    let numbers = Arc::new(AtomicU64::new(1));
    faults.follow(weather(&mut random, seed));
    let publishers: Vec<_> = (0..1 + random.below(3) as u64)
        .map(|id| tokio::spawn(publisher(setup.clone(), id, Random::new(random.bits()), stopped.clone())))
        .collect();
    let subscribers: Vec<_> = (0..1 + random.below(4))
        .map(|_| tokio::spawn(subscriber(setup.clone(), numbers.clone(), Random::new(random.bits()), stopped.clone())))
        .collect();
    let restarts = random.once_in(2);
    for _ in 0..10 + random.below(20) {
        sleep(millis(&mut random, 1_500)).await;
        match random.below(8) {
            0 | 1 => drop(faults.cut()),
            2 => faults.stall(LaneSet::from(sinew_session::Lane(random.below(9) as u8))),
            3 => faults.resume(),
            4 => faults.down(),
            5 => faults.up(),
            6 => faults.follow(weather(&mut random, seed)),
            _ if restarts => {
                if random.once_in(2) {
                    server.drain().await
                } else {
                    server.abort().await
                }
                sleep(millis(&mut random, 2_000)).await;
                broker = Arc::new(Broker::default());
                server = setup.serve(vec![Arc::new(Tapped::new(broker.clone(), &log))]).await;
            }
            _ => {}
        }
    }
    faults.follow(Faults::default());
    faults.up();
    faults.resume();
    stop.send_replace(true);
    let mut published = Vec::new();
    let mut buses = Vec::new();
    for task in publishers {
        let (bus, sent) = task.await.expect("the publisher");
        for _ in 0..2 {
            match bus.flush().await {
                Ok(()) | Err(Error::Session(SessionError::Lost { .. })) => {}
                Err(error) => panic!("fair weather: {error}"),
            }
        }
        let losses = bus.session().losses();
        published.push(Published { sent, lost: losses.lost, unknown: losses.unknown });
        buses.push(bus);
    }
    let mut all = Vec::new();
    for task in subscribers {
        all.extend(task.await.expect("the subscriber"));
    }
    check_publishers(&log, &published, restarts);
    let history = History::of(&log);
    for heard in &mut all {
        check(&history, heard).await;
    }
    let open = all.iter().filter(|heard| heard.open.is_some()).count();
    while broker.subscriptions() != open {
        assert!(broker.subscriptions() > open, "all that are open stand");
        sleep(Duration::from_secs(1)).await;
    }
    server.abort().await;
}

fn check_publishers(log: &Log, published: &[Published], restarts: bool) {
    let mut arrived = HashMap::<u64, u64>::new();
    for arrival in log.all().iter() {
        if let Arrival::Publish(_, number) = arrival {
            *arrived.entry(number >> 32).or_default() += 1;
        }
    }
    for (id, Published { sent, lost, unknown }) in published.iter().enumerate() {
        let arrived = arrived.get(&(id as u64)).copied().unwrap_or(0);
        let told = format!("publisher {id}: {sent} sent, {arrived} arrived, {lost} lost, {unknown} unknown");
        assert!(arrived + lost <= *sent && arrived + lost + unknown >= *sent, "{told}");
        assert!(restarts || (*unknown == 0 && arrived + lost == *sent), "{told}");
    }
}

/// What arrived, by the life of the server in which it did.
struct History {
    lives: Vec<Vec<Arrival>>,
    /// Number of a message: its life, and its place there.
    places: HashMap<u64, (usize, usize)>,
}

impl History {
    fn of(log: &Log) -> Self {
        let (mut lives, mut places) = (Vec::<Vec<Arrival>>::new(), HashMap::new());
        for arrival in log.all().iter() {
            if let Arrival::Publish(_, number) = arrival {
                let place = (lives.len() - 1, lives.last().expect("it began").len());
                assert_eq!(places.insert(*number, place), None, "message {number:x} arrived twice");
            }
            match arrival {
                Arrival::Start => lives.push(Vec::new()),
                other => lives.last_mut().expect("it began").push(other.clone()),
            }
        }
        Self { lives, places }
    }

    /// Places of the messages that the subscription was to hear in a life; `None` if it never stood in it.
    fn matching(&self, life: usize, heard: &Heard) -> Option<Vec<usize>> {
        let arrivals = &self.lives[life];
        let is = |arrival: &Arrival, wanted: Option<bool>| {
            matches!(arrival, Arrival::Subscribe { window, again } if *window == heard.window
                && wanted.is_none_or(|wanted| wanted == *again))
        };
        let fresh = arrivals.iter().rposition(|arrival| is(arrival, Some(false)));
        let start = fresh.or_else(|| arrivals.iter().position(|arrival| is(arrival, None)))?;
        let pattern = pattern(heard.pattern);
        let hears = |arrival: &Arrival| match arrival {
            Arrival::Publish(name, _) => pattern.matches(&subject(name)),
            _ => false,
        };
        Some((start..arrivals.len()).filter(|place| hears(&arrivals[*place])).collect())
    }
}

/// Reads to the end what is open, and goes through everything that came.
async fn check(history: &History, heard: &mut Heard) {
    let last = history.lives.len() - 1;
    let matching: Vec<_> = (0..=last).map(|life| history.matching(life, heard)).collect();
    let expected = |life: usize| matching[life].as_ref().map_or(0, |matching| matching.len() as u64);
    let text = heard.pattern;
    let (mut life, mut count) = (None, 0_u64);
    let mut newest = HashMap::<(u64, Subject), u64>::new();
    let mut index = 0;
    let total = expected(last);
    loop {
        if index == heard.deliveries.len() {
            let Some(open) = &mut heard.open else { break };
            let done = life.unwrap_or(last) == last && count == total;
            if done && life.is_some() || done && total == 0 && history.lives.len() == 1 {
                break;
            }
            let next = timeout(Duration::from_secs(120), open.next()).await;
            let context = || format!("`{text}`: {count} of {total} in life {life:?} of {last}");
            match next {
                Ok(delivery) => heard.deliveries.push(delivery.unwrap_or_else(|| panic!("it ended; {}", context()))),
                // Not told a life by any message: nothing has come since the last gap, and nothing had to.
                Err(_) => {
                    assert!(life.is_none() && count == total, "nothing comes any more; {}", context());
                    break;
                }
            }
        }
        match &heard.deliveries[index] {
            Delivery::Lagged(lost) | Delivery::Gap(Gap::Exact(lost)) => count += lost,
            Delivery::Gap(Gap::Unknown) => (life, count) = (None, 0),
            Delivery::Message(message) => {
                let number = u64::from_le_bytes(*message.body.first_chunk().unwrap());
                let (at, place) = history.places[&number];
                assert_eq!(*life.get_or_insert(at), at, "a message of another life without a gap");
                let matching = matching[at].as_ref().expect("it stood");
                assert!(matching.binary_search(&place).is_ok(), "message {number:x} is not for `{text}`");
                let before = newest.insert((number >> 32, message.subject.clone()), number);
                assert!(before.is_none_or(|before| before < number), "{before:x?} before {number:x}");
                count += 1;
            }
        }
        assert!(life.is_none_or(|life| count <= expected(life)), "more was told than there was: {count}");
        index += 1;
    }
}

#[tokio::test(start_paused = true)]
async fn everything_is_heard_or_told() {
    for seed in seeds(300) {
        let _telltale = Telltale(seed);
        timeout(DEADLINE, simulate(seed)).await.expect("the world comes to its end");
    }
}
