//! Many services over one connection of any transport.
//!
//! A session packs **records** into blocks, says hello, matches calls with their replies, watches whether the other end
//! is alive, and connects again after a cut, counting what was lost. Services stand on it through three small traits:
//! [`Service`] and [`Attachment`] at the server, [`Consumer`] at the client.

mod durability;
pub use durability::{Durability, Level, Progress, ProgressSink};
mod moment;
pub use moment::{parse_rfc3339, rfc3339};
mod headers;
pub use headers::{HEADERS_BYTES_MAX, HEADERS_MAX, HeaderError, Headers};
mod names;
pub use names::{
    KV_SUBJECTS, NAME_BYTES_MAX, NameError, NameFault, Pattern, PatternToken, RESOURCE_NAME_BYTES_MAX, ResourceName,
    Subject, is_reserved, split_token,
};
mod record;
pub use record::{CRITICAL, FAILURE, HEADER_BYTES, Header, Malformed, REPLY, Record, Run, encode};
mod limits;
pub use limits::SessionLimits;
mod cbor;
pub use cbor::{CborError, from_cbor, from_value, to_cbor, to_value};
mod block_on;
pub use block_on::{block_on, block_on_for};
mod hello;
pub use hello::{CallHead, Detail, Failure, Refusal, SessionId};
mod heads;
pub use heads::{pair_head, read_pair, take_u8, take_u16, take_u32, take_u64};
mod failures;
pub use failures::{BAD_REQUEST, bad_request, violation};
mod backoff;
mod liveness;
pub use backoff::Backoff;
mod calls;
mod lane_queue;
mod outbox;
mod reassembly;
pub use outbox::{Outbox, Packer};
mod allocator;
mod carry;
mod entropy;
mod executor;
mod inbound;
mod writer;
pub use entropy::Entropy;
pub use executor::Executor;
mod arrivals;
pub use arrivals::{Arrivals, ArrivalsGuard, Reading, StreamState, Streams};
mod access;
mod audit;
mod service;
pub use service::{Attachment, Consumer, Link, Service, read_call};
mod client;
pub use client::{Session, WeakSession};
#[doc(hidden)]
mod planted;
#[doc(hidden)]
pub use planted::is_planted;
#[cfg(feature = "planted")]
#[doc(hidden)]
pub use planted::plant;
mod options;
pub use options::SessionOptions;
mod request;
pub use request::{Reply, Request};
mod long_calls;
pub use long_calls::{LongCalls, tell_progress};
mod restore;
pub use restore::Restore;
mod shared;
pub use shared::{Losses, State};
mod driver;
mod server;
mod sessions;
pub use server::{Server, ServerBuilder};
mod error;
pub use error::{Error, Result};
pub use sinew_auth::{Operation, Resource};
pub use sinew_transport_api::Lane;
#[cfg(test)]
mod golden;
