//! The newest batches of a stream in memory, so that who follows it is served where it asks, without a disk and without
//! another thread.

use std::collections::VecDeque;

use crate::{Page, ReadLimits, StoredBatch};

/// Batches without a gap up to the end of the stream, bounded in bytes.
#[derive(Debug)]
pub(crate) struct Tail {
    batches: VecDeque<StoredBatch>,
    bytes: usize,
    bytes_max: usize,
}

impl Tail {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { batches: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// The stream's newest batch. Its bytes are copied, so that they pin no receive buffer.
    pub(crate) fn push(&mut self, mut batch: StoredBatch) {
        let bytes = batch.events.body().len();
        if bytes > self.bytes_max {
            return self.clear();
        }
        batch.events = batch.events.detached();
        self.bytes += bytes;
        self.batches.push_back(batch);
        while self.bytes > self.bytes_max {
            let Some(oldest) = self.batches.pop_front() else { break };
            self.bytes -= oldest.events.body().len();
        }
    }

    /// What begins below this offset is gone.
    pub(crate) fn cut(&mut self, first: u64) {
        while let Some(oldest) = self.batches.front().filter(|batch| batch.first < first) {
            self.bytes -= oldest.events.body().len();
            self.batches.pop_front();
        }
    }

    pub(crate) fn clear(&mut self) {
        self.batches.clear();
        self.bytes = 0;
    }

    /// What there is from this offset on; `None` when it lies further back.
    pub(crate) fn page(&self, from: u64, limits: &ReadLimits) -> Option<Page> {
        let last = self.batches.back()?;
        let end = next(last);
        if self.batches.front()?.first > from || from >= end {
            return None;
        }
        let start = self.batches.partition_point(|batch| next(batch) <= from);
        let (mut bytes, mut events) = (0, 0);
        let mut batches = Vec::new();
        for batch in self.batches.range(start..) {
            bytes += batch.events.body().len();
            if !batches.is_empty() && (bytes > limits.bytes_max || events >= limits.events_max) {
                break;
            }
            events += batch.events.count() as usize;
            batches.push(batch.clone());
        }
        let next = batches.last().map_or(from, next);
        Some(Page { batches, next, end })
    }
}

fn next(batch: &StoredBatch) -> u64 {
    batch.first + u64::from(batch.events.span())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventBatchBuilder, NewEvent};

    fn batch(first: u64, count: usize) -> StoredBatch {
        let mut builder = EventBatchBuilder::default();
        (0..count).for_each(|_| builder.push(&NewEvent::new("four")).expect("small"));
        StoredBatch { first, timestamp: first, events: builder.finish() }
    }

    #[track_caller]
    fn check(tail: &Tail, from: u64, bytes_max: usize, events_max: usize, firsts: &[u64], next: u64) {
        let page = tail.page(from, &ReadLimits { bytes_max, events_max }).expect("it is in memory");
        assert_eq!(page.batches.iter().map(|batch| batch.first).collect::<Vec<_>>(), firsts);
        assert_eq!((page.next, page.end), (next, 20));
    }

    #[test]
    fn it_gives_pages_of_what_it_has() {
        // 20 bytes an event; the oldest five batches go.
        let mut tail = Tail::new(200);
        (0..10).for_each(|at| tail.push(batch(at * 2, 2)));
        let limits = ReadLimits { bytes_max: 1, events_max: 1 };
        assert_eq!(tail.page(9, &limits), None);
        assert_eq!(tail.page(20, &limits), None);
        check(&tail, 10, 1_000, 1_000, &[10, 12, 14, 16, 18], 20);
        check(&tail, 13, 1_000, 1_000, &[12, 14, 16, 18], 20);
        check(&tail, 13, 1, 1_000, &[12], 14);
        check(&tail, 13, 80, 1_000, &[12, 14], 16);
        check(&tail, 13, 1_000, 3, &[12, 14], 16);
        tail.cut(15);
        assert_eq!(tail.page(15, &limits), None);
        check(&tail, 16, 1_000, 1_000, &[16, 18], 20);
        tail.push(batch(20, 100));
        assert_eq!(tail.page(20, &limits), None);
    }
}
