//! The key-value store for programs without an async runtime. Every call waits on the caller's thread; handles can be cloned
//! and used on several threads at once.
//!
//! Inside an async runtime every call fails with `Session(InsideRuntime)`, instead of holding it up or waiting for it
//! for ever.

mod kv;
pub use kv::{Kv, KvBucket};
mod watch;
pub use watch::Watch;
mod scan;
pub use scan::{Keys, Scan};
