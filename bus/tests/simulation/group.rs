//! A queue group: its members stay to the end of the world, and each message comes to one of them.

use std::collections::HashMap;
use std::time::Duration;

use sinew_bus::{BacklogLimits, Bus, Delivery, Gap, SubscribeOptions, Subscription};
use sinew_testkit::random::Random;
use tokio::time::{sleep, timeout};

use crate::broken::{Invariant, Outcome};
use crate::history::History;
use crate::stage::{DEADLINE, Stage, pattern};
use crate::sum::{count_of_last, number_of};

/// What the group listens to.
const PATTERN: &str = "s.*";
/// In fair weather everything that waits has come after this much silence.
const SETTLED: Duration = Duration::from_secs(30);

/// A member at the end of the world.
pub(crate) struct Member {
    /// Kept, since dropping it would end the session.
    _bus: Bus,
    window: u64,
    subscription: Subscription,
    deliveries: Vec<Delivery>,
}

/// Joins the group and reads, now and then slowly, until the world ends.
pub(crate) async fn join(stage: Stage, mut random: Random) -> Outcome<Member> {
    let bus = stage.connect().await;
    let window = stage.window([600, 5_000, 200_000][random.below(3)]);
    let options = SubscribeOptions {
        window_bytes: window as usize,
        queue: BacklogLimits { records_max: [20, 100_000][random.below(2)], bytes_max: 1 << 20 },
        group: Some("g".into()),
        ..SubscribeOptions::default()
    };
    let subscription = loop {
        match timeout(DEADLINE, bus.subscribe_with(&pattern(PATTERN), options.clone())).await {
            Ok(Ok(subscription)) => break subscription,
            Ok(Err(error)) if error.is_retryable() => {}
            other => return Invariant::Ends.broken(format!("joining the group: {other:?}")),
        }
    };
    let mut member = Member { _bus: bus, window, subscription, deliveries: Vec::new() };
    loop {
        let next = tokio::select! {
            biased;
            () = stage.over() => return Ok(member),
            next = member.subscription.next() => next,
        };
        member.take(&stage, next)?;
        if random.once_in(30) {
            sleep(random.millis(300)).await;
        }
    }
}

impl Member {
    fn take(&mut self, stage: &Stage, next: Option<Delivery>) -> Outcome<()> {
        let Some(delivery) = next else {
            return Invariant::Ends
                .broken(format!("a member's session goes on, but it ended: {:?}", self.subscription.end()));
        };
        stage.trace.note(|| format!("member {}: {delivery:?}", self.window));
        self.deliveries.push(delivery);
        Ok(())
    }

    /// How many messages it heard of those that arrived at the last server.
    pub(crate) fn of_last(&self, history: &History) -> u64 {
        count_of_last(&self.deliveries, history)
    }

    /// Reads what still comes.
    pub(crate) async fn settle(&mut self, stage: &Stage) -> Outcome<()> {
        while let Ok(next) = timeout(SETTLED, self.subscription.next()).await {
            self.take(stage, next)?;
        }
        Ok(())
    }
}

/// Each message came to one member at most; and where nobody had to count anew, to one member or it was told to one.
pub(crate) fn check(members: &[Member], history: &History) -> Outcome<()> {
    let (mut by, mut count, mut exact, mut due) = (HashMap::new(), 0, true, 0);
    for member in members {
        let periods = history.periods(member.window, PATTERN);
        exact &= periods.len() == 1;
        due = due.max(periods.first().map_or(0, crate::history::Period::due));
        for delivery in &member.deliveries {
            match delivery {
                Delivery::Lagged(lost) | Delivery::Gap(Gap::Exact(lost)) => count += lost,
                Delivery::Gap(Gap::Unknown) => exact = false,
                Delivery::Message(message) => {
                    let number = number_of(message);
                    Invariant::Own.hold(history.has(number), || format!("{number:x} never arrived"))?;
                    let before = by.insert(number, member.window);
                    Invariant::Group.hold(before.is_none(), || {
                        format!("{number:x} came to the members {} and {before:?}", member.window)
                    })?;
                    count += 1;
                }
            }
        }
    }
    Invariant::Told.hold(!exact || count == due, || format!("{count} came to the group or were told, of {due}"))
}
