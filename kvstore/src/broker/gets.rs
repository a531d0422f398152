//! Gets: answered where the block arrives when the engine knows the answer without the disk. The others gather while one
//! read of the disk is under way, and go together in the next.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use sinew_session::{Failure, Header, Lane, Link, REPLY, Record};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::answers::{Answer, Reply};
use super::attachment::KvAttachment;
use super::doors::{Job, Opened};
use crate::protocol::{
    Asks, ENTRY_BYTES, EntryHead, KeyHead, bad_request, failure_of, read_keys, read_many_head, value_frame,
};
use crate::{Bucket, Entry, Found, Key};

/// Keys that one get of several may name: what one answer explains. A client asks for more in pieces.
pub(crate) const GET_KEYS_MAX: usize = 1_024;
/// Keys of one read of the disk, at most.
const LOAD_KEYS_MAX: usize = 256;
/// And at first, until it is known how large values are.
const LOAD_KEYS_FIRST: usize = 16;
/// Bytes of values that one read of the disk is to bring in, about.
const LOAD_BYTES: usize = 4 << 20;
/// What a get that waits takes, about.
const GET_BYTES: usize = 320;

/// Answers to gets of one block, packed together. Kept from block to block, so that they cost no allocation.
#[derive(Debug, Default)]
pub(super) struct Gathered(Vec<(Header, Option<Entry>)>);

/// A get that cannot be answered at once.
#[derive(Debug)]
pub(super) struct Get {
    pub(super) answer: Answer,
    key: Key,
    loader: Loader,
    room: Arc<Notify>,
    waiting_max: usize,
}

impl Get {
    pub(super) fn bytes(&self) -> usize {
        GET_BYTES
    }

    pub(super) fn run(self, opened: &Opened) {
        match opened.bucket.get(&self.key) {
            Found::Now(entry) => give(&self.answer, entry.as_ref()),
            Found::OnDisk => self.load(opened.bucket.clone()),
            Found::Failed(error) => self.answer.fail(&failure_of(&error)),
        }
    }

    /// Goes to the disk with those that wait already.
    fn load(self, bucket: Arc<dyn Bucket>) {
        let Self { answer, key, loader, room, waiting_max } = self;
        let mut queue = loader.lock();
        if queue.waiting.len() >= waiting_max {
            drop(queue);
            let reason = format!(
                "{waiting_max} gets of this session wait for the disk, the limit; await some of them first, or raise \
                 `gets_waiting_max` at the server"
            );
            return answer.fail(&Failure::new("limit", reason));
        }
        queue.waiting.push(Waiting { bucket, key, answer });
        if queue.task.is_none() {
            queue.task = Some(tokio::spawn(loader.clone().run(room)).abort_handle());
        }
    }
}

/// The gets of a session that wait for the disk, and whether somebody reads it for them.
#[derive(Clone, Debug, Default)]
pub(super) struct Loader(Arc<Mutex<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Waiting>,
    /// Reads the disk until nothing waits.
    task: Option<AbortHandle>,
}

#[derive(Debug)]
struct Waiting {
    bucket: Arc<dyn Bucket>,
    key: Key,
    answer: Answer,
}

impl Loader {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody can be answered any more.
    pub(super) fn clear(&self) {
        let Queue { task, .. } = std::mem::take(&mut *self.lock());
        task.into_iter().for_each(|task| task.abort());
    }

    async fn run(self, room: Arc<Notify>) {
        let mut at_once = LOAD_KEYS_FIRST;
        loop {
            let batch = {
                let mut queue = self.lock();
                if queue.waiting.is_empty() {
                    queue.task = None;
                    return;
                }
                std::mem::take(&mut queue.waiting)
            };
            let mut rest = &batch[..];
            while let Some(first) = rest.first() {
                let most = at_once.min(rest.len());
                let same = rest[..most].iter().take_while(|each| Arc::ptr_eq(&each.bucket, &first.bucket)).count();
                let (now, later) = rest.split_at(same);
                wait_for_room(&first.answer.link, &room).await;
                let bytes = load(now).await;
                at_once = (LOAD_BYTES / (bytes / same).max(1)).clamp(1, LOAD_KEYS_MAX);
                rest = later;
            }
        }
    }
}

/// Reads the disk for gets of one bucket and answers them. Gives the bytes that came of it.
async fn load(gets: &[Waiting]) -> usize {
    let keys: Vec<Key> = gets.iter().map(|get| get.key.clone()).collect();
    match gets[0].bucket.load(&keys).await {
        Ok(entries) => {
            let bytes = entries.iter().flatten().map(|entry| entry.value.len()).sum();
            gets.iter().zip(entries).for_each(|(get, entry)| give(&get.answer, entry.as_ref()));
            bytes
        }
        Err(error) => {
            let failure = failure_of(&error);
            gets.iter().for_each(|get| get.answer.fail(&failure));
            0
        }
    }
}

/// Waits until the connection's outbox takes more, or is closed.
pub(super) async fn wait_for_room(link: &Link, room: &Notify) {
    loop {
        let told = room.notified();
        tokio::pin!(told);
        told.as_mut().enable();
        if has_room(link) {
            return;
        }
        told.await;
    }
}

fn has_room(link: &Link) -> bool {
    let mut packer = link.pack();
    packer.has_room() || packer.is_closed()
}

fn give(answer: &Answer, entry: Option<&Entry>) {
    let value = entry.map_or_else(Bytes::new, |entry| entry.value.clone());
    answer.give(&EntryHead::of(entry).encode(), &value);
}

impl KvAttachment {
    pub(super) fn get(&mut self, lane: Lane, record: &Record<'_>) {
        if let Err(failure) = self.try_get(lane, record) {
            self.link.fail(lane, &record.header, &failure);
        }
    }

    fn try_get(&mut self, lane: Lane, record: &Record<'_>) -> Result<(), Failure> {
        let head = KeyHead::read(record.head()).ok_or_else(|| bad_request("a key head does not hold together"))?;
        let key = record.head_shared(head.key.0..head.key.1);
        let key = Key::try_from(key).map_err(|error| failure_of(&error))?;
        self.door(head.bucket)?;
        self.may(head.bucket, Asks::Read(head.name))?;
        let door = self.doors.get_mut(head.bucket).expect("just made");
        match door.opened().map(|opened| opened.bucket.get(&key)) {
            Some(Found::Now(entry)) => self.gathered.0.push((record.header, entry)),
            Some(Found::Failed(error)) => return Err(failure_of(&error)),
            Some(Found::OnDisk) | None => {
                let get = self.waiting_get(lane, record, key.to_owned_bytes());
                let shared = self.shared.clone();
                self.door(head.bucket)?.submit(&shared, Job::Get(get));
            }
        }
        Ok(())
    }

    fn waiting_get(&self, lane: Lane, record: &Record<'_>, key: Key) -> Get {
        let waiting_max = self.shared.limits.gets_waiting_max;
        Get {
            answer: self.answer(lane, record),
            key,
            loader: self.loader.clone(),
            room: self.room.clone(),
            waiting_max,
        }
    }

    /// Packs what was gathered in this block: one lock of the outbox.
    pub(super) fn answer_gets(&mut self, lane: Lane) {
        if self.gathered.0.is_empty() {
            return;
        }
        let nothing = Bytes::new();
        let mut packer = self.link.pack();
        for (header, entry) in self.gathered.0.drain(..) {
            let head = EntryHead::of(entry.as_ref()).encode();
            let value = entry.as_ref().map_or(&nothing, |entry| &entry.value);
            packer.push(lane, Header { flags: REPLY, ..header }, &[&head], value);
        }
    }

    /// Several keys, all at one moment; as many as one answer takes.
    pub(super) fn get_many(&mut self, lane: Lane, record: &Record<'_>) -> Result<(), Failure> {
        let malformed = || bad_request("a get of several keys does not hold together");
        let (bucket, count) = read_many_head(record.head()).ok_or_else(malformed)?;
        if count > GET_KEYS_MAX {
            return Err(bad_request(format!("a get of {count} keys; the limit is {GET_KEYS_MAX}: ask in pieces")));
        }
        let keys = read_keys(&record.body_shared(), count).ok_or_else(malformed)?;
        let keys = keys.map_err(|error| failure_of(&error))?;
        let name = self.door(bucket)?.name.clone();
        for key in &keys {
            self.may(bucket, Asks::Read(&format!("{bucket}.{key}")))?;
        }
        let (shared, max) = (self.shared.clone(), self.shared.limits.page_bytes_max);
        self.call(lane, record, async move {
            let loading = async { shared.bucket(&name).await?.load(&keys).await };
            let entries = loading.await.map_err(|error| failure_of(&error))?;
            let mut page = BytesMut::new();
            for entry in &entries {
                let bytes = ENTRY_BYTES + 4 + entry.as_ref().map_or(0, |entry| entry.value.len());
                if !page.is_empty() && page.len() + bytes > max {
                    break;
                }
                value_frame(entry.as_ref(), &mut page);
            }
            Ok(Reply { head: Vec::new(), body: page.freeze() })
        })
    }
}
