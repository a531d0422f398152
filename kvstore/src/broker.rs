//! The key-value store at the server: takes what arrives, asks who may, hands it to the engine, answers. No rule in here.
//!
//! Gets are answered where the block arrives when the engine knows the answer, and gathered for the disk when not. Writes go
//! to the engine where the block arrived and are answered from its thread. A watch has one task, which wakes once for each
//! commit; so has a bucket that somebody hears on the bus, and no other.
//!
//! Locks are taken in this order: session, door, copies, outbox. None is held while a write is handed to the engine, which
//! may answer at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sinew_session::{Attachment, Link, Pattern, ResourceName, Service};

use crate::protocol::SERVICE;
use crate::{Bucket, BucketConfig, Engine, Error, Result};

mod answers;
mod attachment;
mod buckets;
mod copies;
mod doors;
mod gets;
mod maintain;
mod scans;
mod watches;
mod writes;
use attachment::KvAttachment;
pub use copies::Copies;
use copies::Copying;
pub(crate) use gets::GET_KEYS_MAX;

/// The limits of the key-value store at the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KvLimits {
    /// Whether a put into a bucket that is not there makes it, with the defaults. Default: yes.
    pub made_by_put: bool,
    /// Watches of a session. Default 1,000.
    pub watches_max: usize,
    /// The largest window of a watch, in bytes. Default 16 MiB. A larger wish is cut to it.
    pub window_bytes_max: usize,
    /// The largest page of keys, of revisions, or of values for a get of several keys, in bytes; one value goes whatever its
    /// size. Default 4 MiB. A larger wish is cut to it.
    pub page_bytes_max: usize,
    /// Calls of a session other than gets and writes that are under way. Default 256.
    pub calls_max: usize,
    /// Gets of a session that wait for the disk. Default 65,536: as many calls as a client has in flight.
    pub gets_waiting_max: usize,
    /// Bytes of gets and writes of a session that wait for their bucket to be opened. Default 8 MiB; beyond, they fail as
    /// busy.
    pub opening_bytes_max: usize,
    /// Buckets of a session that are kept open. Default 1,024; beyond, they are looked up anew.
    pub doors_max: usize,
}

impl Default for KvLimits {
    fn default() -> Self {
        Self {
            made_by_put: true,
            watches_max: 1_000,
            window_bytes_max: 16 << 20,
            page_bytes_max: 4 << 20,
            calls_max: 256,
            gets_waiting_max: 65_536,
            opening_bytes_max: 8 << 20,
            doors_max: 1_024,
        }
    }
}

/// The key-value store, to be given to a server.
#[derive(Debug)]
pub struct Broker {
    shared: Arc<Shared>,
}

/// What all sessions share.
#[derive(Debug)]
struct Shared {
    engine: Arc<dyn Engine>,
    limits: KvLimits,
    /// Rises when a bucket is made, changed or removed: what sessions know of buckets is looked up anew.
    generation: AtomicU64,
    copying: Option<Arc<Copying>>,
}

impl Shared {
    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    fn changed(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// A bucket, copied to the bus from now on where somebody listens.
    async fn bucket(&self, name: &ResourceName) -> Result<Arc<dyn Bucket>> {
        let bucket = self.engine.bucket(name).await?;
        if let Some(copying) = &self.copying {
            copying.know(&bucket);
        }
        Ok(bucket)
    }

    /// The same, made with the defaults where it is not there.
    async fn bucket_or_new(&self, name: &ResourceName) -> Result<Arc<dyn Bucket>> {
        match self.bucket(name).await {
            Err(Error::UnknownBucket { .. }) if self.limits.made_by_put => {
                match self.engine.create(name, &BucketConfig::default()).await {
                    // Made by somebody else in this moment is as good.
                    Ok(_) | Err(Error::BucketExists { .. }) => self.bucket(name).await,
                    Err(error) => Err(error),
                }
            }
            outcome => outcome,
        }
    }
}

impl Broker {
    /// The key-value store on this engine, with these limits.
    pub fn new(engine: Arc<dyn Engine>, limits: KvLimits) -> Self {
        let generation = AtomicU64::new(0);
        Self { shared: Arc::new(Shared { engine, limits, generation, copying: None }) }
    }

    /// The same, telling every change to `copies`, as long as somebody hears it there. Tell
    /// [`listened`](Self::listened) when somebody begins to.
    pub fn with_copies(engine: Arc<dyn Engine>, limits: KvLimits, copies: Arc<dyn Copies>) -> Self {
        let copying = Some(Arc::new(Copying::new(engine.clone(), copies)));
        Self { shared: Arc::new(Shared { engine, limits, generation: AtomicU64::new(0), copying }) }
    }

    /// Somebody begins to hear copies of what this pattern stands for, `$KV.<bucket>.<key>`, and is not told so yet: every
    /// change that is acknowledged from now on is copied. To be called on the server's runtime; does not wait.
    pub fn listened(&self, pattern: &Pattern) {
        if let Some(copying) = &self.shared.copying {
            copying.listened(pattern);
        }
    }
}

impl Service for Broker {
    fn code(&self) -> u8 {
        SERVICE
    }

    fn open(&self, link: &Arc<Link>) -> Box<dyn Attachment> {
        Box::new(KvAttachment::new(&self.shared, link))
    }
}
