//! `bus:PATTERN` and `bus:SUBJECT`: what is heard, and what is published.

pub(crate) mod sink;
pub(crate) mod source;
