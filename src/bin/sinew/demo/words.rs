//! What a client process tells the demonstration: one JSON object a line on its standard output.

use std::io::Write;

use serde::{Deserialize, Serialize};

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Word {
    /// Subscribed: what is published from now on is heard.
    Ready,
    /// Where a raw proxy listens.
    Ports {
        /// For publishers.
        publishers: String,
        /// For subscribers.
        subscribers: String,
    },
    /// The result of a ping.
    RoundTrips {
        /// How many.
        rounds: u64,
        /// The median.
        p50_ns: u64,
        /// 99 of 100 are at most this.
        p99_ns: u64,
    },
    /// The result of appending to a log, and of reading it again.
    Log {
        /// Events acknowledged.
        appended: u64,
        /// From the first append to the last acknowledgement.
        append_seconds: f64,
        /// Events read again.
        replayed: u64,
        /// From asking for the first to the last.
        replay_seconds: f64,
    },
    /// The result of putting into a bucket, of watching that, and of getting what is there.
    Store {
        /// Puts acknowledged.
        put: u64,
        /// From the first to the last acknowledgement.
        put_seconds: f64,
        /// Changes that a watch has told, each once and in order.
        watched: u64,
        /// Gets answered with what was put last.
        got: u64,
        /// From the first to the last answer.
        get_seconds: f64,
    },
    /// The result of submitting tasks, and of calling one after the other.
    Tasks {
        /// Tasks that the queue has accepted.
        submitted: u64,
        /// Tasks that were done, each with its own result and at the first attempt.
        done: u64,
        /// From the first submission to the last result.
        seconds: f64,
        /// How many did them.
        workers: usize,
        /// Calls that were answered.
        calls: u64,
        /// The median of what they took.
        call_p50_ns: u64,
    },
    /// The result of a publisher.
    Sent {
        /// How many.
        messages: u64,
    },
    /// The result of a subscriber.
    Received {
        /// How many.
        messages: u64,
        /// How many of those that were sent did not come.
        lost: u64,
        /// How many came where another was due.
        disordered: u64,
        /// From the first to the last.
        seconds: f64,
    },
}

impl Word {
    /// Writes it.
    pub(super) fn say(&self) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        serde_json::to_writer(&mut out, self)?;
        out.write_all(b"\n")?;
        out.flush()
    }

    /// The result of round trips that took so many nanoseconds each; at least one.
    pub(super) fn round_trips(mut took_ns: Vec<u64>) -> Self {
        took_ns.sort_unstable();
        Self::RoundTrips { rounds: took_ns.len() as u64, p50_ns: share(&took_ns, 0.5), p99_ns: share(&took_ns, 0.99) }
    }
}

/// What this share of these is at most; at least one, in order.
pub(super) fn share(sorted: &[u64], share: f64) -> u64 {
    sorted[((sorted.len() - 1) as f64 * share) as usize]
}

#[cfg(test)]
mod tests {
    use super::Word;

    #[test]
    fn percentiles() {
        let word = Word::round_trips((1..=1_000).rev().collect());
        assert_eq!(word, Word::RoundTrips { rounds: 1_000, p50_ns: 500, p99_ns: 990 });
        assert_eq!(Word::round_trips(vec![7]), Word::RoundTrips { rounds: 1, p50_ns: 7, p99_ns: 7 });
    }
}
