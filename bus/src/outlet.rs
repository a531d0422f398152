//! The server's end of one subscription: its backlog and the connection it feeds, behind one short lock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use sinew_session::{Header, Link, Packer, Run};

use crate::protocol::{SERVICE, Tally, count_head, keep, subject_of, verb};
use crate::{Backlog, BacklogLimits, Due, Offer};

/// Where a route leads.
#[derive(Debug)]
pub(crate) struct Outlet {
    number: u32,
    window_bytes: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    backlog: Backlog<Bytes>,
    /// `None` while the connection is cut.
    link: Option<Arc<Link>>,
}

impl Outlet {
    pub(crate) fn new(number: u32, link: Arc<Link>, window_bytes: usize, limits: BacklogLimits) -> Self {
        Self {
            number,
            window_bytes,
            state: Mutex::new(State { backlog: Backlog::new(window_bytes, limits), link: Some(link) }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands on publishes of one subject. One lock of the outlet and one of the outbox for all of them; each costs one
    /// copy, or none when it is large.
    #[inline]
    pub(crate) fn deliver(&self, subject: &[u8], run: Run<'_>) {
        let mut state = self.lock();
        let State { backlog, link } = &mut *state;
        let Some(link) = link else {
            run.into_iter().for_each(|record| {
                let _ = backlog.push(record.size(), Bytes::new());
            });
            return;
        };
        let mut packer = link.pack();
        let lane = packer.lane(subject);
        for record in run {
            let offer = if packer.has_room() { backlog.offer(record.size()) } else { Offer::Queue };
            match offer {
                Offer::Deliver => {
                    packer.push_readdressed(lane, record.raw(), verb::DELIVER, self.number, || record.shared())
                }
                Offer::Queue => drop(backlog.push(record.size(), keep(&record))),
                Offer::Missed => {}
            }
        }
    }

    /// The subscriber has consumed so many bytes.
    pub(crate) fn grant(&self, bytes: u64) {
        let mut state = self.lock();
        state.backlog.grant(usize::try_from(bytes).unwrap_or(usize::MAX));
        state.drain(self.number);
    }

    /// The connection's outbox has room again.
    pub(crate) fn drain(&self) {
        self.lock().drain(self.number);
    }

    /// The connection was cut: from now on what matches is only counted.
    pub(crate) fn suspend(&self) {
        let mut state = self.lock();
        state.backlog.detach();
        state.link = None;
    }

    /// The subscriber is back; gives what it missed since `cursor`.
    pub(crate) fn resume(&self, link: Arc<Link>, cursor: u64, used_bytes: u64) -> u64 {
        let mut state = self.lock();
        let gap = state.backlog.resume(cursor);
        state.backlog.spend(usize::try_from(used_bytes).unwrap_or(usize::MAX));
        state.link = Some(link);
        gap
    }

    /// What may be on its way to the subscriber.
    pub(crate) fn window_bytes(&self) -> usize {
        self.window_bytes
    }

    /// The sums so far.
    pub(crate) fn tally(&self) -> Tally {
        let counts = self.lock().backlog.counts();
        Tally { delivered: counts.delivered, dropped: counts.dropped, missed: counts.missed, queued: counts.queued }
    }
}

impl State {
    /// Moves what waits into the outbox, as far as credit and room go.
    fn drain(&mut self, number: u32) {
        let Some(link) = &self.link else { return };
        let mut packer = link.pack();
        while packer.has_room() {
            match self.backlog.next_due() {
                Some(Due::Lagged(count)) => match self.backlog.next_due() {
                    Some(Due::Record(record)) => pack(&mut packer, number, Some(count), &record),
                    _ => unreachable!("a loss is only told when the record behind it goes too"),
                },
                Some(Due::Record(record)) => pack(&mut packer, number, None, &record),
                None => return,
            }
        }
    }
}

/// Packs a record that has waited, and before it, on the same lane, what was lost there.
fn pack(packer: &mut Packer<'_>, number: u32, lost: Option<u64>, bytes: &Bytes) {
    let record = Run::parse(bytes).ok().and_then(|mut run| run.next()).expect("it was a whole record when it was kept");
    let lane = packer.lane(subject_of(&record).expect("its subject was read when it came"));
    if let Some(count) = lost {
        let header = Header { service: SERVICE, verb: verb::LAGGED, flags: 0, call: number };
        packer.push(lane, header, &[&count_head(count)], &Bytes::new());
    }
    packer.push_readdressed(lane, bytes, verb::DELIVER, number, || bytes.clone());
}
