//! From a publish to its delivery within one process, by one clock. A message begins with the time at which it was to be
//! sent, so that a publisher that is held up does not hide it.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// The clock of one process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn micros(self) -> u64 {
        self.0.elapsed().as_micros() as u64
    }
}

/// What was measured in one span of time.
#[derive(Debug)]
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    pub(crate) fn new() -> Self {
        let minute = Duration::from_secs(60).as_micros() as u64;
        Self(Histogram::new_with_bounds(1, minute, 3).expect("bounds that the library takes"))
    }

    pub(crate) fn add(&mut self, micros: u64) {
        self.0.saturating_record(micros.max(1));
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    pub(crate) fn at(&self, quantile: f64) -> u64 {
        self.0.value_at_quantile(quantile)
    }
}
