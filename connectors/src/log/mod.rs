//! `log:STREAM`: events of a stream, and appends to one.

pub(crate) mod sink;
pub(crate) mod source;
