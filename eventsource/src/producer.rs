//! The idempotent producer at the client: keeps what is not acknowledged, and sends it again after a cut under the same
//! numbers, so that each batch is stored once and in order.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use sinew_session::{Backoff, Error as SessionError, HEADER_BYTES, Reply, ResourceName, Restore, Session};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::client::{AppendTicket, Log, append_request, appended, batch_of, encode_value, send_append};
use crate::protocol::AppendHead;
use crate::{Appended, Error, EventBatch, NewEvent, ProducerGrant, ProducerStamp, Result};

mod queue;
use queue::{Next, Outgoing, Queue};

/// Batches of a producer that are not acknowledged yet. The server remembers as many, so that it knows each of them again.
pub const PRODUCER_BATCHES_MAX: usize = 64;

/// How long a producer waits before it asks a busy server again. The first wait is about what a disk takes for a few rounds;
/// at the longest a thousand producers ask a server that stays busy a thousand times in a second.
const BUSY_WAIT: Backoff = Backoff { first: Duration::from_millis(5), max: Duration::from_secs(1) };

/// A call of a producer waits for its answer however long it takes: a server that is gone is noticed by the session.
const FOR_EVER: Duration = Duration::MAX;
/// Room for the head of an append.
const HEAD_BYTES_MAX: usize = 128;

/// An idempotent producer of a stream. What is appended through it is stored once and in order, through cuts and restarts
/// of the server, as long as it lives. Appends of several tasks are fine; they are numbered in the order of the calls.
///
/// Dropping it gives up on what is not acknowledged: [`flush`](Self::flush) first.
#[derive(Debug)]
pub struct Producer {
    sending: Arc<Sending>,
    room: Arc<Semaphore>,
    grant: ProducerGrant,
}

/// What the answers to its calls work on.
#[derive(Debug)]
pub(crate) struct Sending {
    session: Session,
    stream: ResourceName,
    id: u64,
    epoch: u32,
    queue: Mutex<Queue<Told>>,
}

/// Who hears what became of a batch.
#[derive(Debug)]
struct Told {
    told: oneshot::Sender<Result<Appended>>,
    _room: OwnedSemaphorePermit,
}

impl Producer {
    pub(crate) fn new(log: &Log, stream: ResourceName, grant: ProducerGrant) -> Self {
        let ProducerGrant { id, epoch, sequence, .. } = grant;
        let queue = Mutex::new(Queue::new(sequence));
        let sending = Arc::new(Sending { session: log.session().clone(), stream, id, epoch, queue });
        log.enter_producer(&sending);
        Self { sending, room: Arc::new(Semaphore::new(PRODUCER_BATCHES_MAX)), grant }
    }

    /// How far the producer of this name was when it was opened.
    pub fn grant(&self) -> ProducerGrant {
        self.grant
    }

    /// The stream that it appends to.
    pub fn stream(&self) -> &ResourceName {
        &self.sending.stream
    }

    /// Appends an event. Resolves once it is stored, which after a cut may take until the server is there again. A server
    /// that is busy is asked again after a pause, with jitter, that doubles from 5 ms up to 1 s until something is stored.
    ///
    /// # Errors
    /// As [`append_batch`](Self::append_batch).
    pub async fn append(&self, event: impl Into<NewEvent>) -> Result<Appended> {
        self.append_batch(batch_of(&event.into())?).await
    }

    /// Appends `value` in CBOR.
    ///
    /// # Errors
    /// `Unencodable` if the value's own `Serialize` fails, and as [`append_batch`](Self::append_batch).
    pub async fn append_value<T: serde::Serialize + ?Sized>(&self, value: &T) -> Result<Appended> {
        self.append(encode_value(&self.sending.stream, value)?).await
    }

    /// Appends a batch, all or nothing.
    ///
    /// # Errors
    /// `TooLarge`, `NoSpace`, `NotNow`, `Session(RecordSize)`, and `Session(Failed)` named `bad-request` for a batch without events or
    /// with gaps: this batch was not stored, and the next ones can be.
    /// `ProducerFenced`: somebody has opened the producer of this name since; `SequenceGap`: the server has lost what it
    /// had acknowledged, as a stream that is only written may by a loss of power; `ProducerExpired`, `UnknownStream`,
    /// `Denied`, `Storage`, or the session's end: nothing can be appended through it any more, and batches that were not
    /// acknowledged may be stored or not; the grant of the next one that is opened tells.
    pub async fn append_batch(&self, events: EventBatch) -> Result<Appended> {
        self.append_start(events).await?.await
    }

    /// Sends a batch on its way, and gives the ticket. Waits only while [`PRODUCER_BATCHES_MAX`] batches are not
    /// acknowledged. Cancelling before it resolves appends nothing.
    ///
    /// # Errors
    /// `Session(RecordSize)`, and those after which nothing can be appended any more.
    pub async fn append_start(&self, events: EventBatch) -> Result<AppendTicket> {
        let (bytes, max) =
            (HEADER_BYTES + HEAD_BYTES_MAX + events.body().len(), self.sending.session.record_bytes_max());
        if bytes > max {
            return Err(SessionError::RecordSize { bytes, max }.into());
        }
        let room = self.room.clone().acquire_owned().await.map_err(|_| SessionError::Closed)?;
        let (told, ticket) = AppendTicket::new();
        self.sending.queue().push(events, Told { told, _room: room })?;
        self.sending.pump();
        Ok(ticket)
    }

    /// Waits until everything that was appended before is acknowledged or has failed; which, its tickets say.
    ///
    /// # Errors
    /// Why nothing can be appended any more.
    pub async fn flush(&self) -> Result<()> {
        let all = self.room.acquire_many(PRODUCER_BATCHES_MAX as u32).await;
        drop(all.map_err(|_| SessionError::Closed)?);
        self.sending.queue().failed()
    }
}

impl Sending {
    fn queue(&self) -> MutexGuard<'_, Queue<Told>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn head(&self, sequence: u64) -> Vec<u8> {
        let producer = Some(ProducerStamp { id: self.id, epoch: self.epoch, sequence });
        AppendHead { stream: self.stream.as_str(), required: None, expected_next: None, producer }.encode()
    }

    /// Sends what may be sent, one thread at a time, so that batches go in order.
    fn pump(self: &Arc<Self>) {
        if !self.queue().begin_pumping() {
            return;
        }
        loop {
            // In a statement of its own: the answer may come within the call.
            let next = self.queue().next();
            match next {
                Next::Nothing => return,
                Next::Wait { pause, turn } => return self.wait(pause, turn),
                Next::Send(outgoing) => {
                    let head = self.head(outgoing.sequence);
                    let done = self.done(&outgoing);
                    send_append(&self.session, self.stream.as_str(), &head, &outgoing.events, FOR_EVER, done);
                }
            }
        }
    }

    /// Goes on after a while, where the session runs.
    fn wait(self: &Arc<Self>, pause: u64, turn: u32) {
        let wait = BUSY_WAIT.wait(turn, self.session.random() as u32);
        let sending = Arc::downgrade(self);
        self.session.spawn(async move {
            tokio::time::sleep(wait).await;
            if let Some(sending) = sending.upgrade() {
                sending.queue().resume(pause);
                sending.pump();
            }
        });
    }

    fn done(self: &Arc<Self>, outgoing: &Outgoing) -> impl FnOnce(sinew_session::Result<Reply>) + Send + 'static {
        let (sending, ticket) = (Arc::downgrade(self), outgoing.ticket);
        move |reply| {
            if let Some(sending) = Weak::upgrade(&sending) {
                let told = sending.queue().settle(ticket, appended(reply));
                told.into_iter().for_each(|(Told { told, _room }, result)| drop(told.send(result)));
                sending.pump();
            }
        }
    }

    /// After a cut: what was sent and not answered goes again, before anything that waits behind it.
    pub(crate) fn restore(self: &Arc<Self>, restore: &mut Restore<'_>) {
        let again = self.queue().after_cut();
        for outgoing in again {
            let head = self.head(outgoing.sequence);
            let done = self.done(&outgoing);
            restore.call(append_request(self.stream.as_str(), &[&head], &outgoing.events, FOR_EVER), done);
        }
        self.pump();
    }

    /// Nothing can be sent any more.
    pub(crate) fn fail(&self, why: &Error) {
        let told = self.queue().fail(why);
        told.into_iter().for_each(|(Told { told, _room }, result)| drop(told.send(result)));
    }
}
