//! Our own declarations of the part of libzmq's C interface that the `zmq` crate and `sinew-transport-zmq` use, and the
//! library itself, built from source with libsodium.
//!
//! It stands in for the published crate of the same name by `[patch.crates-io]`: that one builds libzmq without CURVE.
//! Names, types and values follow the documented interface (`zmq.h` of libzmq 4.3.5 and its manual pages), so that
//! code written for either crate compiles with both.
#![allow(unsafe_code, reason = "a library in C can be declared only as foreign functions")]
#![allow(non_camel_case_types, reason = "the names are those of the C interface")]

mod constants;
mod functions;

pub mod errno;

pub use constants::*;
pub use functions::*;

// Nothing of it is called here: it brings the library that libzmq's CURVE needs.
use libsodium_sys as _;

/// What `ZMQ_FD` gives.
#[cfg(unix)]
pub type RawFd = std::os::fd::RawFd;
/// What `ZMQ_FD` gives.
#[cfg(windows)]
pub type RawFd = std::os::windows::io::RawSocket;
