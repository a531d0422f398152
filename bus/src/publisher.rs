//! A handle for one subject, for those who publish there again and again.

use bytes::Bytes;
use serde::Serialize;

use crate::{Bus, Result, Subject};

/// Publishes to one subject. Cheap to clone; every clone is of the same session.
///
/// ```
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// # let (_server, bus) = sinew_testkit::memory::bus().await;
/// let lamp = bus.publisher(&"room.lamp".parse()?)?;
/// lamp.publish("on").await?;
/// lamp.publish("off").await?;
/// # Ok(())
/// # }
/// # sinew_testkit::memory::run(example());
/// ```
#[derive(Clone, Debug)]
pub struct Publisher {
    bus: Bus,
    subject: Subject,
}

impl Bus {
    /// A reusable handle for one subject. Costs nothing.
    ///
    /// # Errors
    /// `ReservedSubject` if only the server may publish there.
    pub fn publisher(&self, subject: &Subject) -> Result<Publisher> {
        subject.check_publishable()?;
        Ok(Publisher { bus: self.clone(), subject: subject.clone() })
    }
}

impl Publisher {
    /// Where it publishes.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The bus it publishes on.
    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    /// As [`Bus::publish`].
    ///
    /// # Errors
    /// As [`Bus::publish`].
    pub async fn publish(&self, body: impl Into<Bytes>) -> Result<()> {
        self.bus.publish(&self.subject, body).await
    }

    /// As [`Bus::publish_value`].
    ///
    /// # Errors
    /// As [`Bus::publish_value`].
    pub async fn publish_value<T: Serialize + ?Sized>(&self, value: &T) -> Result<()> {
        self.bus.publish_value(&self.subject, value).await
    }
}
