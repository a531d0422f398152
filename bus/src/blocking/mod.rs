//! The bus for programs without an async runtime. Every call waits on the caller's thread; handles can be cloned and
//! used on several threads at once.
//!
//! Inside an async runtime every call fails with `Session(InsideRuntime)`, instead of holding it up or waiting for it
//! for ever.

mod bus;
pub use bus::Bus;
mod publisher;
pub use publisher::Publisher;
mod subscription;
pub use subscription::Subscription;
mod responder;
pub use responder::{Asked, Responder};
mod mailbox;
pub use mailbox::Mailbox;
mod callbacks;
pub use callbacks::Callbacks;
