//! What goes wrong with calls, and with which.

use std::io;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Whatever it is, it fails with `EIO`; of a write, a part may have happened.
    Io,
    /// What needs room fails with `ENOSPC`; of a write, a part may have happened. The rest goes on.
    NoSpace,
    /// A write takes half of what it is given.
    ShortWrite,
    /// Files and directories cannot be opened, nor new files made, since too many are open. The rest goes on.
    Open,
    /// A sync fails with `EIO`, and what it was to write is lost. The rest goes on.
    Sync,
}

/// Calls that fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// The number of the first call that fails, as [`SimulatedDisk::calls`](super::SimulatedDisk::calls) counts them.
    pub call: u64,
    /// How many calls from there on fail, as far as they are concerned.
    pub count: u64,
}

impl Fault {
    pub(super) fn hits(&self, call: u64) -> bool {
        call >= self.call && call - self.call < self.count
    }
}

pub(super) fn input_output() -> io::Error {
    io::Error::other("simulated: input/output error")
}

/// Whether a fault is about a write, which may have happened in part.
pub(super) fn is_about_writing(fault: Option<FaultKind>) -> bool {
    matches!(fault, Some(FaultKind::Io | FaultKind::NoSpace | FaultKind::ShortWrite))
}

/// What a call gives that opens something.
pub(super) fn check_open(fault: Option<FaultKind>, needs_room: bool) -> io::Result<()> {
    if fault == Some(FaultKind::Open) {
        return Err(io::Error::other("simulated: too many open files"));
    }
    check(fault, needs_room)
}

/// What a call gives that is no sync.
pub(super) fn check(fault: Option<FaultKind>, needs_room: bool) -> io::Result<()> {
    match fault {
        Some(FaultKind::Io) => Err(input_output()),
        Some(FaultKind::NoSpace) if needs_room => Err(io::ErrorKind::StorageFull.into()),
        _ => Ok(()),
    }
}
