//! Moves batches from a source to a sink, one at a time: memory is bounded by a batch, and a sink that waits holds the
//! source back. Both ends' promises are in `contract.rs`.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::pace::{Pace, Speed};
use crate::{
    Address, Batch, BatchLimits, Context, Error, Item, Lost, Mark, Phase, Progress, Registry, Result, Sink, Source,
    Standing, Stop,
};

/// Items of a batch while they are played at a speed: they are due one after the other.
const PACED_ITEMS_MAX: usize = 64;

/// How a connection moves.
#[derive(Clone, Debug)]
pub struct ConnectionOptions {
    /// Plays items again as they came about, or faster or slower. Default: as fast as both ends can.
    pub speed: Option<Speed>,
    /// How much is moved at one time. Default 1,024 items, 1 MiB.
    pub limits: BatchLimits,
    /// After this long, what was written is confirmed and remembered, and at the end. Default 200 ms: what is done again
    /// after a crash, at most, where a connection is at least once.
    pub confirm_interval: Duration,
    /// The first wait before something is tried again; it doubles. Default 50 ms.
    pub retry_wait: Duration,
    /// The longest wait. Default 5 s. There is no last attempt: what can succeed later is tried until the connection is
    /// stopped, and its progress says so meanwhile.
    pub retry_wait_max: Duration,
}

impl Default for ConnectionOptions {
    fn default() -> Self {
        Self {
            speed: None,
            limits: BatchLimits::default(),
            confirm_interval: Duration::from_millis(200),
            retry_wait: Duration::from_millis(50),
            retry_wait_max: Duration::from_secs(5),
        }
    }
}

/// A source and a sink. Nothing moves before [`run`](Self::run).
#[derive(Debug)]
pub struct Connection {
    name: Option<String>,
    source: Box<dyn Source>,
    sink: Box<dyn Sink>,
    options: ConnectionOptions,
    mark: Mark,
    /// Written and not confirmed since then.
    unconfirmed: Option<Instant>,
    began: Instant,
    pace: Option<Pace>,
    progress: watch::Sender<Progress>,
    stop: Stop,
}

/// Tries until it succeeds, fails for good, or the connection is stopped.
macro_rules! retried {
    ($self:ident, $attempt:expr) => {{
        let mut attempts = 0;
        loop {
            match $attempt.await {
                Err(error) if error.is_retryable() && !$self.stop.is_stopped() => {
                    $self.wait_to_retry(attempts, &error).await;
                    attempts += 1;
                }
                outcome => break outcome,
            }
        }
    }};
}

impl Connection {
    /// Connects what stands at two addresses. The name in `context` is what it remembers under.
    ///
    /// # Errors
    /// What the registry and the connectors have against the addresses.
    pub fn between(
        registry: &Registry,
        from: &Address,
        to: &Address,
        context: &Context,
        options: ConnectionOptions,
    ) -> Result<Self> {
        let (source, sink) = (registry.source(from, context)?, registry.sink(to, context)?);
        let name = context.name.as_ref().map(|name| name.as_str().to_owned());
        Ok(Self::new(name, source, sink, options))
    }

    /// Connects a source and a sink.
    pub fn new(name: Option<String>, source: Box<dyn Source>, sink: Box<dyn Sink>, options: ConnectionOptions) -> Self {
        let pace = options.speed.map(Pace::new);
        let (mark, progress) = (Mark::default(), watch::Sender::default());
        let (began, stop) = (Instant::now(), Stop::default());
        Self { name, source, sink, options, mark, unconfirmed: None, began, pace, progress, stop }
    }

    /// What it has done so far, at any time.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Stops it in order.
    pub fn stopper(&self) -> Stop {
        self.stop.clone()
    }

    /// Moves items until the source ends, the connection is stopped, or something fails for good; then confirms what was
    /// written. Dropping the future is as if the process had been killed: what the guarantees are about.
    ///
    /// # Errors
    /// What failed; what was moved before is confirmed all the same, where that is possible.
    pub async fn run(mut self) -> Result<Progress> {
        match self.begin().await {
            Ok(()) => self.run_on().await,
            Err(error) => {
                self.progress.send_modify(|progress| progress.phase = Phase::Ended);
                Err(error)
            }
        }
    }

    /// The same behind [`begin`](Self::begin).
    pub(crate) async fn run_on(mut self) -> Result<Progress> {
        self.began = Instant::now();
        let moved = self.move_batches().await;
        let confirmed = self.confirm().await;
        self.progress.send_modify(|progress| progress.phase = Phase::Ended);
        moved.and(confirmed)?;
        Ok(self.progress.borrow().clone())
    }

    /// Asks the ends where they stand, and goes there.
    pub(crate) async fn begin(&mut self) -> Result<()> {
        let mut standing = retried!(self, self.sink.standing())?;
        let recalled = retried!(self, self.source.recall())?;
        standing.mark = newer(standing.mark.take(), recalled);
        self.notice(standing.notice.take());
        let origin = self.source.origin();
        match &standing.mark {
            Some(mark) if mark.origin != origin => {
                let name = self.name.clone().unwrap_or_default();
                return Err(Error::OtherOrigin { name, remembered: mark.origin.clone(), given: origin });
            }
            _ => self.mark = first_mark(&standing, origin)?,
        }
        let begins = retried!(self, self.source.start(&standing))?;
        if standing.mark.is_none() {
            if self.mark.count == 0 {
                self.mark.position = begins;
            }
            // So that a name is this connection's from now on.
            self.remember().await?;
        }
        let (confirmed, position) = (self.mark.count, self.mark.position.0.clone());
        self.progress.send_modify(|progress| {
            (progress.phase, progress.confirmed, progress.position) = (Phase::Moving, confirmed, position);
        });
        Ok(())
    }

    async fn move_batches(&mut self) -> Result<()> {
        let mut limits = self.options.limits;
        if self.pace.is_some() {
            limits.items_max = limits.items_max.min(PACED_ITEMS_MAX);
        }
        let stop = self.stop.clone();
        loop {
            let confirm_at = self.unconfirmed.map(|since| since + self.options.confirm_interval);
            let batch = tokio::select! {
                biased;
                () = stop.stopped() => return Ok(()),
                () = at(confirm_at) => {
                    self.confirm().await?;
                    continue;
                }
                batch = async { retried!(self, self.source.next(limits)) } => batch?,
            };
            let Some(batch) = batch else { return Ok(()) };
            if !self.take(batch, &stop).await? {
                return Ok(());
            }
        }
    }

    /// Writes a batch, in parts as they are due. `false` if it was stopped within.
    async fn take(&mut self, mut batch: Batch, stop: &Stop) -> Result<bool> {
        self.notice(batch.notice.take());
        self.count_loss(batch.lost);
        let (done, total) = (batch.extent.done, batch.extent.total);
        let mut items = std::mem::take(&mut batch.items);
        let mut lost = batch.lost;
        while !items.is_empty() || lost.is_some() {
            let (due, count) = self.due(&items);
            if let Some(due) = due {
                if self.unconfirmed.is_some() && due > self.began.elapsed() + self.options.confirm_interval {
                    self.confirm().await?;
                }
                tokio::select! {
                    biased;
                    () = stop.stopped() => return Ok(false),
                    () = tokio::time::sleep_until(self.began + due) => {}
                }
            }
            let rest = items.split_off(count);
            let part = Batch { lost: lost.take(), items, ..Batch::default() };
            self.write(&part).await?;
            items = rest;
        }
        // Whole: the place behind it stands for all of it.
        (self.mark.position, self.mark.ahead) = (batch.position, 0);
        let position = self.mark.position.0.clone();
        self.progress.send_modify(|progress| {
            (progress.done, progress.total, progress.position) = (done, total, position);
        });
        self.unconfirmed.get_or_insert_with(Instant::now);
        Ok(true)
    }

    /// When the first of these is due, and how many are with it.
    fn due(&mut self, items: &[Item]) -> (Option<Duration>, usize) {
        let (Some(pace), Some(first)) = (&mut self.pace, items.first()) else { return (None, items.len()) };
        let elapsed = self.began.elapsed();
        let due = pace.due(first.timestamp, elapsed);
        let mut count = 1;
        while let Some(item) = items.get(count) {
            let mut ahead = *pace;
            if ahead.due(item.timestamp, elapsed) > elapsed.max(due) {
                break;
            }
            (*pace, count) = (ahead, count + 1);
        }
        (Some(due), count)
    }

    async fn write(&mut self, part: &Batch) -> Result<()> {
        retried!(self, self.sink.write(part))?;
        let (items, bytes) = (part.items.len() as u64, part.items.iter().map(Item::bytes).sum::<usize>() as u64);
        self.mark.count += items;
        self.mark.ahead += items;
        self.unconfirmed.get_or_insert_with(Instant::now);
        self.progress.send_modify(|progress| {
            progress.phase = Phase::Moving;
            progress.moved += items;
            progress.bytes += bytes;
        });
        Ok(())
    }

    /// Everything written is safe, and both ends know it.
    async fn confirm(&mut self) -> Result<()> {
        if self.unconfirmed.is_none() {
            return Ok(());
        }
        retried!(self, self.sink.flush())?;
        self.remember().await?;
        self.unconfirmed = None;
        let confirmed = self.mark.count;
        self.progress.send_modify(|progress| progress.confirmed = confirmed);
        Ok(())
    }

    async fn remember(&mut self) -> Result<()> {
        retried!(self, self.sink.remember(&self.mark))?;
        retried!(self, self.source.remember(&self.mark))
    }

    fn count_loss(&mut self, lost: Option<Lost>) {
        let (counted, uncounted) = match lost {
            None => return,
            Some(Lost::Exactly(count)) => (count, 0),
            Some(Lost::Unknown) => (0, 1),
        };
        match counted {
            0 => tracing::warn!(connector = self.name(), "items may have been lost here, and nobody has counted them"),
            _ => tracing::warn!(connector = self.name(), "{counted} items were lost here"),
        }
        self.mark.lost += counted;
        self.mark.uncounted += uncounted;
        self.progress.send_modify(|progress| {
            progress.lost += counted;
            progress.uncounted += uncounted;
        });
    }

    fn notice(&self, notice: Option<String>) {
        let Some(notice) = notice else { return };
        tracing::warn!(connector = self.name(), "{notice}");
        self.progress.send_modify(|progress| {
            progress.notices += 1;
            progress.notice = Some(notice);
        });
    }

    fn name(&self) -> &str {
        self.name.as_deref().unwrap_or("-")
    }

    async fn wait_to_retry(&mut self, attempts: u32, error: &Error) {
        let wait = self.options.retry_wait.saturating_mul(1 << attempts.min(16)).min(self.options.retry_wait_max);
        if attempts == 0 {
            tracing::warn!(connector = self.name(), "{error}; trying again");
        }
        let before = self.progress.borrow().phase.clone();
        self.progress.send_modify(|progress| {
            progress.retries += 1;
            progress.phase = Phase::Retrying(error.to_string());
        });
        tokio::select! {
            () = self.stop.stopped() => {}
            () = tokio::time::sleep(wait) => {}
        }
        self.progress.send_modify(|progress| progress.phase = before);
    }
}

/// The one that is further.
fn newer(one: Option<Mark>, other: Option<Mark>) -> Option<Mark> {
    match (one, other) {
        (Some(one), Some(other)) => Some(if other.count > one.count { other } else { one }),
        (one, other) => one.or(other),
    }
}

/// What is to be remembered before anything was moved in this run.
fn first_mark(standing: &Standing, origin: String) -> Result<Mark> {
    let (position, ahead) = standing.resume()?;
    let (position, kept) = (position.cloned().unwrap_or_default(), standing.mark.as_ref());
    Ok(Mark {
        origin,
        count: standing.moved(),
        position,
        ahead,
        lost: kept.map_or(0, |mark| mark.lost),
        uncounted: kept.map_or(0, |mark| mark.uncounted),
    })
}

/// Waits for a time that may never come.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
