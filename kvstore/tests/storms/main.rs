//! What the key-value store promises, through storms: virtual time, cuts and restarts from a seed, with the store in
//! memory and on disk.

mod cached;
mod compacted;
#[path = "../disk/mod.rs"]
mod disk;
mod increments;
mod lock;
mod remade;
mod storm;
mod watching;
