//! Lanes: ordered channels within a connection.

/// A lane's number. Order holds within a lane only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane(pub u8);

impl Lane {
    /// Lane 0: hello, calls of the session, heartbeats. The only one before the hello is done.
    pub const CONTROL: Self = Self(0);
    /// The most lanes there can be, control included: they fit a [`LaneSet`].
    pub const COUNT_MAX: u8 = 32;
}

/// A set of lanes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneSet(u32);

impl LaneSet {
    /// No lane.
    pub const EMPTY: Self = Self(0);

    /// Lanes `0..count`.
    pub fn first(count: u8) -> Self {
        Self(if count >= 32 { u32::MAX } else { (1 << count) - 1 })
    }

    /// Adds `lane`; one that is out of range is ignored, since no connection can have it.
    pub fn insert(&mut self, lane: Lane) {
        self.0 |= 1u32.checked_shl(u32::from(lane.0)).unwrap_or(0);
    }

    /// Takes `lane` out.
    pub fn remove(&mut self, lane: Lane) {
        self.0 &= !1u32.checked_shl(u32::from(lane.0)).unwrap_or(0);
    }

    /// Whether `lane` is in.
    pub fn contains(self, lane: Lane) -> bool {
        self.0 & 1u32.checked_shl(u32::from(lane.0)).unwrap_or(0) != 0
    }

    /// What is in both.
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether nothing is in.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The lanes in rising order.
    pub fn iter(self) -> impl Iterator<Item = Lane> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let lane = rest.trailing_zeros();
            rest &= rest.wrapping_sub(1);
            (lane < 32).then_some(Lane(lane as u8))
        })
    }
}

impl From<Lane> for LaneSet {
    fn from(lane: Lane) -> Self {
        let mut set = Self::EMPTY;
        set.insert(lane);
        set
    }
}
