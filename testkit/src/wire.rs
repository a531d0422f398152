//! A peer below the session: bare connections on which a test says what it likes. The messages of hello are written
//! down here a second time, on purpose: a change of the wire shows.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sinew_session::{CRITICAL, Header, Run, SessionId, encode, from_cbor, to_cbor};
use sinew_transport_api::{Block, Connection, Error, Lane, LaneSet, Result};

use crate::setup::soon;

/// The session's own service.
pub const SESSION: u8 = 0;

/// Verbs of the session.
pub mod verb {
    /// The client's first record.
    pub const HELLO: u8 = 1;
    /// The answer to a good one.
    pub const WELCOME: u8 = 2;
    /// The answer to another one.
    pub const REFUSAL: u8 = 3;
    /// I am here.
    pub const HEARTBEAT: u8 = 4;
    /// A part of a record.
    pub const FRAGMENT: u8 = 5;
    /// Behind everything.
    pub const FLUSH: u8 = 6;
    /// Nobody waits for that call any more.
    pub const CANCEL: u8 = 7;
    /// The end, in order.
    pub const GOODBYE: u8 = 8;
}

/// The client's first record.
#[derive(Clone, Debug, Serialize)]
pub struct Hello {
    /// Lowest protocol version.
    pub protocol_min: u16,
    /// Highest protocol version.
    pub protocol_max: u16,
    /// Feature bits.
    pub features: u64,
    /// What it is.
    pub software: String,
    /// Who it is.
    pub client: String,
    /// Services wanted.
    pub services: Vec<u8>,
    /// Data lanes wanted.
    pub lanes: u8,
    /// Which hash chooses them.
    pub lane_hash: u8,
    /// Reserved.
    pub space: String,
    /// The session that was cut.
    pub resume: Option<SessionId>,
}

impl Default for Hello {
    fn default() -> Self {
        Self {
            protocol_min: 1,
            protocol_max: 1,
            features: 0,
            software: "testkit".into(),
            client: "raw".into(),
            services: Vec::new(),
            lanes: 1,
            lane_hash: 1,
            space: String::new(),
            resume: None,
        }
    }
}

/// What the tests read of the answer.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Welcome {
    /// Version.
    pub protocol: u16,
    /// Feature bits.
    pub features: u64,
    /// What it is.
    pub software: String,
    /// Which start of the server.
    pub epoch: u64,
    /// The session.
    pub session: SessionId,
    /// Services there.
    pub services: Vec<u8>,
    /// Data lanes agreed.
    pub lanes: u8,
    /// The largest record.
    pub record_bytes_max: u64,
    /// Heartbeat.
    pub heartbeat_ms: u64,
    /// Silence.
    pub lost_after_ms: u64,
    /// Acknowledgement level.
    pub acknowledgement: String,
    /// Of the session that was resumed.
    pub one_way_received: Option<u64>,
}

/// A record of the session.
pub fn session_record(verb: u8, flags: u8, call: u32, head: &[u8], body: &[u8]) -> Bytes {
    encode(Header { service: SESSION, verb, flags, call }, head, body)
}

/// The block of a hello.
pub fn hello(hello: &Hello) -> Bytes {
    session_record(verb::HELLO, CRITICAL, 0, &[], &to_cbor(hello))
}

/// Sends a block, waiting for room.
///
/// # Errors
/// Those of the transport: the other end may have had enough.
pub async fn send(connection: &mut Connection, lane: Lane, block: Bytes) -> Result<()> {
    let mut block = Block::from(block);
    loop {
        let wanted = LaneSet::from(lane);
        soon("room in the lane", connection.sender.ready(wanted)).await?;
        if connection.sender.try_send(lane, &mut block)? {
            return Ok(());
        }
    }
}

/// Says hello on a bare connection and opens the lanes; the answer if it was a welcome.
///
/// # Errors
/// Those of the transport.
pub async fn say_hello(connection: &mut Connection, greeting: &Hello) -> Result<Option<Welcome>> {
    send(connection, Lane::CONTROL, hello(greeting)).await?;
    let Some((_, block)) = soon("the answer", connection.receiver.recv()).await? else { return Ok(None) };
    let Some(record) = Run::parse(&block).ok().and_then(|mut run| run.next()) else { return Ok(None) };
    if record.header.verb != verb::WELCOME {
        return Ok(None);
    }
    let why = |error: &dyn ToString| Error::Protocol { peer: "the server".into(), why: error.to_string() };
    let welcome: Welcome = from_cbor(record.body()).map_err(|error| why(&error))?;
    connection.sender.open_lanes(welcome.lanes + 1)?;
    Ok(Some(welcome))
}
