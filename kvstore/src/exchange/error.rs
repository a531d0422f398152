//! What can be wrong with a file, and where.

use std::fmt::Display;

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExchangeError {
    /// It is not JSON, or ends too early.
    #[error("malformed JSON at line {line}, column {column}: {why}")]
    Malformed {
        /// Counted from 1.
        line: u64,
        /// Counted from 1, in bytes.
        column: usize,
        /// What was expected.
        why: String,
    },
    /// It is JSON, and cannot be stored.
    #[error("line {line}: {why}")]
    Entry {
        /// Counted from 1.
        line: u64,
        /// What is wrong with it, and what can be.
        why: String,
    },
    /// More than may be held in memory at one time.
    #[error("line {line}: {what} has more than {max} bytes, the most that is read")]
    TooLong {
        /// Counted from 1.
        line: u64,
        /// What.
        what: &'static str,
        /// The limit.
        max: u64,
    },
    /// The file could not be read.
    #[error("it cannot be read: {0}")]
    Read(#[from] std::io::Error),
}

impl ExchangeError {
    /// What cannot be stored.
    pub(super) fn entry(line: u64, why: &impl Display) -> Self {
        Self::Entry { line, why: why.to_string() }
    }

    /// What `serde_json` says of a text that begins on `first`.
    pub(super) fn json(error: serde_json::Error, first: u64) -> Self {
        let (line, column) = (error.line() as u64, error.column());
        let text = error.to_string();
        let why = text.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&text).to_owned();
        let line = first + line.saturating_sub(1);
        match error.classify() {
            serde_json::error::Category::Io => Self::Read(error.into()),
            serde_json::error::Category::Data => Self::Entry { line, why },
            _ => Self::Malformed { line, column, why },
        }
    }
}
