//! What is heard on the bus, as items. The bus has no past: it begins when it is subscribed, and what is lost is told.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use sinew_bus::{Bus, Delivery, Gap, Overflow, Pattern, SubscribeOptions, Subscription};

use crate::{Address, Batch, BatchLimits, Context, Item, Lost, Position, Result, Source, Standing};

/// A subscription.
#[derive(Debug)]
pub(crate) struct BusSource {
    origin: String,
    bus: Bus,
    pattern: Pattern,
    options: SubscribeOptions,
    subscription: Option<Subscription>,
    /// What was heard of a loss and belongs before the next batch.
    lost: VecDeque<Lost>,
    heard: u64,
}

/// Makes one.
pub(crate) fn make(address: &Address, context: &Context) -> Result<Box<dyn Source>> {
    address.only(&["group", "overflow", "retained", "follow"])?;
    let overflow = match address.option("overflow") {
        None | Some("drop-oldest") => Overflow::DropOldest,
        Some("drop-newest") => Overflow::DropNewest,
        Some("disconnect") => Overflow::Disconnect,
        Some("hold") => Overflow::Hold,
        Some(other) => {
            let why = format!("it is `{other}`; write drop-oldest, drop-newest, disconnect or hold");
            return Err(address.option_fault("overflow", why));
        }
    };
    let pattern = Pattern::try_from(address.target())?;
    let group = address.option("group").map(str::to_owned);
    let options =
        SubscribeOptions { group, overflow, retained: address.switch("retained")?, ..SubscribeOptions::default() };
    Ok(Box::new(BusSource::new(context.bus(address)?, pattern, options)))
}

impl BusSource {
    pub(crate) fn new(bus: Bus, pattern: Pattern, options: SubscribeOptions) -> Self {
        let origin = format!("bus:{pattern}");
        Self { origin, bus, pattern, options, subscription: None, lost: VecDeque::new(), heard: 0 }
    }
}

#[async_trait]
impl Source for BusSource {
    fn origin(&self) -> String {
        self.origin.clone()
    }

    /// What was published before is gone; where there was a run before, nobody has counted it.
    async fn start(&mut self, standing: &Standing) -> Result<Position> {
        self.subscription = Some(self.bus.subscribe_with(&self.pattern, self.options.clone()).await?);
        if standing.mark.is_some() || standing.moved() > 0 {
            self.lost.push_back(Lost::Unknown);
        }
        Ok(Position::default())
    }

    async fn next(&mut self, limits: BatchLimits) -> Result<Option<Batch>> {
        let subscription = self.subscription.as_mut().expect("`start` comes first");
        let mut batch = Batch { lost: self.lost.pop_front(), ..Batch::default() };
        let mut bytes = 0;
        if batch.lost.is_none() {
            // The only place to wait, with nothing in hand.
            match subscription.next().await {
                None => return subscription.end().map_or(Ok(None), |error| Err(error.into())),
                Some(Delivery::Message(message)) => {
                    let item = item(message);
                    bytes += item.bytes();
                    batch.items.push(item);
                }
                Some(loss) => batch.lost = Some(lost(&loss)),
            }
        }
        while batch.items.len() < limits.items_max && bytes < limits.bytes_max {
            match poll_fn(|cx| Poll::Ready(pin!(subscription.next()).poll(cx))).await {
                Poll::Ready(Some(Delivery::Message(message))) => {
                    let item = item(message);
                    bytes += item.bytes();
                    batch.items.push(item);
                }
                Poll::Ready(Some(loss)) => {
                    self.lost.push_back(lost(&loss));
                    break;
                }
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
        batch.items.iter_mut().for_each(|item| item.timestamp = Some(now));
        self.heard += batch.items.len() as u64;
        batch.extent.done = self.heard;
        Ok(Some(batch))
    }
}

fn item(message: sinew_bus::Message) -> Item {
    Item { subject: Some(message.subject), headers: message.headers, ..Item::new(message.body) }
}

fn lost(loss: &Delivery) -> Lost {
    match loss {
        Delivery::Lagged(count) | Delivery::Gap(Gap::Exact(count)) => Lost::Exactly(*count),
        _ => Lost::Unknown,
    }
}
