//! Everybody in a world, and the account that is taken at its end.

use std::time::Duration;

use sinew_bus::Broker;
use sinew_testkit::random::Random;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{sleep, timeout};

use crate::asking::{ask, respond};
use crate::broken::{Broken, Invariant, Outcome};
use crate::group::{self, Member};
use crate::history::History;
use crate::keeper::{Confirmed, keep};
use crate::publisher::{Published, publish};
use crate::stage::Stage;
use crate::subscriber::{Subscribed, subscribe};
use crate::world::World;

/// Sessions whose end was lost are forgotten by then.
const FORGOTTEN: Duration = Duration::from_secs(120);

type Tasks<T> = Vec<JoinHandle<Outcome<T>>>;

/// Everybody, while the world goes on.
pub(crate) struct People {
    publishers: Tasks<Published>,
    keepers: Tasks<Confirmed>,
    subscribers: Tasks<Subscribed>,
    members: Tasks<Member>,
    /// Those who ask and those who answer.
    others: Tasks<()>,
}

impl People {
    /// They come: at least one who publishes and one who subscribes, the others in some worlds.
    pub(crate) fn enter(stage: &Stage, random: &mut Random) -> Self {
        let mut draw = |least: usize, most: usize| {
            let count = least + random.below(most + 1 - least);
            (0..count as u64).map(|id| (id, Random::new(random.bits()))).collect::<Vec<_>>()
        };
        let publishers = draw(1, 3).into_iter().map(|(id, random)| tokio::spawn(publish(stage.clone(), id, random)));
        let publishers = publishers.collect();
        let keepers = draw(0, 1).into_iter().map(|(id, random)| tokio::spawn(keep(stage.clone(), id, random)));
        let keepers = keepers.collect();
        let subscribers = draw(1, 3).into_iter().map(|(_, random)| tokio::spawn(subscribe(stage.clone(), random)));
        let subscribers = subscribers.collect();
        let members = draw(0, 3).into_iter().map(|(_, random)| tokio::spawn(group::join(stage.clone(), random)));
        let members = members.collect();
        let responders = draw(0, 2).into_iter().map(|(id, random)| tokio::spawn(respond(stage.clone(), id, random)));
        let mut others: Tasks<()> = responders.collect();
        others.extend(draw(0, 2).into_iter().map(|(id, random)| tokio::spawn(ask(stage.clone(), id, random))));
        Self { publishers, keepers, subscribers, members, others }
    }

    /// In fair weather, when everybody has had their say: does it add up?
    pub(crate) async fn account(self, world: &World, stage: &Stage, broker: &Broker) -> Outcome<()> {
        let (published, confirmed) = (all(self.publishers).await?, all(self.keepers).await?);
        let (mut subscribed, mut members) = (all(self.subscribers).await?, all(self.members).await?);
        all(self.others).await?;
        for publisher in &published {
            publisher.flush().await?;
        }
        for keeper in &confirmed {
            keeper.flush().await?;
        }
        for subscriber in &subscribed {
            subscriber.settle().await?;
        }
        for member in &mut members {
            member.settle(stage).await?;
        }
        let history = History::of(&world.log)?;
        for publisher in &published {
            publisher.check(&history, world.restarts || world.forgetful)?;
        }
        for keeper in &confirmed {
            keeper.check(&history).await?;
        }
        for heard in subscribed.iter_mut().flat_map(|subscriber| &mut subscriber.heard) {
            heard.check(&history, world.narrow).await?;
        }
        group::check(&members, &history)?;
        for keeper in &confirmed {
            keeper.check_receipts(&history)?;
        }
        let open = subscribed.iter().flat_map(|subscriber| &subscriber.heard).filter(|heard| heard.is_open()).count();
        clean(broker, open + members.len()).await?;
        let heard = subscribed.iter().flat_map(|subscriber| &subscriber.heard).map(|heard| heard.of_last(&history));
        let heard: u64 = heard.chain(members.iter().map(|member| member.of_last(&history))).sum();
        books(broker, &history, heard)
    }
}

/// What is over leaves nothing behind.
async fn clean(broker: &Broker, open: usize) -> Outcome<()> {
    let cleaned = async {
        while broker.subscriptions() > open {
            sleep(Duration::from_secs(1)).await;
        }
    };
    let _ = timeout(FORGOTTEN, cleaned).await;
    let standing = broker.subscriptions();
    Invariant::Clean.hold(standing == open, || format!("{standing} subscriptions stand, {open} are open"))
}

/// The server's own account: it adds up, and agrees with what arrived and was heard.
fn books(broker: &Broker, history: &History, heard: u64) -> Outcome<()> {
    let sums = broker.accounting(None);
    let right = sums.is_balanced() && sums.queued == 0 && sums.delivered >= heard;
    let right = right && sums.published == history.arrived_last();
    Invariant::Account
        .hold(right, || format!("{} arrived, {heard} were heard, nothing waits, and {sums:?}", history.arrived_last()))
}

/// Waits for all of them; the first that broke something tells.
async fn all<T>(tasks: Tasks<T>) -> Outcome<Vec<T>> {
    let mut outcomes = Vec::new();
    for task in tasks {
        let panicked = |error: JoinError| Broken { invariant: Invariant::Sound, what: error.to_string() };
        outcomes.push(task.await.map_err(panicked)??);
    }
    Ok(outcomes)
}
