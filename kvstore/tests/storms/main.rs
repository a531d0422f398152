//! What the key-value store promises, through storms: virtual time, cuts and restarts from a seed.

mod cached;
mod compacted;
mod increments;
mod lock;
mod storm;
mod watching;
