//! The client for programs without an async runtime: every call waits on the caller's thread.
//!
//! ```
//! use std::thread;
//! use std::time::Duration;
//! use sinew::{Client, Delivery};
//!
//! # fn example() -> Result<(), Box<dyn std::error::Error>> {
//! # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
//! # let server = runtime.block_on(sinew::Server::builder().listen("mem://blocking").plaintext().start())?;
//! # let _ = &server;
//! // For a server elsewhere: `sinew::blocking::connect("quic://KEY@host:7463")`.
//! let client = Client::builder("mem://blocking").plaintext().connect_blocking()?;
//! let mut rooms = client.bus().subscribe(&"room.*".parse()?)?; // registered when this returns
//!
//! // Handles can be cloned and used on other threads.
//! let bus = client.bus().clone();
//! thread::spawn(move || bus.publish(&"room.lamp".parse()?, "on")).join().expect("no panic")?;
//!
//! match rooms.next_within(Duration::from_secs(5))? {
//!     Some(Delivery::Message(message)) => assert_eq!(&message.body[..], b"on"),
//!     other => panic!("{other:?}"),
//! }
//! client.close()?; // flushes: nothing published before is lost
//! # Ok(())
//! # }
//! # example().unwrap();
//! ```
//!
//! Inside an async runtime every call fails with `InsideRuntime`, instead of holding up the runtime or waiting for itself
//! for ever; use [`crate::Client`] there.

use std::time::Duration;

#[cfg(feature = "bus")]
pub use sinew_bus::blocking::{Asked, Bus, Callbacks, Mailbox, Publisher, Responder, Subscription};
#[cfg(feature = "eventsource")]
pub use sinew_eventsource::blocking::{Follower, Log, Member, Producer};
#[cfg(feature = "kvstore")]
pub use sinew_kvstore::blocking::{Kv, KvBucket, Watch};
use sinew_session::{State, block_on};
#[cfg(feature = "taskqueue")]
pub use sinew_taskqueue::blocking::{TaskHandle, TaskQueue, Tasks};
use sinew_transport_api::Endpoint;

use crate::Result;

/// A connected client. Cheap to clone; the last clone dropped ends the session after what is waiting has been sent, and
/// [`close`](Self::close) also confirms that it arrived.
#[derive(Clone, Debug)]
pub struct Client {
    inner: crate::Client,
    #[cfg(feature = "bus")]
    bus: Bus,
    #[cfg(feature = "eventsource")]
    log: Log,
    #[cfg(feature = "kvstore")]
    kv: Kv,
    #[cfg(feature = "taskqueue")]
    tasks: Tasks,
}

/// Connects to `url` with the keys of this account, as [`crate::connect`] does.
///
/// # Errors
/// As [`ClientBuilder::connect_blocking`](crate::ClientBuilder::connect_blocking).
pub fn connect(url: impl Into<String>) -> Result<Client> {
    crate::Client::builder(url).connect_blocking()
}

impl Client {
    pub(crate) fn new(inner: crate::Client) -> Self {
        Self {
            #[cfg(feature = "bus")]
            bus: Bus::new(inner.bus().clone()),
            #[cfg(feature = "eventsource")]
            log: Log::new(inner.log().clone()),
            #[cfg(feature = "kvstore")]
            kv: Kv::new(inner.kv().clone()),
            #[cfg(feature = "taskqueue")]
            tasks: Tasks::new(inner.tasks().clone()),
            inner,
        }
    }

    /// The event log. Clone it to keep it.
    #[cfg(feature = "eventsource")]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The key-value store. Clone it to keep it.
    #[cfg(feature = "kvstore")]
    pub fn kv(&self) -> &Kv {
        &self.kv
    }

    /// The task queue. Clone it to keep it.
    #[cfg(feature = "taskqueue")]
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// The bus. Clone it to keep it.
    #[cfg(feature = "bus")]
    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    /// The same client, for callers that await.
    pub fn inner(&self) -> &crate::Client {
        &self.inner
    }

    /// The server it is connected to.
    pub fn endpoint(&self) -> &Endpoint {
        self.inner.endpoint()
    }

    /// Whether it is connected at this moment, or over.
    pub fn state(&self) -> State {
        self.inner.state()
    }

    /// Waits until the server has taken in everything sent before. One round trip; at most `deadline`.
    ///
    /// # Errors
    /// As [`Client::flush`](crate::Client::flush); `Session(InsideRuntime)`.
    pub fn flush(&self, deadline: Duration) -> Result<()> {
        block_on(self.inner.flush(deadline))?
    }

    /// Flushes and ends the session, for all clones: nothing sent before is lost.
    ///
    /// # Errors
    /// As [`Client::close`](crate::Client::close); `Session(InsideRuntime)`.
    pub fn close(&self) -> Result<()> {
        block_on(self.inner.close())?
    }
}
