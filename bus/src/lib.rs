//! The message bus: publish and subscribe by subject, queue groups, requests, last values, counted losses.
//!
//! A server offers a [`Broker`]; a client puts a [`Bus`] on its session:
//!
//! ```
//! use std::sync::Arc;
//! use sinew_bus::{Broker, Bus, Delivery, Pattern, Subject};
//! use sinew_session::{ServerBuilder, Session, SessionOptions};
//! use sinew_transport_api::auth::AdmitEveryone;
//! use sinew_transport_api::{ListenOptions, Registry, Security};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let listen = ListenOptions::new(Security::Plaintext, Arc::new(AdmitEveryone));
//! let server = ServerBuilder::new(Registry::linked()?)
//!     .listen("mem://front-page".parse()?, listen)
//!     .service(Arc::new(Broker::default()))
//!     .start()
//!     .await?;
//!
//! let session = Session::connect(&server.endpoints()[0], SessionOptions::new(Security::Plaintext, None)?).await?;
//! let bus = Bus::new(&session)?;
//! let mut orders = bus.subscribe(&Pattern::try_from("orders.*.paid")?).await?; // registered when this returns
//! bus.publish(&Subject::try_from("orders.eu.paid")?, "17 euros").await?;
//! let Some(Delivery::Message(message)) = orders.next().await else { panic!("a message") };
//! assert_eq!(message.body, "17 euros");
//! bus.close().await?; // nothing published before is lost
//! server.drain().await;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The rules are pure: names ([`Subject`], [`Pattern`]), who hears what ([`Router`], [`RouteCache`]), what one
//! subscription was handed, still waits for or lost ([`Backlog`]), last values, requests under way, accounts. No socket,
//! task or clock is in them.

pub use sinew_session::{
    HEADERS_BYTES_MAX, HEADERS_MAX, HeaderError, Headers, NAME_BYTES_MAX, NameError, NameFault, Pattern, Subject,
    is_reserved,
};
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
pub use broker::{Broker, BusLimits, OnReserved, ReservedPublisher};
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
