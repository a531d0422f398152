//! What the tests of several crates share: a [`service`](echo) to talk to, a [`network`](net) to break, peers that
//! misbehave ([`wire`], [`hostile`]), a [policy](rules) to change, and scenarios of the [bus](scenarios), of
//! the event [`log`], of the [key-value store](kv) and of the [task queue](tasks) that run over any transport. Not published, and no part of any program.

pub mod echo;
pub mod hostile;
pub mod kv;
pub mod log;
pub mod memory;
pub mod net;
pub mod random;
pub mod rules;
pub mod scenarios;
pub mod setup;
pub mod tap;
pub mod tasks;
pub mod trace;
pub mod wire;
