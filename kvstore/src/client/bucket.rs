//! A bucket as a client has it.

use sinew_session::ResourceName;

use super::Kv;

/// A bucket, by its name. Cheap to clone. What it reads is in `client/read.rs` and `client/scan.rs`, what it writes in
/// `client/write.rs` and `client/transaction.rs`, how it is watched in `client/watching.rs`.
#[derive(Clone, Debug)]
pub struct KvBucket {
    pub(super) kv: Kv,
    pub(super) name: ResourceName,
}

impl KvBucket {
    /// Its name.
    pub fn name(&self) -> &ResourceName {
        &self.name
    }

    /// The store that it is in.
    pub fn kv(&self) -> &Kv {
        &self.kv
    }

    /// What its calls are ordered with.
    pub(super) fn lane(&self) -> &[u8] {
        self.name.as_str().as_bytes()
    }
}
