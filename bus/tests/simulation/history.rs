//! What really arrived at the servers of a world, as the tap has seen it, and what a subscription was due of it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::RangeInclusive;

use sinew_bus::Pattern;
use sinew_testkit::tap::{Arrival, Hears, Log};

use crate::broken::{Invariant, Outcome};
use crate::stage::{pattern, subject};

/// Everything that arrived, in the order of routing.
pub(crate) struct History {
    arrivals: Vec<Arrival>,
    /// Numbers of messages.
    numbers: HashSet<u64>,
    /// Of those that arrived at the last server.
    last: HashSet<u64>,
}

/// From one standing of a subscription at a server to the next: a server's session has it, and counts.
pub(crate) struct Period {
    end: usize,
    /// How many of the messages due were kept before it began.
    pub(crate) kept: u64,
    /// Numbers of the messages that it was to hear, each with its place among them.
    due: HashMap<u64, u64>,
}

impl Period {
    /// How many messages were for it.
    pub(crate) fn due(&self) -> u64 {
        self.due.len() as u64
    }

    /// How many messages were for it before this one, if this one was.
    pub(crate) fn before(&self, number: u64) -> Option<u64> {
        self.due.get(&number).copied()
    }
}

/// Kept values by subject.
type Kept = BTreeMap<String, u64>;

impl History {
    /// Checks what arrived: nothing twice, and in order for each publisher and subject.
    pub(crate) fn of(log: &Log) -> Outcome<Self> {
        let arrivals = log.all().clone();
        let (mut numbers, mut last, mut newest) = (HashSet::new(), HashSet::new(), HashMap::new());
        for arrival in &arrivals {
            if *arrival == Arrival::Start {
                last.clear();
            }
            let Arrival::Publish { subject, number, .. } = arrival else { continue };
            Invariant::Once.hold(numbers.insert(*number), || format!("message {number:x} arrived twice"))?;
            last.insert(*number);
            let before = newest.insert((number >> 32, subject), *number);
            let order = before.is_none_or(|before| before < *number);
            Invariant::Order.hold(order, || format!("{number:x} arrived after {before:x?}"))?;
        }
        Ok(Self { arrivals, numbers, last })
    }

    pub(crate) fn has(&self, number: u64) -> bool {
        self.numbers.contains(&number)
    }

    /// How many messages of this publisher arrived.
    pub(crate) fn arrived(&self, publisher: u64) -> u64 {
        self.numbers.iter().filter(|number| *number >> 32 == publisher).count() as u64
    }

    /// How many messages arrived at the last server.
    pub(crate) fn arrived_last(&self) -> u64 {
        self.last.len() as u64
    }

    /// Whether this message arrived at the last server.
    pub(crate) fn is_of_last(&self, number: u64) -> bool {
        self.last.contains(&number)
    }

    /// What the last server keeps.
    pub(crate) fn kept_last(&self) -> Kept {
        self.kept_before(self.arrivals.len())
    }

    /// Whether a period lasted to the end.
    pub(crate) fn lasts(&self, period: &Period) -> bool {
        period.end == self.arrivals.len()
    }

    /// The periods of the subscription that has this window, in order.
    pub(crate) fn periods(&self, window: u64, text: &str) -> Vec<Period> {
        let mut known = HashSet::new();
        let mut starts = Vec::new();
        for (place, arrival) in self.arrivals.iter().enumerate() {
            if let Arrival::Subscribe { window: its, session, number, wants_kept, .. } = arrival
                && *its == window
                && known.insert((session, number))
            {
                starts.push((place, *wants_kept, Arrival::Unsubscribe { session: *session, number: *number }));
            }
        }
        let pattern = pattern(text);
        let ends = starts.iter().skip(1).map(|(place, ..)| *place).chain([self.arrivals.len()]);
        let period = |((start, wants, leave), end): (&(usize, bool, Arrival), usize)| {
            self.period(*start, end, leave, *wants, &pattern)
        };
        starts.iter().zip(ends).map(period).collect()
    }

    /// How many were to be handed each message, a group counted once, when it came: the subscriptions that stood at the
    /// server then. More than one number where the server may have ended some of them by itself.
    pub(crate) fn hearers(&self) -> HashMap<u64, RangeInclusive<u64>> {
        let (mut standing, mut hearers) = (HashMap::new(), HashMap::new());
        for arrival in &self.arrivals {
            match arrival {
                Arrival::Start => standing.clear(),
                Arrival::Subscribe { session, number, pattern: text, hears, .. } => {
                    standing.insert((*session, *number), (pattern(text), hears));
                }
                Arrival::Unsubscribe { session, number } | Arrival::Drain { session, number } => {
                    standing.remove(&(*session, *number));
                }
                Arrival::Forget { session } => standing.retain(|(of, _), _| of != session),
                Arrival::Publish { subject: name, number, .. } => {
                    let name = subject(name);
                    let matching = standing.values().filter(|(pattern, _)| pattern.matches(&name));
                    hearers.insert(*number, count(matching.map(|(_, hears)| *hears)));
                }
            }
        }
        hearers
    }

    fn period(&self, start: usize, next: usize, leave: &Arrival, wants_kept: bool, pattern: &Pattern) -> Period {
        let is_end = |arrival: &Arrival| arrival == leave || *arrival == Arrival::Start;
        let life = self.arrivals[start..].iter().position(is_end);
        let end = life.map_or(next, |after| next.min(start + after));
        let mut numbers = Vec::new();
        if wants_kept {
            let kept = self.kept_before(start);
            numbers.extend(kept.iter().filter(|(name, _)| pattern.matches(&subject(name))).map(|(_, number)| *number));
        }
        let kept = numbers.len() as u64;
        numbers.extend(self.arrivals[start..end].iter().filter_map(|arrival| match arrival {
            Arrival::Publish { subject: name, number, .. } => pattern.matches(&subject(name)).then_some(*number),
            _ => None,
        }));
        Period { end, kept, due: numbers.into_iter().zip(0..).collect() }
    }

    /// What is kept when the arrival at this place comes.
    fn kept_before(&self, place: usize) -> Kept {
        let mut kept = Kept::new();
        for arrival in &self.arrivals[..place] {
            match arrival {
                Arrival::Start => kept.clear(),
                Arrival::Publish { subject, number, keeps: true } => drop(kept.insert(subject.clone(), *number)),
                _ => {}
            }
        }
        kept
    }
}

/// How many these are to a message.
fn count<'a>(standing: impl Iterator<Item = &'a Hears>) -> RangeInclusive<u64> {
    let (mut sure, mut unsure, mut groups) = (0, 0, HashSet::new());
    for hears in standing {
        match hears {
            Hears::All => sure += 1,
            Hears::UntilFull => unsure += 1,
            Hears::Shared(group) => drop(groups.insert(group)),
            Hears::Requests => {}
        }
    }
    let sure = sure + groups.len() as u64;
    sure..=sure + unsure
}
