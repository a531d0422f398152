//! Words that every durable service says: when it acknowledges, what an acknowledgement means, how far a long call is.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// When a write is acknowledged. The reply says which [`Level`] it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// Once it is synced to disk, by group commit: it survives a loss of power.
    #[default]
    Fsynced,
    /// Once the operating system has it: it survives a crash of the server, not one of the machine. Synced within a
    /// second.
    Written,
}

/// What an acknowledgement means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// In the server's memory.
    Memory,
    /// The operating system has it.
    Written,
    /// Synced to disk.
    Fsynced,
    /// Synced on several machines.
    Replicated,
}

impl Level {
    /// As a number, for heads and files; 0 is none.
    pub fn code(self) -> u8 {
        match self {
            Self::Memory => 1,
            Self::Written => 2,
            Self::Fsynced => 3,
            Self::Replicated => 4,
        }
    }

    /// And back.
    pub fn from_code(code: u8) -> Option<Self> {
        let place = usize::from(code.checked_sub(1)?);
        [Self::Memory, Self::Written, Self::Fsynced, Self::Replicated].get(place).copied()
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "in memory",
            Self::Written => "written",
            Self::Fsynced => "fsynced",
            Self::Replicated => "replicated",
        })
    }
}

impl From<Durability> for Level {
    fn from(durability: Durability) -> Self {
        match durability {
            Durability::Fsynced => Self::Fsynced,
            Durability::Written => Self::Written,
        }
    }
}

/// Told now and then how far a long call is, from any thread; must not wait. Dropping the call's future cancels it.
pub type ProgressSink = Arc<dyn Fn(Progress) + Send + Sync>;

/// How far a long call is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What is dealt with, in the call's own unit: bytes, unless it says otherwise.
    pub done: u64,
    /// All there is, as far as is known; may grow.
    pub total: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_come_back_by_their_codes() {
        for (level, code) in [(Level::Memory, 1), (Level::Written, 2), (Level::Fsynced, 3), (Level::Replicated, 4)] {
            assert_eq!((level.code(), Level::from_code(code)), (code, Some(level)));
        }
        assert_eq!((Level::from_code(0), Level::from_code(5)), (None, None));
    }
}
