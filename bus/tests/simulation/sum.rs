//! Adds up what a subscription was given and told, and holds it against what it was due.

use std::collections::{HashMap, HashSet};
use std::fmt;

use sinew_bus::{Delivery, Gap, Message};

use crate::broken::{Invariant, Outcome};
use crate::history::{History, Period};

/// The sums of one subscription.
pub(crate) struct Sum<'a> {
    periods: &'a [Period],
    /// Everything has its place.
    exact: bool,
    /// Which period it is in, once known.
    period: Option<usize>,
    /// Heard and told since that began.
    count: u64,
    /// Kept values among them, and whether some may be among what was told.
    kept: u64,
    heard: HashSet<u64>,
    newest: HashMap<(u64, String), u64>,
}

impl<'a> Sum<'a> {
    pub(crate) fn new(periods: &'a [Period], exact: bool) -> Self {
        let period = (periods.len() == 1).then_some(0);
        Self { periods, exact, period, count: 0, kept: 0, heard: HashSet::new(), newest: HashMap::new() }
    }

    /// Goes on with what came next.
    pub(crate) fn add(&mut self, history: &History, delivery: &Delivery) -> Outcome<()> {
        match delivery {
            Delivery::Lagged(lost) | Delivery::Gap(Gap::Exact(lost)) => self.count += lost,
            Delivery::Gap(Gap::Unknown) => (self.period, self.count, self.kept) = (None, 0, 0),
            Delivery::Message(message) => self.message(history, message)?,
        }
        let due = self.period.map_or(u64::MAX, |period| self.periods[period].due());
        Invariant::Told.hold(self.count <= due, || format!("more was told than there was: {self}"))
    }

    fn message(&mut self, history: &History, message: &Message) -> Outcome<()> {
        let number = number_of(message);
        Invariant::Own.hold(history.has(number), || format!("message {number:x} was heard and never arrived"))?;
        Invariant::Once.hold(self.heard.insert(number), || format!("message {number:x} was heard twice"))?;
        let before = self.newest.insert((number >> 32, message.subject.to_string()), number);
        let order = before.is_none_or(|before| before < number);
        Invariant::Order.hold(order, || format!("{number:x} was heard after {before:x?}"))?;
        let known = self.period.filter(|period| self.periods[*period].before(number).is_some());
        let found = || self.periods.iter().rposition(|period| period.before(number).is_some());
        let Some(at) = known.or_else(found) else {
            return Invariant::Own.broken(format!("message {number:x} about {} is not for it", message.subject));
        };
        let same = *self.period.get_or_insert(at) == at;
        Invariant::Told.hold(same, || format!("message {number:x} is of another period, without a gap"))?;
        let period = &self.periods[at];
        let place = period.before(number).expect("it is in this period");
        let is_kept = place < period.kept;
        Invariant::Kept
            .hold(message.retained == is_kept, || format!("{number:x} is kept: {is_kept}; it says otherwise"))?;
        if self.exact && place != self.count {
            // What is missing was kept, or was not.
            let invariant = if self.count < period.kept { Invariant::Kept } else { Invariant::Told };
            return invariant.broken(format!("message {number:x} is number {place}, and comes after {}", self.count));
        }
        self.kept += u64::from(is_kept);
        self.count += 1;
        Ok(())
    }

    fn due(&self) -> u64 {
        self.periods.last().map_or(0, Period::due)
    }

    /// Whether all that is due has come.
    pub(crate) fn is_complete(&self) -> bool {
        self.period.is_some_and(|period| period + 1 == self.periods.len()) && self.count == self.due()
    }

    /// Whether that may be, since no message has told the period.
    pub(crate) fn may_be_complete(&self) -> bool {
        self.period.is_none() && self.count == self.due()
    }

    /// What is broken when nothing more comes.
    pub(crate) fn missing(&self) -> Invariant {
        let missed = self.periods.last().is_some_and(|period| self.count - self.kept == period.due() - period.kept);
        if missed { Invariant::Kept } else { Invariant::Ends }
    }
}

impl fmt::Display for Sum<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, kept, period, periods, .. } = self;
        write!(f, "{count} of {} ({kept} kept) in period {period:?} of {}", self.due(), periods.len())
    }
}

/// The number that a message of these worlds begins with.
pub(crate) fn number_of(message: &Message) -> u64 {
    message.body.first_chunk().map_or(u64::MAX, |number| u64::from_le_bytes(*number))
}

/// How many of these are messages that arrived at the last server.
pub(crate) fn count_of_last(deliveries: &[Delivery], history: &History) -> u64 {
    let of_last = |delivery: &&Delivery| match delivery {
        Delivery::Message(message) => history.is_of_last(number_of(message)),
        _ => false,
    };
    deliveries.iter().filter(of_last).count() as u64
}
