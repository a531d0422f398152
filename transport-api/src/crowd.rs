//! Who waits to be let in at a listener, and who makes room when too many do. Rules without IO or clock.
//!
//! A stranger costs memory from its first packet on, before anybody knows who it is. So those who wait are counted, in all
//! and by address, and **a newcomer that is one too many is let wait, while the one that has waited longest goes**: an
//! honest peer is through within a few round trips, and whoever waits long is silent, broken or hostile. To turn the
//! newcomer away instead would let a few hundred silent peers lock everybody out.
//!
//! Who goes is of the same address where that has too many, else of the address that has most: who comes from many
//! addresses must not push out those who come from one.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use crate::Limits;

/// The place of one who waits. Never used twice by a crowd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CrowdPlace(u64);

/// Those who wait at one listener. For authors of transports.
#[derive(Debug)]
pub struct Crowd {
    max: usize,
    per_address_max: usize,
    next: u64,
    waiting: BTreeMap<CrowdPlace, Option<Network>>,
    by_network: HashMap<Network, usize>,
}

/// What counts as one address: of IPv6 the first 64 bits, since whoever has one such address has all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Network {
    V4([u8; 4]),
    V6([u8; 8]),
}

impl Network {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.octets()),
            IpAddr::V6(address) => Self::V6(*address.octets().first_chunk().expect("eight of sixteen")),
        }
    }
}

impl Crowd {
    /// Nobody yet; at most `pending_max` in all and `pending_per_address_max` of one address, and at least one.
    pub fn new(limits: &Limits) -> Self {
        Self {
            max: limits.pending_max.max(1),
            per_address_max: limits.pending_per_address_max.max(1),
            next: 0,
            waiting: BTreeMap::new(),
            by_network: HashMap::new(),
        }
    }

    /// Lets a newcomer wait. Gives its place, and the one who has to go for it and is counted no more. Costs a look at
    /// everybody when there is one. `None` for an address that is not known: bounded by the total alone.
    pub fn enter(&mut self, address: Option<IpAddr>) -> (CrowdPlace, Option<CrowdPlace>) {
        let network = address.map(Network::of);
        let gone = self.who_goes(network);
        if let Some(gone) = gone {
            self.leave(gone);
        }
        let place = CrowdPlace(self.next);
        self.next += 1;
        self.waiting.insert(place, network);
        if let Some(network) = network {
            *self.by_network.entry(network).or_default() += 1;
        }
        (place, gone)
    }

    /// One waits no more: it was let in, or is gone. `false` if it had to go before.
    pub fn leave(&mut self, place: CrowdPlace) -> bool {
        let Some(network) = self.waiting.remove(&place) else { return false };
        if let Some(network) = network
            && let Some(count) = self.by_network.get_mut(&network)
        {
            *count -= 1;
            if *count == 0 {
                self.by_network.remove(&network);
            }
        }
        true
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether half of the places are taken: from then on a transport that can ask for a proof of the address, without
    /// keeping anything, does so.
    pub fn is_half_full(&self) -> bool {
        self.waiting.len() >= self.max.div_ceil(2)
    }

    fn who_goes(&self, newcomer: Option<Network>) -> Option<CrowdPlace> {
        if let Some(network) = newcomer
            && self.by_network.get(&network).is_some_and(|count| *count >= self.per_address_max)
        {
            return self.oldest(|of| of == Some(network));
        }
        if self.waiting.len() < self.max {
            return None;
        }
        let most = self.by_network.values().copied().max();
        self.oldest(|of| of.and_then(|network| self.by_network.get(&network).copied()) == most)
    }

    fn oldest(&self, of: impl Fn(Option<Network>) -> bool) -> Option<CrowdPlace> {
        self.waiting.iter().find(|(_, network)| of(**network)).map(|(place, _)| *place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crowd(max: usize, per_address: usize) -> Crowd {
        Crowd::new(&Limits { pending_max: max, pending_per_address_max: per_address, ..Limits::default() })
    }

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().expect("an address of this test"))
    }

    #[test]
    fn one_too_many_of_an_address_costs_the_oldest_of_that_address() {
        let mut crowd = crowd(10, 2);
        let (other, _) = crowd.enter(address("10.0.0.1"));
        let (first, _) = crowd.enter(address("10.0.0.2"));
        let (second, none) = crowd.enter(address("::ffff:10.0.0.2"));
        assert_eq!(none, None);
        let (_, gone) = crowd.enter(address("10.0.0.2"));
        assert_eq!((gone, crowd.len()), (Some(first), 3));
        assert!(!crowd.leave(first) && crowd.leave(second) && crowd.leave(other));
        assert_eq!(crowd.enter(address("10.0.0.2")).1, None);
    }

    #[test]
    fn one_too_many_in_all_costs_the_oldest_of_the_address_that_has_most() {
        let mut crowd = crowd(4, 4);
        crowd.enter(address("10.0.0.1"));
        let (oldest, _) = crowd.enter(address("10.0.0.2"));
        crowd.enter(address("10.0.0.2"));
        crowd.enter(None);
        assert!(crowd.is_half_full());
        assert_eq!(crowd.enter(address("10.0.0.3")).1, Some(oldest));
    }

    #[test]
    fn those_without_an_address_go_by_age() {
        let mut crowd = crowd(2, 1);
        let (oldest, _) = crowd.enter(None);
        crowd.enter(None);
        assert_eq!(crowd.enter(None).1, Some(oldest));
        assert_eq!(crowd.len(), 2);
    }

    #[test]
    fn neighbours_in_ipv6_are_one_address() {
        let mut crowd = crowd(10, 1);
        let (first, _) = crowd.enter(address("2001:db8::1"));
        assert_eq!(crowd.enter(address("2001:db8::ffff:1")).1, Some(first));
        assert_eq!(crowd.enter(address("2001:db8:0:1::1")).1, None);
    }

    #[test]
    fn nothing_is_left_of_those_who_went() {
        let mut crowd = crowd(8, 3);
        let places: Vec<_> = (0..100_u8).map(|n| crowd.enter(Some([10, 0, 0, n % 5].into())).0).collect();
        assert_eq!(crowd.len(), 8);
        assert_eq!(places.iter().filter(|place| crowd.leave(**place)).count(), 8);
        assert!(crowd.is_empty() && crowd.by_network.is_empty());
    }
}
