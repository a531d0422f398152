//! Losses, for readers who take messages alone: told to a handler, or logged and counted. Never passed over.

use std::fmt;
use std::sync::Arc;

use crate::{Delivery, Gap, Message};

/// Messages that did not come.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loss {
    /// The pattern of the subscription that lost them.
    pub pattern: String,
    /// Why.
    pub cause: LossCause,
    /// How many; `None` where nobody has counted, since the server restarted.
    pub count: Option<u64>,
}

/// Why messages did not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LossCause {
    /// The reader was too slow for what its queue may hold.
    Slow,
    /// The connection was cut.
    Cut,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            Some(count) => write!(f, "{count} messages of `{}` were lost: ", self.pattern)?,
            None => write!(f, "an unknown number of messages of `{}` were lost: ", self.pattern)?,
        }
        f.write_str(match self.cause {
            LossCause::Slow => "the reader was too slow",
            LossCause::Cut => "the connection was cut",
        })
    }
}

/// Losses so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LossCounts {
    /// Messages lost, where they were counted.
    pub messages: u64,
    /// How often nobody had counted.
    pub unknown: u64,
}

type Handler = Arc<dyn Fn(Loss) + Send + Sync>;

/// What becomes of losses.
#[derive(Default)]
pub(crate) struct Losses {
    handler: Option<Handler>,
    counts: LossCounts,
}

impl Losses {
    pub(crate) fn handle_by(&mut self, handler: impl Fn(Loss) + Send + Sync + 'static) {
        self.handler = Some(Arc::new(handler));
    }

    pub(crate) fn counts(&self) -> LossCounts {
        self.counts
    }

    /// Counts a loss, and gives what is to be called then, under no lock: the handler is the user's.
    pub(crate) fn count(&mut self, loss: Loss) -> impl FnOnce() + use<> {
        self.counts.messages += loss.count.unwrap_or(0);
        self.counts.unknown += u64::from(loss.count.is_none());
        let handler = self.handler.clone();
        move || match handler {
            Some(handler) => handler(loss),
            None => tracing::warn!("{loss}"),
        }
    }
}

/// A message, or the loss that came in its place.
pub(crate) fn sift(pattern: &str, delivery: Delivery) -> std::result::Result<Message, Loss> {
    let (cause, count) = match delivery {
        Delivery::Message(message) => return Ok(message),
        Delivery::Lagged(count) => (LossCause::Slow, Some(count)),
        Delivery::Gap(Gap::Exact(count)) => (LossCause::Cut, Some(count)),
        Delivery::Gap(Gap::Unknown) => (LossCause::Cut, None),
    };
    Err(Loss { pattern: pattern.to_owned(), cause, count })
}

impl fmt::Debug for Losses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Losses").field("counts", &self.counts).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn losses_are_counted_and_told_to_the_handler() {
        let mut losses = Losses::default();
        let lose = |losses: &mut Losses, delivery| losses.count(sift("a", delivery).unwrap_err())();
        lose(&mut losses, Delivery::Lagged(3));
        let (sender, told) = channel();
        losses.handle_by(move |loss| sender.send(loss.to_string()).unwrap());
        lose(&mut losses, Delivery::Gap(Gap::Exact(2)));
        lose(&mut losses, Delivery::Gap(Gap::Unknown));
        lose(&mut losses, Delivery::Lagged(4));
        assert_eq!(losses.counts(), LossCounts { messages: 9, unknown: 1 });
        let told: Vec<String> = told.try_iter().collect();
        assert_eq!(
            told,
            [
                "2 messages of `a` were lost: the connection was cut",
                "an unknown number of messages of `a` were lost: the connection was cut",
                "4 messages of `a` were lost: the reader was too slow",
            ]
        );
    }
}
