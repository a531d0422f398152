//! Keys in order, for callers that wait: iterators that ask for the next page when they need it.

use sinew_session::block_on;

use crate::{Entry, Key, Result};

/// Entries in order.
#[derive(Debug)]
pub struct Scan {
    inner: crate::Scan,
}

impl Scan {
    pub(super) fn new(inner: crate::Scan) -> Self {
        Self { inner }
    }
}

impl Iterator for Scan {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Result<Entry>> {
        block_on(self.inner.next()).unwrap_or_else(|error| Some(Err(error.into())))
    }
}

/// Keys in order.
#[derive(Debug)]
pub struct Keys {
    inner: crate::Keys,
}

impl Keys {
    pub(super) fn new(inner: crate::Keys) -> Self {
        Self { inner }
    }
}

impl Iterator for Keys {
    type Item = Result<Key>;

    fn next(&mut self) -> Option<Result<Key>> {
        block_on(self.inner.next()).unwrap_or_else(|error| Some(Err(error.into())))
    }
}
