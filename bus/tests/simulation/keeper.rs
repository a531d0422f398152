//! Somebody whose publishes are confirmed, and mostly kept for those who subscribe later.

use std::collections::BTreeMap;

use sinew_bus::{Bus, Error, PublishOptions, Receipt};
use sinew_session::Error as SessionError;
use sinew_testkit::random::Random;
use tokio::time::sleep;

use crate::broken::{Invariant, Outcome};
use crate::history::History;
use crate::stage::{SUBJECTS, Stage, subject};
use crate::sum::number_of;

/// A keeper that has had its say.
pub(crate) struct Confirmed {
    bus: Bus,
    /// Numbers of the messages that the server confirmed, each with what it said.
    confirmed: Vec<(u64, Receipt)>,
}

/// Publishes until the world ends.
pub(crate) async fn keep(stage: Stage, id: u64, mut random: Random) -> Outcome<Confirmed> {
    let bus = stage.connect().await;
    let (mut sent, mut confirmed) = (0, Vec::new());
    while !stage.is_over() {
        let number = (500 + id) << 32 | sent;
        sent += 1;
        let name = SUBJECTS[random.below(SUBJECTS.len())];
        let options = PublishOptions { retain: !random.once_in(4), ..PublishOptions::default() };
        let mut body = vec![0; [16, 300, 9_000][random.below(3)]];
        body[..8].copy_from_slice(&number.to_le_bytes());
        let result = bus.publish_confirmed(&subject(name), body, &options).await;
        stage.trace.note(|| format!("keeper {id}: {number:x}: {result:?}"));
        match result {
            Ok(receipt) if receipt.retained == options.retain => confirmed.push((number, receipt)),
            Ok(receipt) => return Invariant::Kept.broken(format!("{number:x} was to be kept: {receipt:?}")),
            Err(Error::Session(
                SessionError::Timeout { .. } | SessionError::OutcomeUnknown | SessionError::Disconnected { .. },
            )) => {}
            Err(error) => return Invariant::Ends.broken(format!("keeper {id}: {error}")),
        }
        let pause = random.millis(500);
        tokio::select! { biased; () = stage.over() => {}, () = sleep(pause) => {} }
    }
    Ok(Confirmed { bus, confirmed })
}

impl Confirmed {
    /// In fair weather: everything asked has arrived.
    pub(crate) async fn flush(&self) -> Outcome<()> {
        match self.bus.flush().await {
            Ok(()) => Ok(()),
            Err(error) => Invariant::Ends.broken(format!("in fair weather: {error}")),
        }
    }

    /// What was confirmed arrived, and the server keeps the newest of each subject.
    pub(crate) async fn check(&self, history: &History) -> Outcome<()> {
        for (number, _) in &self.confirmed {
            Invariant::Told.hold(history.has(*number), || format!("{number:x} was confirmed and never arrived"))?;
        }
        let mut kept = BTreeMap::new();
        for name in SUBJECTS {
            match self.bus.last_value(&subject(name)).await {
                Ok(Some(message)) => drop(kept.insert(name.to_owned(), number_of(&message))),
                Ok(None) => {}
                Err(error) => return Invariant::Ends.broken(format!("the last value of {name}: {error}")),
            }
        }
        let right = history.kept_last();
        Invariant::Kept.hold(kept == right, || format!("{kept:x?} is kept, not {right:x?}"))
    }

    /// What it was told of each message adds up to those who were to be handed it.
    pub(crate) fn check_receipts(&self, history: &History) -> Outcome<()> {
        let hearers = history.hearers();
        for (number, receipt) in &self.confirmed {
            let told = receipt.delivered + receipt.queued + receipt.dropped;
            let heard = hearers.get(number).cloned().unwrap_or(0..=0);
            Invariant::Account.hold(heard.contains(&told), || {
                format!("{number:x} was for {heard:?} when it came, and its publisher was told {receipt:?}")
            })?;
        }
        Ok(())
    }
}
