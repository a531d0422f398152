//! Lean communication infrastructure for distributed systems: one API over ZeroMQ, QUIC or a transport of your own.
//!
//! ```
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use sinew::{Client, Delivery, Pattern, Server, Subject};
//!
//! // A server of your own; `sinew serve` is the same in a process apart, over ZeroMQ and QUIC, secured.
//! let server = Server::builder().listen("mem://front-page").plaintext().start().await?;
//!
//! // Subscribing resolves when the server has registered it: what is published after that is heard.
//! let listener = Client::builder("mem://front-page").plaintext().connect().await?;
//! let mut orders = listener.bus().subscribe(&Pattern::try_from("orders.*")?).await?;
//!
//! let speaker = Client::builder("mem://front-page").plaintext().connect().await?;
//! speaker.bus().publish(&Subject::try_from("orders.new")?, "two cups of tea").await?;
//!
//! match orders.next().await {
//!     Some(Delivery::Message(message)) => assert_eq!(&message.body[..], b"two cups of tea"),
//!     other => panic!("{other:?}"),
//! }
//! speaker.close().await?; // flushes: nothing published before is lost
//! server.drain().await?;
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
//! ```
//!
//! Only the URL says which transport is used: `zmq://host:7463`, `zmq+ipc:///path`, `quic://host:7463`, `mem://name`, or
//! the scheme of a plug-in that the program links (`use my_transport as _;`). Where nothing else is said a connection is
//! encrypted and both ends prove their keys, which are found in the [`Home`] directory; a server elsewhere is named
//! with its key, `quic://KEY@host:7463`, as it prints it at start (or stands in `known_servers`), and the client's key
//! stands in its allowlist. What each key may do, a [`Policy`] says.
//!
//! # Features
//! All are on by default. Each only adds, and one that is off brings none of its dependencies.
//!
//! | feature | what it brings |
//! |---|---|
//! | `zmq` | the schemes `zmq` and `zmq+ipc` |
//! | `quic` | the scheme `quic` |
//! | `bus` | publish and subscribe |
//! | `taskqueue` | the task queue: each task to one worker, in turn, with its result |
//! | `rpc` | typed calls over the task queue, with the service macro of `tarpc` |
//! | `eventsource` | the event log: durable streams of events |
//! | `kvstore` | the key-value store: durable buckets, watched without gaps |
//! | `connectors` | between bus, event log, files and standard streams |
//! | `cli` | the program `sinew`; nothing in the library |

// A crate that nothing names is not linked, and its plug-in not registered.
#[cfg(feature = "quic")]
use sinew_transport_quic as _;
#[cfg(feature = "zmq")]
use sinew_transport_zmq as _;

#[cfg(any(feature = "bus", feature = "eventsource", feature = "kvstore", feature = "taskqueue"))]
pub mod blocking;
mod client;
pub use client::{Client, ClientBuilder, connect};
mod server;
pub use server::{Server, ServerBuilder};
mod home;
pub use home::{Home, HomeClaim, KeyOf};
mod error;
mod linked;
pub use error::{Error, Result};

pub use bytes::Bytes;
pub use sinew_auth::{
    Admit, AdmitEveryone, Allowlist, Authorize, AuthorizeEverything, Candidate, Decision, FileError, Fingerprint,
    Identity, KeyError, ListedBy, ListedPeer, Operation, PeerKey, Policy, PolicyFiles, PublicKey, Refusal, Resource,
    ResourceKind, UnknownOperation,
};
#[cfg(feature = "bus")]
pub use sinew_bus::{
    Accounting, Asked, BacklogLimits, Bus, BusLimits, Callback, CallbackCounts, Callbacks, Delivery, Dropped,
    Error as BusError, Gap, Kept, Loss, LossCause, LossCounts, Mailbox, Message, Overflow, PublishOptions, Publisher,
    Receipt, Registration, RequestOptions, Responder, RetainedLimits, SubscribeOptions, Subscription, Tally,
    TypedMessage, TypedSubscription,
};
#[cfg(feature = "connectors")]
pub use sinew_connectors as connectors;
#[cfg(feature = "eventsource")]
pub use sinew_eventsource::{
    AppendOptions, AppendTicket, Appended, BackedUp, Compacted, Compaction, Durability, Engine as LogEngine,
    EngineOptions as LogEngineOptions, Error as LogError, Event, EventBatch, EventBatchBuilder, EventLog, Events,
    Filter, FollowOptions, Followed, Follower, GroupEvent, GroupInfo, GroupOptions, GroupSettings, JournalEngine,
    Level, Log, LogLimits, LogOptions, MalformedBatch, Member, MemoryEngine, NewEvent, Position, Producer,
    ProducerGrant, Progress, ProgressSink, ReadLimits, Redelivery, Retention, StreamConfig, StreamInfo, Ticket,
    Verified,
};
#[cfg(feature = "kvstore")]
pub use sinew_kvstore as kvstore;
pub use sinew_session::{
    Backoff, Error as SessionError, Executor, HeaderError, Headers, Losses, NameError, NameFault, Pattern,
    ResourceName, Session, SessionLimits, State, Subject, parse_rfc3339, rfc3339,
};
#[cfg(feature = "taskqueue")]
pub use sinew_taskqueue as taskqueue;
#[cfg(feature = "rpc")]
pub use sinew_taskqueue::rpc;
pub use sinew_transport_api::{Endpoint, EndpointError, Error as TransportError, Limits, Registry};
