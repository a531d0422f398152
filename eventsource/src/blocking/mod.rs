//! The event log for programs without an async runtime. Every call waits on the caller's thread; handles can be cloned and
//! used on several threads at once.
//!
//! Inside an async runtime every call fails with `Session(InsideRuntime)`, instead of holding it up or waiting for it
//! for ever.

mod log;
pub use log::Log;
mod follower;
mod manage;
pub use follower::Follower;
mod producer;
pub use producer::Producer;
mod member;
pub use member::Member;
