//! What waits to be sent on one connection: a lane queue for each lane behind one short lock, and the wake-ups.
//!
//! Anybody packs records in ([`Outbox::pack`]: one lock and one wake-up for as many records as are at hand); one writer
//! takes blocks out. Memory is bounded by `bytes_max`, which the packers respect: they ask [`Packer::has_room`] first.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use sinew_transport_api::{Lane, LaneSet};
use tokio::sync::Notify;

use crate::lane_queue::{LaneQueue, Sealed, Sizes};
use crate::planted::is_planted;
use crate::record::Header;

/// How long a packer lets the writer go first: a microsecond or two, as long as a lock spins before it sleeps. A publisher
/// in a loop holds the lock half of the time, and a lock is not fair: without this the writer falls asleep over it again
/// and again, and each time the publisher has to wake it by a system call.
const COURTESY_SPINS: u32 = 100;

/// The outgoing side of a connection.
#[derive(Debug)]
pub struct Outbox {
    state: Mutex<State>,
    /// The writer found the lock taken. A hint: nothing is wrong if it is missed or too late.
    writer_wants: AtomicBool,
    work: Notify,
    room: Notify,
    bytes_max: usize,
    sizes: Sizes,
}

#[derive(Debug)]
struct State {
    lanes: Vec<LaneQueue>,
    bytes: usize,
    /// The writer found nothing and waits on `work`.
    writer_waits: bool,
    /// All that waits to be sent was packed without hurry, and the writer was told of it.
    patient: bool,
    /// Somebody found no room and waits on `room`, or wants to be told by `Taken::drained`.
    room_wanted: bool,
    closed: bool,
    /// One-way records taken by the writer since the beginning.
    one_way_taken: u64,
    next_lane: usize,
}

/// A record's place in its lane, to tell later whether it has been handed to the transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    lane: Lane,
    pushed: u64,
}

impl Position {
    pub(crate) fn lane(self) -> Lane {
        self.lane
    }

    /// For what must be asked again after any cut.
    pub(crate) fn always_taken() -> Self {
        Self { lane: Lane::CONTROL, pushed: 0 }
    }

    /// Of what did not come in, since the outbox is closed.
    pub(crate) fn nowhere() -> Self {
        Self { lane: Lane::CONTROL, pushed: u64::MAX }
    }
}

/// What [`Outbox::take`] found.
#[derive(Debug)]
pub(crate) enum Taken {
    /// A block for this lane. `drained`: room has come that somebody asked for. `last`: nothing else waits on any lane,
    /// as for [`Nothing`](Self::Nothing).
    Block { lane: Lane, sealed: Sealed, drained: bool, last: bool },
    /// Nothing for the lanes asked for; wait on [`Outbox::work`].
    Nothing,
    /// Nothing, and nothing will come: closed and empty.
    End,
}

impl Outbox {
    /// An outbox of `data_lanes` lanes beside control.
    pub(crate) fn new(data_lanes: u8, bytes_max: usize, block_bytes_max: usize) -> Self {
        let lanes = (0..=data_lanes).map(|_| LaneQueue::default()).collect();
        let state = State {
            lanes,
            bytes: 0,
            writer_waits: false,
            patient: false,
            room_wanted: false,
            closed: false,
            one_way_taken: 0,
            next_lane: 0,
        };
        Self {
            state: Mutex::new(state),
            writer_wants: AtomicBool::new(false),
            work: Notify::new(),
            room: Notify::new(),
            bytes_max,
            sizes: Sizes::new(block_bytes_max),
        }
    }

    #[inline]
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lock, for the writer: packers that come in one after the other let it go first.
    fn lock_first(&self) -> MutexGuard<'_, State> {
        if let Ok(state) = self.state.try_lock() {
            return state;
        }
        self.writer_wants.store(true, Ordering::Relaxed);
        let state = self.lock();
        self.writer_wants.store(false, Ordering::Relaxed);
        state
    }

    /// Waits until the writer has the lock, for a moment at most, once for each of its wishes.
    #[cold]
    fn let_writer_in(&self) {
        for _ in 0..COURTESY_SPINS {
            if !self.writer_wants.load(Ordering::Relaxed) {
                return;
            }
            spin_loop();
        }
        self.writer_wants.store(false, Ordering::Relaxed);
    }

    /// Locks the outbox for packing any number of records. One lock, and one wake-up of the writer when it is dropped.
    #[inline]
    pub fn pack(&self) -> Packer<'_> {
        if self.writer_wants.load(Ordering::Relaxed) {
            self.let_writer_in();
        }
        Packer { state: Some(self.lock()), outbox: self, hurries: false, is_patient: false, is_quiet: false }
    }

    /// As [`pack`](Self::pack), without waking the writer: [`wake`](Self::wake) does, and must be called.
    pub(crate) fn pack_quietly(&self) -> Packer<'_> {
        let mut packer = self.pack();
        packer.is_quiet = true;
        packer
    }

    /// Waits until there may be room again, or the outbox is closed. Cancel-safe.
    pub(crate) async fn room(&self) {
        let room = self.room.notified();
        tokio::pin!(room);
        room.as_mut().enable();
        {
            let mut state = self.lock();
            if state.closed || state.bytes < self.bytes_max {
                return;
            }
            state.room_wanted = true;
        }
        room.await;
    }

    /// Takes the next block of a lane that is not in `full`, lanes in turn, control first of all.
    pub(crate) fn take(&self, full: LaneSet) -> Taken {
        let mut state = self.lock_first();
        let count = state.lanes.len();
        let start = state.next_lane;
        let order = std::iter::once(0).chain((0..count).map(|step| (start + step) % count));
        for index in order {
            let lane = Lane(index as u8);
            if full.contains(lane) {
                continue;
            }
            if let Some(sealed) = state.lanes[index].take() {
                state.next_lane = (index + 1) % count;
                state.bytes -= sealed.block.len();
                state.patient = false;
                state.one_way_taken += u64::from(sealed.one_way);
                let drained = state.room_wanted && state.bytes <= self.bytes_max / 2;
                if drained {
                    state.room_wanted = false;
                    if !is_planted("lost wake-up") {
                        self.room.notify_waiters();
                    }
                }
                // Told with the block, so that the writer need not take the lock again to learn it: the packers of a fast
                // publisher hold it half of the time.
                let last = !state.closed && state.lanes.iter().all(LaneQueue::is_empty);
                state.writer_waits |= last;
                return Taken::Block { lane, sealed, drained, last };
            }
        }
        if state.closed && state.lanes.iter().all(LaneQueue::is_empty) {
            return Taken::End;
        }
        state.writer_waits = true;
        Taken::Nothing
    }

    /// Wakes the writer if it waits though there is something to send: what was packed quietly.
    pub(crate) fn wake(&self) {
        let mut state = self.lock();
        let wake = state.writer_waits && state.bytes > 0;
        if wake {
            state.writer_waits = false;
            state.patient = false;
        }
        drop(state);
        if wake {
            self.work.notify_one();
        }
    }

    /// Waits for work after [`Taken::Nothing`] or the last block. Cancel-safe.
    pub(crate) async fn work(&self) {
        self.work.notified().await;
    }

    /// Whether all that waits is in no hurry, so that the writer may wait for more on `work`, a moment.
    pub(crate) fn is_patient(&self) -> bool {
        let mut state = self.lock();
        let waits = state.patient && !state.closed;
        state.writer_waits |= waits;
        waits
    }

    /// Takes back a block that the transport did not take.
    pub(crate) fn put_back(&self, lane: Lane, sealed: Sealed) {
        let mut state = self.lock();
        if is_planted("block doubled") {
            state.bytes += sealed.block.len();
            state.lanes[usize::from(lane.0)].put_back_copy(&sealed);
        }
        state.bytes += sealed.block.len();
        state.one_way_taken -= u64::from(sealed.one_way);
        state.lanes[usize::from(lane.0)].put_back(sealed);
    }

    /// After a cut: forgets what is left of records whose beginning is gone. Gives the one-way records taken in all,
    /// those forgotten included.
    pub(crate) fn after_cut(&self) -> u64 {
        let mut state = self.lock();
        let state = &mut *state;
        for lane in &mut state.lanes {
            let (bytes, one_way) = lane.drop_torn();
            state.bytes -= bytes;
            state.one_way_taken += u64::from(one_way);
        }
        state.one_way_taken
    }

    /// One-way records that the writer has taken, in all.
    pub(crate) fn one_way_taken(&self) -> u64 {
        self.lock().one_way_taken
    }

    /// Whether the writer has taken the record at `position`.
    pub(crate) fn is_taken(&self, position: Position) -> bool {
        self.lock().lanes[usize::from(position.lane.0)].taken >= position.pushed
    }

    /// Lets nothing more in. What is in is still sent; packers are told.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.work.notify_one();
        self.room.notify_waiters();
    }

    /// Lets nothing more in and throws away what is in.
    pub(crate) fn abandon(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.bytes = 0;
        state.lanes.iter_mut().for_each(|lane| *lane = LaneQueue::default());
        drop(state);
        self.work.notify_one();
        self.room.notify_waiters();
    }

    /// Gives unused buffers back; called when the connection is idle.
    pub(crate) fn trim(&self) {
        self.lock().lanes.iter_mut().for_each(LaneQueue::trim);
    }

    /// Bytes waiting now.
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// Whether more than `bytes` wait now. Takes no lock where there is no bound.
    pub(crate) fn holds_more_than(&self, bytes: usize) -> bool {
        bytes != usize::MAX && self.bytes() > bytes
    }
}

/// The lock of an [`Outbox`], for packing. Dropping it wakes the writer if that is waiting.
#[derive(Debug)]
pub struct Packer<'a> {
    state: Option<MutexGuard<'a, State>>,
    outbox: &'a Outbox,
    /// Something was packed that is to be sent at once.
    hurries: bool,
    /// Something was packed that is not.
    is_patient: bool,
    /// Nobody is woken.
    is_quiet: bool,
}

impl Packer<'_> {
    #[inline]
    fn state(&mut self) -> &mut State {
        self.state.as_mut().expect("held until dropped")
    }

    /// Whether a further record may come in. Once not, the writer tells when room has come: [`Session::room`](crate::Session::room) at a
    /// client, `Attachment::drained` at a server.
    #[inline]
    pub fn has_room(&mut self) -> bool {
        let bytes_max = self.outbox.bytes_max;
        let state = self.state();
        let room = state.bytes < bytes_max;
        state.room_wanted |= !room;
        room
    }

    /// Whether the connection has ended, so that nothing more can come in.
    pub fn is_closed(&mut self) -> bool {
        self.state().closed
    }

    /// The lane for what is ordered under `key` (a subject, queue, bucket or stream): FNV-1a modulo the data lanes.
    #[inline]
    pub fn lane(&mut self, key: &[u8]) -> Lane {
        match self.state().lanes.len() {
            0 | 1 => Lane::CONTROL,
            2 => Lane(1),
            lanes => Lane(1 + (fnv1a(key) % (lanes as u64 - 1)) as u8),
        }
    }

    /// Packs a record: copied, but for a body of 8 KiB or more, which is shared.
    #[inline]
    pub fn push(&mut self, lane: Lane, header: Header, head: &[&[u8]], body: &Bytes) {
        self.push_at(lane, header, head, body);
    }

    /// As [`push`](Self::push), for what nobody waits for: it goes with whatever goes next, and after a millisecond or two by
    /// itself. What would be a packet of its own, and a wake-up at the other end, costs nearly nothing so.
    #[inline]
    pub fn push_without_hurry(&mut self, lane: Lane, header: Header, head: &[&[u8]], body: &Bytes) {
        let hurries = self.hurries;
        self.push_at(lane, header, head, body);
        (self.hurries, self.is_patient) = (hurries, true);
    }

    /// As [`push`](Self::push), and tells the record's place.
    #[inline]
    pub(crate) fn push_at(&mut self, lane: Lane, header: Header, head: &[&[u8]], body: &Bytes) -> Position {
        let sizes = self.outbox.sizes;
        self.hurries = true;
        let state = self.state();
        if state.closed {
            return Position::nowhere();
        }
        let queue = &mut state.lanes[usize::from(lane.0)];
        state.bytes += queue.push(sizes, header, head, body);
        Position { lane, pushed: queue.pushed }
    }

    /// Packs a record without a head on every lane, control included: what must be behind everything that was packed
    /// before, on whatever lane.
    pub(crate) fn push_on_all(&mut self, header: Header, body: &Bytes) {
        for lane in 0..self.state().lanes.len() {
            self.push(Lane(lane as u8), header, &[], body);
        }
    }

    /// Packs a received record again for another receiver: its head and body unchanged, `verb` and `call` new, no flags.
    #[inline]
    pub fn push_readdressed(&mut self, lane: Lane, record: &[u8], verb: u8, call: u32, shared: impl FnOnce() -> Bytes) {
        let sizes = self.outbox.sizes;
        let state = self.state();
        if state.closed {
            return;
        }
        state.bytes += state.lanes[usize::from(lane.0)].push_readdressed(sizes, record, verb, call, shared);
        self.hurries = true;
    }
}

impl Drop for Packer<'_> {
    #[inline]
    fn drop(&mut self) {
        let (hurries, is_patient, is_quiet) = (self.hurries, self.is_patient && !self.hurries, self.is_quiet);
        let state = self.state();
        state.patient &= !hurries;
        // Told once of what is in no hurry, it looks for it by itself.
        let wake = state.writer_waits && state.bytes > 0 && !state.patient && !is_quiet;
        if wake {
            state.writer_waits = false;
            state.patient = is_patient;
        }
        self.state = None;
        if wake {
            self.outbox.work.notify_one();
        }
    }
}

/// FNV-1a, 64 bits: lane hash number 1 of the hello.
#[inline]
fn fnv1a(key: &[u8]) -> u64 {
    key.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLISH: Header = Header { service: 1, verb: 1, flags: 0, call: 0 };

    fn push(outbox: &Outbox, lane: u8, body: &'static [u8]) -> Position {
        outbox.pack().push_at(Lane(lane), PUBLISH, &[], &Bytes::from_static(body))
    }

    fn take(outbox: &Outbox, full: LaneSet) -> Option<(u8, Sealed)> {
        match outbox.take(full) {
            Taken::Block { lane, sealed, .. } => Some((lane.0, sealed)),
            Taken::Nothing | Taken::End => None,
        }
    }

    #[test]
    fn control_goes_first_and_a_full_lane_holds_up_no_other() {
        let outbox = Outbox::new(2, 1_000, 1_000);
        push(&outbox, 1, b"one");
        push(&outbox, 2, b"two");
        push(&outbox, 0, b"control");
        assert_eq!(take(&outbox, LaneSet::EMPTY).unwrap().0, 0);
        assert_eq!(take(&outbox, Lane(1).into()).unwrap().0, 2);
        assert!(take(&outbox, Lane(1).into()).is_none());
        assert_eq!(take(&outbox, LaneSet::EMPTY).unwrap().0, 1);
    }

    #[test]
    fn what_was_taken_is_known_by_its_place() {
        let outbox = Outbox::new(1, 1_000, 1_000);
        let first = push(&outbox, 1, b"first");
        assert!(!outbox.is_taken(first));
        let (lane, sealed) = take(&outbox, LaneSet::EMPTY).unwrap();
        let second = push(&outbox, 1, b"second");
        assert_eq!((outbox.is_taken(first), outbox.is_taken(second), outbox.one_way_taken()), (true, false, 1));
        outbox.put_back(Lane(lane), sealed);
        assert_eq!((outbox.is_taken(first), outbox.one_way_taken()), (false, 0));
    }

    #[test]
    fn room_is_told_once_half_is_gone() {
        let outbox = Outbox::new(1, 40, 1_000);
        push(&outbox, 1, b"0123456789012345678901234567890123456789");
        assert!(!outbox.pack().has_room());
        let Taken::Block { drained, .. } = outbox.take(LaneSet::EMPTY) else { panic!("a block waits") };
        assert!(drained && outbox.pack().has_room());
    }

    fn push_without_hurry(outbox: &Outbox, body: &'static [u8]) {
        outbox.pack().push_without_hurry(Lane(1), PUBLISH, &[], &Bytes::from_static(body));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_in_no_hurry_goes_with_what_comes_next_or_by_itself() {
        let outbox = Outbox::new(1, 1_000, 1_000);
        let is_told = async || tokio::time::timeout(std::time::Duration::ZERO, outbox.work()).await.is_ok();
        assert!(matches!(outbox.take(LaneSet::EMPTY), Taken::Nothing));
        push_without_hurry(&outbox, b"one");
        assert!(is_told().await && outbox.is_patient(), "told once, so that it goes by itself");
        push_without_hurry(&outbox, b"two");
        assert!(!is_told().await, "the writer has it in view already");
        push(&outbox, 1, b"at once");
        assert!(is_told().await && !outbox.is_patient());
        assert_eq!(take(&outbox, LaneSet::EMPTY).unwrap().1.records, 3);
        assert!(matches!(outbox.take(LaneSet::EMPTY), Taken::Nothing));
        // Between being told and looking, something comes that hurries.
        push_without_hurry(&outbox, b"one");
        push(&outbox, 1, b"at once");
        assert!(is_told().await && !outbox.is_patient());
        assert_eq!(take(&outbox, LaneSet::EMPTY).unwrap().1.records, 2);
        // What is packed behind what hurries, in one go, hurries as well.
        assert!(matches!(outbox.take(LaneSet::EMPTY), Taken::Nothing));
        let mut packer = outbox.pack();
        packer.push(Lane(1), PUBLISH, &[], &Bytes::new());
        packer.push_without_hurry(Lane(1), PUBLISH, &[], &Bytes::new());
        drop(packer);
        assert!(is_told().await && !outbox.is_patient());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_packed_quietly_wakes_nobody_until_it_is_told() {
        let outbox = Outbox::new(1, 1_000, 1_000);
        let is_told = async || tokio::time::timeout(std::time::Duration::ZERO, outbox.work()).await.is_ok();
        assert!(matches!(outbox.take(LaneSet::EMPTY), Taken::Nothing));
        for _ in 0..3 {
            outbox.pack_quietly().push(Lane(1), PUBLISH, &[], &Bytes::new());
        }
        assert!(!is_told().await);
        outbox.wake();
        assert!(is_told().await);
        assert_eq!(take(&outbox, LaneSet::EMPTY).unwrap().1.records, 3);
        assert!(matches!(outbox.take(LaneSet::EMPTY), Taken::Nothing));
        outbox.wake();
        assert!(!is_told().await, "there is nothing to send");
        outbox.pack_quietly().push(Lane(1), PUBLISH, &[], &Bytes::new());
        push(&outbox, 1, b"at once");
        assert!(is_told().await, "whoever is not quiet wakes for all");
    }

    #[test]
    fn closed_means_what_is_in_goes_out_and_nothing_comes_in() {
        let outbox = Outbox::new(1, 40, 1_000);
        push(&outbox, 1, b"in");
        outbox.close();
        push(&outbox, 1, b"late");
        assert_eq!(take(&outbox, LaneSet::EMPTY).unwrap().1.records, 1);
        assert!(matches!(outbox.take(LaneSet::EMPTY), Taken::End));
    }
}
