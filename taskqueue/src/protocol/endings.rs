//! How a task ended, as it travels: kind (u8), attempt or attempts (u32), worker (16; zeros where none has a part in it), and of
//! a failure length (u16) and code, length (u16) and message.

use sinew_session::{take_u8, take_u16, take_u32};

use crate::scheduler::{CODE_BYTES_MAX, MESSAGE_BYTES_MAX};
use crate::{Ending, WorkerId};

const DONE: u8 = 1;
const FAILED: u8 = 2;
const WORKER_LOST: u8 = 3;
const STALLED: u8 = 4;
const DEADLINE_EXCEEDED: u8 = 5;
const CANCELLED: u8 = 6;
const NO_WORKERS: u8 = 7;

/// As much of a text as goes into so many bytes, whole characters.
pub(crate) fn cut_text(text: &str, bytes_max: usize) -> &str {
    let end = (0..=bytes_max.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or(0)]
}

/// A code and a message; both are cut to their limits by the caller.
pub(super) fn put_text(head: &mut Vec<u8>, code: &str, message: &str) {
    head.extend_from_slice(&(code.len() as u16).to_le_bytes());
    head.extend_from_slice(code.as_bytes());
    head.extend_from_slice(&(message.len() as u16).to_le_bytes());
    head.extend_from_slice(message.as_bytes());
}

/// A text with its length before it, of at most so many bytes.
pub(super) fn take_text<'a>(rest: &mut &'a [u8], bytes_max: usize) -> Option<&'a str> {
    let length = usize::from(take_u16(rest)?);
    let (text, behind) = rest.split_at_checked(length).filter(|_| length <= bytes_max)?;
    *rest = behind;
    std::str::from_utf8(text).ok()
}

/// An ending in a head.
pub(crate) fn ending_head(ending: &Ending, head: &mut Vec<u8>) {
    let nobody = WorkerId::from_bytes([0; 16]);
    let (kind, attempts, worker) = match ending {
        Ending::Done { worker, attempt } => (DONE, attempt, worker),
        Ending::Failed { worker, attempt, .. } => (FAILED, attempt, worker),
        Ending::WorkerLost { worker, attempt } => (WORKER_LOST, attempt, worker),
        Ending::Stalled { worker, attempt } => (STALLED, attempt, worker),
        Ending::DeadlineExceeded { attempts } => (DEADLINE_EXCEEDED, attempts, &nobody),
        Ending::Cancelled { attempts } => (CANCELLED, attempts, &nobody),
        Ending::NoWorkers { attempts } => (NO_WORKERS, attempts, &nobody),
    };
    head.clear();
    head.push(kind);
    head.extend_from_slice(&attempts.to_le_bytes());
    head.extend_from_slice(&worker.to_bytes());
    if let Ending::Failed { code, message, .. } = ending {
        put_text(head, cut_text(code, CODE_BYTES_MAX), cut_text(message, MESSAGE_BYTES_MAX));
    }
}

/// And back.
pub(crate) fn read_ending(mut head: &[u8]) -> Option<Ending> {
    let rest = &mut head;
    let (kind, attempts) = (take_u8(rest)?, take_u32(rest)?);
    let (worker, behind) = rest.split_first_chunk()?;
    *rest = behind;
    let (worker, attempt) = (WorkerId::from_bytes(*worker), attempts);
    Some(match kind {
        DONE => Ending::Done { worker, attempt },
        FAILED => {
            let (code, message) =
                (take_text(rest, CODE_BYTES_MAX)?.to_owned(), take_text(rest, MESSAGE_BYTES_MAX)?.to_owned());
            Ending::Failed { worker, attempt, code, message }
        }
        WORKER_LOST => Ending::WorkerLost { worker, attempt },
        STALLED => Ending::Stalled { worker, attempt },
        DEADLINE_EXCEEDED => Ending::DeadlineExceeded { attempts },
        CANCELLED => Ending::Cancelled { attempts },
        NO_WORKERS => Ending::NoWorkers { attempts },
        _ => return None,
    })
}
