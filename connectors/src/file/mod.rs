//! `file:PATH`: lines of JSON, gzip when the name ends in `.gz`; and the two calls of the original, to record a subject
//! pattern and to read it again.

mod member;
mod reader;
pub(crate) mod sink;
pub(crate) mod source;
mod tail;

#[cfg(test)]
mod tests;
