//! What the engines on disk have in common: each keeps named things (resources: streams, buckets, queues) in folders of
//! one data directory.
//!
//! ```
//! use sinew_hosting::{Inbox, Quota};
//!
//! let quota = Quota::new(1 << 20);
//! let inbox = Inbox::<&str, String>::new(1 << 10, quota.clone());
//! inbox.push("first", 100).expect("there is room");
//! inbox.push("second", 100).expect("there is room");
//! assert_eq!(inbox.take(150), ["first"]);
//! inbox.close("the queue was deleted".into());
//! inbox.push("third", 100).expect_err("it is closed");
//! ```
//!
//! An engine's own are what its resources mean, their journals and their rules. It says an [`Error`] of this crate in
//! words of its own.

mod copying;
pub use copying::{Copying, from_the_root};
mod error;
pub use error::{Error, Result};
mod failure;
pub use failure::FirstFailure;
mod folder;
pub use folder::{Folder, Layout};
mod inbox;
pub use inbox::{Inbox, Quota, Refused};
mod places;
pub use places::{LockedPlace, Place, Places};
mod upkeep;
pub use upkeep::{Bell, Kept, Upkeep, Walk};
mod waiting;
pub use waiting::{GoOn, blocking, cancellable, locked};
