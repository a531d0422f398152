//! Items onto the bus, under their own subject or one for all: at least once, since a batch is published again when nobody
//! knows whether the server has it.

use async_trait::async_trait;
use sinew_bus::{Bus, PublishOptions, Subject};

use crate::stamp::stamped;
use crate::{Address, Batch, Context, Error, Result, Sink, Standing};

/// Publishes.
#[derive(Debug)]
pub(crate) struct BusSink {
    bus: Bus,
    subject: Option<Subject>,
    stamp: bool,
    taken: u64,
}

/// Makes one.
pub(crate) fn make(address: &Address, context: &Context) -> Result<Box<dyn Sink>> {
    address.only(&["stamp"])?;
    let subject = Some(address.target()).filter(|target| !target.is_empty()).map(Subject::try_from).transpose()?;
    Ok(Box::new(BusSink { bus: context.bus(address)?, subject, stamp: address.switch("stamp")?, taken: 0 }))
}

impl BusSink {
    pub(crate) fn new(bus: Bus) -> Self {
        Self { bus, subject: None, stamp: false, taken: 0 }
    }
}

#[async_trait]
impl Sink for BusSink {
    async fn standing(&mut self) -> Result<Standing> {
        Ok(Standing::default())
    }

    async fn write(&mut self, batch: &Batch) -> Result<()> {
        for (number, item) in (self.taken + 1..).zip(&batch.items) {
            let subject = self.subject.as_ref().or(item.subject.as_ref()).ok_or(Error::NoSubject { item: number })?;
            let options = PublishOptions { headers: stamped(item, self.stamp)?, retain: false };
            self.bus.publish_with(subject, item.payload.clone(), &options).await?;
        }
        // What was lost in a cut, or not permitted, is told here.
        self.bus.flush().await?;
        self.taken += batch.items.len() as u64;
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}
