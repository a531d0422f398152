//! Publish and subscribe by subject.
//!
//! A message goes to every subscription whose [`Pattern`] matches its [`Subject`]:
//!
//! ```
//! use sinew_bus::{Pattern, Role, Router, Subject, SubscriptionKey};
//!
//! let mut router = Router::<()>::default();
//! let key = SubscriptionKey { connection: 1, number: 7 };
//! router.subscribe(key, Pattern::try_from("orders.*.paid")?, Role::Hearer, ())?;
//!
//! let route = router.route(&Subject::try_from("orders.eu.paid")?);
//! assert_eq!(route.hearers()[0].key, key);
//! # Ok::<(), sinew_bus::Error>(())
//! ```
//!
//! The rules are pure: names ([`Subject`], [`Pattern`]), who hears what ([`Router`], [`RouteCache`]), and what one
//! subscription was handed, still waits for or lost ([`Backlog`]). No socket, task or clock is in them.

mod name;
pub use name::{NAME_BYTES_MAX, NameFault, is_reserved};
mod subject;
pub use subject::Subject;
mod pattern;
pub use pattern::Pattern;
mod headers;
pub use headers::{HEADERS_BYTES_MAX, HEADERS_MAX, Headers};
mod router;
pub use router::{
    GenerationWatch, Role, Rotation, Route, Router, SubscriptionKey, TOKENS_PER_CONNECTION_MAX_DEFAULT, Target,
};
mod route_cache;
mod trie;
pub use route_cache::{ROUTE_CACHE_ENTRIES_DEFAULT, RouteCache};
mod budget;
pub use budget::Budget;
mod backlog;
pub use backlog::{Backlog, BacklogLimits, Counts, Due, Offer, Overflow, Pushed};
mod retained;
pub use retained::{RetainedFull, RetainedLimits};
mod accounting;
mod requests;
pub use accounting::{Accounting, Dropped, SUBJECTS_COUNTED_MAX_DEFAULT};
mod protocol;
pub use protocol::{Kept, Receipt, SERVICE, Tally};
mod brake;
mod broker;
mod outlet;
pub use broker::{Broker, BusLimits};
mod inbox;
mod reader;
pub use reader::Message;
mod subscription;
pub use subscription::{Delivery, Gap, SubscribeOptions, Subscription};
mod client;
pub use client::{Asked, Bus, PublishOptions, RequestOptions, Responder};
mod publisher;
pub use publisher::Publisher;
mod typed;
pub use typed::{TypedMessage, TypedSubscription};
mod combined;
mod loss;
pub use loss::{Loss, LossCause, LossCounts};
mod mailbox;
pub use mailbox::Mailbox;
mod callback;
mod callback_thread;
pub use callback::Callback;
mod callbacks;
pub use callbacks::{CallbackCounts, Callbacks, Registration};
pub mod blocking;
mod error;
pub use error::{Error, Result};
