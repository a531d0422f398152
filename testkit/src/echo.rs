//! A service to talk to: it echoes, fails, holds calls, counts one-way records and streams, and notes what it saw.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use sinew_session::{
    Attachment, Consumer, Error, Failure, Header, Lane, Link, Request, Restore, Result, Run, Service, Session,
    read_call, to_cbor,
};

/// Its code in record headers.
pub const ECHO: u8 = 9;

/// What is said to it.
pub mod verb {
    /// A call: the answer is the request.
    pub const ECHO: u8 = 1;
    /// One way: noted with key and number. Head: the key. Body: a number (u64).
    pub const COUNT: u8 = 2;
    /// A call that is never answered.
    pub const HOLD: u8 = 3;
    /// A call that fails.
    pub const FAIL: u8 = 4;
    /// A call for so many [`ITEM`]s, under its number.
    pub const STREAM: u8 = 5;
    /// Server: one of a stream. Body: which (u64).
    pub const ITEM: u8 = 6;
}

/// What the service saw, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// An answered call with its text.
    Call(String),
    /// A call that is held.
    Hold(u32),
    /// The caller of this one has gone.
    Cancel(u32),
    /// A one-way record.
    Count {
        /// What it is ordered with.
        key: Vec<u8>,
        /// Its number.
        number: u64,
    },
}

/// The service, with what it saw.
#[derive(Clone, Debug)]
pub struct Echo {
    code: u8,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Default for Echo {
    fn default() -> Self {
        Self::with_code(ECHO)
    }
}

impl Echo {
    /// The same under another code.
    pub fn with_code(code: u8) -> Self {
        Self { code, seen: Arc::default() }
    }

    /// What it saw so far.
    pub fn seen(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.seen.lock().expect("no panic while it is held")
    }

    /// The numbers of the one-way records of `key`.
    pub fn counted(&self, key: &[u8]) -> Vec<u64> {
        let number = |seen: &Seen| match seen {
            Seen::Count { key: of, number } if of == key => Some(*number),
            _ => None,
        };
        self.seen().iter().filter_map(number).collect()
    }
}

impl Service for Echo {
    fn code(&self) -> u8 {
        self.code
    }

    fn open(&self, link: &Arc<Link>) -> Box<dyn Attachment> {
        Box::new(Open { echo: self.clone(), link: link.clone() })
    }
}

#[derive(Debug)]
struct Open {
    echo: Echo,
    link: Arc<Link>,
}

impl Attachment for Open {
    fn records(&mut self, lane: Lane, run: Run<'_>) -> std::result::Result<(), Failure> {
        for record in run {
            let header = record.header;
            match header.verb {
                verb::COUNT => {
                    let number = record.body().try_into().map_or(0, u64::from_le_bytes);
                    self.echo.seen().push(Seen::Count { key: record.head().to_vec(), number });
                }
                verb::HOLD => self.echo.seen().push(Seen::Hold(header.call)),
                verb::FAIL => {
                    let failure = Failure::new("denied", "not today");
                    self.link.fail(lane, &header, &failure);
                }
                verb::ECHO => match read_call::<String>(&record) {
                    Ok((_, text)) => {
                        self.link.reply(lane, &header, &text);
                        self.echo.seen().push(Seen::Call(text));
                    }
                    Err(failure) => self.link.fail(lane, &header, &failure),
                },
                verb::STREAM => match read_call::<u64>(&record) {
                    Ok((_, count)) => {
                        self.link.reply(lane, &header, &count);
                        let item = Header { service: self.echo.code, verb: verb::ITEM, flags: 0, call: header.call };
                        let mut packer = self.link.pack();
                        for index in 0..count {
                            packer.push(lane, item, &[], &Bytes::copy_from_slice(&index.to_le_bytes()));
                        }
                    }
                    Err(failure) => self.link.fail(lane, &header, &failure),
                },
                unknown => {
                    let reason = format!("echo does not know verb {unknown}");
                    self.link.fail(lane, &header, &Failure::new("unknown-verb", reason));
                }
            }
        }
        Ok(())
    }

    fn cancel(&mut self, call: u32) {
        self.echo.seen().push(Seen::Cancel(call));
    }

    fn resume(&mut self, link: &Arc<Link>) {
        self.link = link.clone();
    }
}

/// The client's side: notes what comes, and asks for one thing when it is restored.
#[derive(Debug, Default)]
pub struct Listener {
    heard: Mutex<Vec<Heard>>,
}

/// What the client's side heard, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// One of a stream.
    Item(u32, u64),
    /// The connection was cut.
    Disconnected,
    /// The restore was answered: whether the session was resumed, and whether the answer was good.
    Restored(bool, bool),
    /// The session is over.
    Ended(String),
}

impl Listener {
    /// What it heard so far.
    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().expect("no panic while it is held").clone()
    }

    fn note(&self, heard: Heard) {
        self.heard.lock().expect("no panic while it is held").push(heard);
    }
}

/// A [`Listener`] as it is mounted.
#[derive(Clone, Debug, Default)]
pub struct Mounted(pub Arc<Listener>);

impl Consumer for Mounted {
    fn records(&self, run: Run<'_>) {
        for record in run {
            let index = record.body().try_into().map_or(0, u64::from_le_bytes);
            self.0.note(Heard::Item(record.header.call, index));
        }
    }

    fn disconnected(&self) {
        self.0.note(Heard::Disconnected);
    }

    fn restore(&self, restore: &mut Restore<'_>) {
        let (listener, resumed) = (self.0.clone(), restore.resumed());
        let request = call(verb::ECHO, b"restore", &"restore", Duration::from_secs(10));
        restore.call(request, move |reply| listener.note(Heard::Restored(resumed, reply.is_ok())));
    }

    fn ended(&self, why: &Error) {
        self.0.note(Heard::Ended(why.to_string()));
    }
}

/// A call of this service.
pub fn call<'a>(verb: u8, key: &'a [u8], body: &impl serde::Serialize, deadline: Duration) -> Request<'a> {
    Request::new(ECHO, verb, key, to_cbor(body), deadline)
}

/// Sends `text` and checks that it comes back.
///
/// # Errors
/// As [`Session::call`].
pub async fn echo(session: &Session, text: &str) -> Result<()> {
    let reply = session.call(call(verb::ECHO, text.as_bytes(), &text, Duration::from_secs(10))).await?;
    assert_eq!(reply.read::<String>()?, text);
    Ok(())
}

/// Sends a one-way record, once there is room.
///
/// # Errors
/// As [`Session::room`].
pub async fn count(session: &Session, key: &[u8], number: u64) -> Result<()> {
    loop {
        {
            let mut packer = session.outbox().pack();
            if packer.has_room() && !packer.is_closed() {
                let lane = packer.lane(key);
                let header = Header { service: ECHO, verb: verb::COUNT, flags: 0, call: 0 };
                packer.push(lane, header, &[key], &Bytes::copy_from_slice(&number.to_le_bytes()));
                return Ok(());
            }
        }
        session.room().await?;
    }
}
