//! What is often built on a key-value store, built once: a [lock](Lock) with fencing, the [election](Election) of a leader, a
//! [configuration](Configuration) that reloads itself.

mod lock;
pub use lock::{Held, Lock, LockOptions};
mod election;
pub use election::{Election, Leader, Leaders, Leadership};
mod configuration;
pub use configuration::Configuration;
