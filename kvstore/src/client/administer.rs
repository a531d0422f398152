//! Buckets as a client makes, changes, removes, shows and lists them.

use sinew_session::{Error as SessionError, Request, ResourceName, to_cbor};

use super::{CALL, Kv, KvBucket};
use crate::protocol::{BucketAct, BucketAsk, List, Names, SERVICE, error_of, verb};
use crate::{BucketConfig, BucketInfo, Result};

impl Kv {
    /// The names of the buckets that we may see, in order: those of which we may read or write some key, or that we may
    /// manage. A round trip for each few hundred.
    ///
    /// # Errors
    /// `Session` if the server cannot be asked.
    pub async fn list(&self) -> Result<Vec<ResourceName>> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let request = Request::new(SERVICE, verb::LIST, b"", to_cbor(&List { after: after.clone() }), CALL);
            let page: Names = match self.session.call(request).await {
                Err(SessionError::OutcomeUnknown) => continue,
                reply => reply.map_err(error_of)?.read()?,
            };
            for name in &page.names {
                all.push(ResourceName::try_from(name.as_str())?);
            }
            match page.after {
                Some(last) => after = Some(last),
                None => return Ok(all),
            }
        }
    }
}

impl KvBucket {
    fn asking(&self, act: BucketAct) -> BucketAsk {
        BucketAsk { bucket: self.name.to_string(), act }
    }

    /// Makes the bucket. One that is there with the same configuration is left as it is. Durable when it returns.
    ///
    /// # Errors
    /// `BucketExists` where it is configured otherwise, `Config`, `Limit`, `Denied`; `Session` if the server cannot be asked.
    pub async fn make(&self, config: &BucketConfig) -> Result<BucketInfo> {
        let ask = self.asking(BucketAct::Create(config.clone()));
        self.kv.ask_surely(verb::BUCKET, &self.name, &ask).await
    }

    /// Changes its configuration. What is stored already keeps its deadline.
    ///
    /// # Errors
    /// `UnknownBucket`, `Config`, `Denied`; `Session`, with `OutcomeUnknown` where the answer did not come.
    pub async fn alter(&self, config: &BucketConfig) -> Result<BucketInfo> {
        let ask = self.asking(BucketAct::Alter(config.clone()));
        self.kv.ask(verb::BUCKET, &self.name, &ask).await
    }

    /// Removes the bucket with all of its keys. Its watchers are told.
    ///
    /// # Errors
    /// `UnknownBucket`, `Denied`; `Session`, with `OutcomeUnknown` where the answer did not come.
    pub async fn remove(&self) -> Result<()> {
        self.kv.ask(verb::BUCKET, &self.name, &self.asking(BucketAct::Delete)).await
    }

    /// What it has, and how it is configured. Needs to be permitted to read all of it.
    ///
    /// # Errors
    /// `UnknownBucket`, `Denied`; `Session` if the server cannot be asked.
    pub async fn info(&self) -> Result<BucketInfo> {
        self.kv.ask_surely(verb::BUCKET, &self.name, &self.asking(BucketAct::Info)).await
    }
}
