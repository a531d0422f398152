//! Somebody who subscribes again and again, reads fast or slowly, and leaves in every way there is.

use std::time::Duration;

use sinew_bus::{BacklogLimits, Bus, Delivery, Overflow, SubscribeOptions, Subscription, Tally};
use sinew_testkit::random::Random;
use sinew_testkit::trace::Trace;
use tokio::time::{sleep, timeout};

use crate::broken::{Broken, Invariant, Outcome};
use crate::history::{History, Period};
use crate::stage::{DEADLINE, PATTERNS, Stage, pattern};
use crate::sum::{Sum, count_of_last};

/// In fair weather what is due has come after this: the longest stall of a block, and reconnecting.
const SETTLED: Duration = Duration::from_secs(30);

/// A subscriber that has heard enough.
pub(crate) struct Subscribed {
    bus: Bus,
    pub(crate) heard: Vec<Heard>,
}

/// One subscription, and what came.
pub(crate) struct Heard {
    pattern: &'static str,
    /// Each has another: it names the subscription in the server's log.
    window: u64,
    overflow: Overflow,
    deliveries: Vec<Delivery>,
    /// Still there, with whoever holds it.
    open: Option<Subscription>,
    /// What the server had counted when it was ended.
    tally: Option<Tally>,
}

/// Subscribes until the world ends.
pub(crate) async fn subscribe(stage: Stage, mut random: Random) -> Outcome<Subscribed> {
    let bus = stage.connect().await;
    let mut all = Vec::new();
    while !stage.is_over() {
        let options = wish(&stage, &mut random);
        let text = PATTERNS[random.below(PATTERNS.len())];
        let wished = pattern(text);
        let patience = if random.once_in(8) { Duration::from_millis(5) } else { DEADLINE };
        let subscription = match timeout(patience, bus.subscribe_with(&wished, options.clone())).await {
            Err(_) => continue, // Given up: nothing of it may stay.
            Ok(Ok(subscription)) => subscription,
            Ok(Err(error)) if error.is_retryable() => continue,
            Ok(Err(error)) => return Invariant::Ends.broken(error.to_string()),
        };
        let (window, overflow) = (options.window_bytes as u64, options.overflow);
        let mut heard = Heard::new(text, window, overflow, subscription);
        heard.read_for_a_while(&stage, &mut random).await?;
        heard.leave(&stage.trace, &mut random).await;
        all.push(heard);
    }
    Ok(Subscribed { bus, heard: all })
}

fn wish(stage: &Stage, random: &mut Random) -> SubscribeOptions {
    let (bytes, records) = ([600, 5_000, 200_000][random.below(3)], [5, 50, 100_000][random.below(3)]);
    let overflow = [Overflow::DropOldest, Overflow::DropNewest, Overflow::Disconnect, Overflow::Hold];
    SubscribeOptions {
        window_bytes: stage.window(bytes) as usize,
        queue: BacklogLimits { records_max: records, bytes_max: 1 << 20 },
        overflow: overflow[random.below(4)],
        retained: !random.once_in(3),
        ..SubscribeOptions::default()
    }
}

impl Subscribed {
    /// In fair weather: what was open stands again.
    pub(crate) async fn settle(&self) -> Outcome<()> {
        match self.bus.flush().await {
            Ok(()) => Ok(()),
            Err(error) => Invariant::Ends.broken(format!("in fair weather: {error}")),
        }
    }
}

impl Heard {
    fn new(pattern: &'static str, window: u64, overflow: Overflow, open: Subscription) -> Self {
        Self { pattern, window, overflow, deliveries: Vec::new(), open: Some(open), tally: None }
    }

    /// How many messages it heard of those that arrived at the last server.
    pub(crate) fn of_last(&self, history: &History) -> u64 {
        count_of_last(&self.deliveries, history)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    async fn read_for_a_while(&mut self, stage: &Stage, random: &mut Random) -> Outcome<()> {
        let until = random.millis(6_000);
        let slow = random.once_in(3);
        let subscription = self.open.as_mut().expect("it is open");
        let trace = stage.trace.clone();
        let (window, deliveries) = (self.window, &mut self.deliveries);
        let all = async {
            while let Some(delivery) = subscription.next().await {
                trace.note(|| format!("subscription {window}: {delivery:?}"));
                deliveries.push(delivery);
                if slow && random.once_in(4) {
                    sleep(random.millis(60)).await;
                }
            }
        };
        let read = tokio::select! {
            biased;
            () = stage.over() => return Ok(()),
            read = timeout(until, all) => read,
        };
        if read.is_ok() {
            let end = self.open.take().and_then(|open| open.end());
            let right = self.overflow == Overflow::Disconnect && end.is_some();
            stage.trace.note(|| format!("subscription {window} ended: {end:?}"));
            Invariant::Ends.hold(right, || format!("the session goes on, but `{window}` ended: {end:?}"))?;
        }
        Ok(())
    }

    async fn leave(&mut self, trace: &Trace, random: &mut Random) {
        let Some(open) = self.open.take() else { return };
        match random.below(3) {
            0 => drop(open),
            1 => {
                let tally = timeout(random.millis(3_000), open.unsubscribe()).await;
                trace.note(|| format!("subscription {} left: {tally:?}", self.window));
                self.tally = tally.ok().and_then(Result::ok);
            }
            // It may end by itself meanwhile, and nobody would know.
            _ if self.overflow == Overflow::Disconnect => drop(open),
            _ => self.open = Some(open),
        }
    }

    /// Reads to the end what is open, and goes through everything that came. `narrow`: one lane, so that everything
    /// has its place. Gives how many messages it heard.
    pub(crate) async fn check(&mut self, history: &History, narrow: bool) -> Outcome<()> {
        let periods = history.periods(self.window, self.pattern);
        if self.is_open() {
            let stands = periods.last().is_some_and(|period| history.lasts(period));
            Invariant::Ends.hold(stands, || format!("`{}` is open and does not stand", self.window))?;
        }
        if let Some(Tally { delivered, dropped, missed, queued }) = self.tally
            && self.overflow != Overflow::Disconnect
        {
            let (counted, due) = (delivered + dropped + missed + queued, periods.last().map_or(0, Period::due));
            Invariant::Account.hold(counted == due, || format!("`{}`: {counted} counted, {due} due", self.window))?;
        }
        // What does not fit is told where the subscription ends, ahead of what is still on its way on other lanes.
        let mut sum = Sum::new(&periods, narrow && self.overflow != Overflow::Disconnect);
        let mut index = 0;
        loop {
            if index == self.deliveries.len() && !self.read_on(&sum).await? {
                return Ok(());
            }
            sum.add(history, &self.deliveries[index]).map_err(|broken| self.named(broken))?;
            index += 1;
        }
    }

    fn named(&self, broken: Broken) -> Broken {
        let Self { pattern, window, overflow, .. } = self;
        Broken { what: format!("`{pattern}` (window {window}, {overflow:?}): {}", broken.what), ..broken }
    }

    /// Waits for one more, unless all has come.
    async fn read_on(&mut self, sum: &Sum<'_>) -> Outcome<bool> {
        let Some(open) = &mut self.open else { return Ok(false) };
        if sum.is_complete() {
            return Ok(false);
        }
        let broken = match timeout(SETTLED, open.next()).await {
            Ok(Some(delivery)) => {
                self.deliveries.push(delivery);
                return Ok(true);
            }
            Ok(None) => Invariant::Ends.broken(format!("it ended; {sum}")),
            // No message has told the period: nothing has come since the last gap, and nothing had to.
            Err(_) if sum.may_be_complete() => return Ok(false),
            Err(_) => sum.missing().broken(format!("nothing comes any more; {sum}")),
        };
        broken.map_err(|broken| self.named(broken))
    }
}
