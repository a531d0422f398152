//! One hop through the session: records to a service that counts them, calls to a service that answers them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sinew_auth::{AdmitEveryone, Identity};
use sinew_session::{
    Attachment, Failure, Header, Lane, Link, REPLY, Request, Run, Server, ServerBuilder, Service, Session,
    SessionOptions,
};
use sinew_transport_api::{Endpoint, ListenOptions, Registry, Security};
use tokio::runtime::Runtime;

const SERVICE: u8 = 9;
const ONE_WAY: u8 = 1;
const ECHO: u8 = 2;
const DEADLINE: Duration = Duration::from_secs(60);

/// Whether both ends have keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secured {
    /// Authenticated and encrypted.
    Yes,
    /// Plaintext (QUIC: encrypted under a throwaway key).
    No,
}

#[derive(Debug)]
struct Sink;

impl Service for Sink {
    fn code(&self) -> u8 {
        SERVICE
    }

    fn open(&self, link: &Arc<Link>) -> Box<dyn Attachment> {
        Box::new(SinkSession { link: link.clone(), bytes: 0 })
    }
}

#[derive(Debug)]
struct SinkSession {
    link: Arc<Link>,
    bytes: usize,
}

impl Attachment for SinkSession {
    fn records(&mut self, lane: Lane, run: Run<'_>) -> Result<(), Failure> {
        for record in run {
            self.bytes += record.body().len();
            if record.header.verb == ECHO {
                let header = Header { flags: REPLY, ..record.header };
                self.link.pack().push(lane, header, &[], &record.body_shared());
            }
        }
        Ok(())
    }
}

/// A server on a thread of its own.
#[derive(Debug)]
pub struct HopServer {
    endpoint: Endpoint,
    identity: Option<Arc<Identity>>,
    _server: Server,
}

/// A client on a thread of its own.
#[derive(Debug)]
pub struct Hop {
    session: Session,
    runtime: Runtime,
}

impl HopServer {
    /// Listens at `url`; port 0 picks one.
    ///
    /// # Panics
    /// If it cannot: a benchmark has no other way out.
    pub fn start(url: &str, secured: Secured) -> Self {
        let identity = (secured == Secured::Yes).then(|| Arc::new(Identity::generate()));
        let security = identity.clone().map_or(Security::Plaintext, Security::Identity);
        let options = ListenOptions::new(security, Arc::new(AdmitEveryone));
        let builder = ServerBuilder::new(Registry::linked().expect("one plug-in for each scheme"))
            .listen(url.parse().expect("an endpoint"), options)
            .service(Arc::new(Sink));
        let server = runtime().block_on(builder.start()).expect("the server starts");
        Self { endpoint: server.endpoints()[0].clone(), identity, _server: server }
    }

    /// Connects a client.
    ///
    /// # Panics
    /// If it cannot.
    pub fn connect(&self) -> Hop {
        let runtime = runtime();
        let key = self.identity.as_ref().map(|identity| identity.public_key());
        let security = key.map_or(Security::Plaintext, |_| Security::Identity(Arc::new(Identity::generate())));
        let options = SessionOptions::new(security, key).expect("one plug-in for each scheme");
        let session = runtime.block_on(Session::connect(&self.endpoint, options)).expect("the server is there");
        Hop { session, runtime }
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

impl Hop {
    /// Sends `count` one-way records and waits until the server has taken in all of them. One lock for each record, as
    /// `Bus::publish` does.
    ///
    /// # Panics
    /// If one is lost.
    pub fn one_way(&self, count: u64, body: &Bytes) {
        let header = Header { service: SERVICE, verb: ONE_WAY, flags: 0, call: 0 };
        self.runtime.block_on(async {
            for _ in 0..count {
                while !self.try_push(header, body) {
                    self.session.room().await.expect("the connection stands");
                }
            }
            self.session.flush(DEADLINE).await.expect("nothing is lost");
        });
    }

    #[inline]
    fn try_push(&self, header: Header, body: &Bytes) -> bool {
        let mut packer = self.session.outbox().pack();
        let room = packer.has_room();
        if room {
            let lane = packer.lane(b"bench");
            packer.push(lane, header, &[], body);
        }
        room
    }

    /// Makes `count` calls, one after the other, each answered with its own body.
    ///
    /// # Panics
    /// If one fails.
    pub fn round_trips(&self, count: u64, body: &Bytes) {
        self.runtime.block_on(async {
            for _ in 0..count {
                let request = Request::new(SERVICE, ECHO, b"bench", body.clone(), DEADLINE);
                let reply = self.session.call(request).await.expect("an answer");
                assert_eq!(reply.body.len(), body.len());
            }
        });
    }
}
