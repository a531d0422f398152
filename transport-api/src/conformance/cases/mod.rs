//! The cases, by what they are about. Each takes the kit and shows one promise, with both sides in each role.

pub(super) mod blocks;
pub(super) mod cancel;
pub(super) mod closing;
pub(super) mod hostile;
pub(super) mod identity;
pub(super) mod limits;
pub(super) mod listening;
pub(super) mod pressure;
