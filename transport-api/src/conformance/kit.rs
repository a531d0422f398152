//! What every case needs: listeners and connections of the subject, deadlines that say what was waited for, and a way
//! to stop.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use sinew_auth::{Admit, AdmitEveryone, Identity};

use super::subject::{Mode, Subject};
use crate::random::Random;
use crate::{
    Capabilities, ConnectOptions, Connection, Endpoint, Error, Limits, ListenOptions, Listener, Security, Transport,
};

/// The longest wait for a single thing. Generous: machines that run tests are busy.
const WAIT: Duration = Duration::from_secs(30);

/// Why a case ends before its end.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The transport does not claim what the case needs.
    Skip(String),
    /// The promise is broken.
    Fail(String),
}

pub(crate) type Outcome<T = ()> = Result<T, Stop>;

impl Stop {
    #[track_caller]
    pub(crate) fn fail(how: impl fmt::Display) -> Self {
        Self::Fail(format!("{how} (at {})", Location::caller()))
    }
}

impl From<Error> for Stop {
    #[track_caller]
    fn from(error: Error) -> Self {
        Self::fail(format_args!("unexpected error: {error} [{error:?}]"))
    }
}

/// Fails the case with the given words unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($words:tt)+) => {
        if !$condition {
            return Err($crate::conformance::kit::Stop::fail(format_args!($($words)+)));
        }
    };
}
pub(crate) use ensure;

/// Waits for `future`, with a deadline that says what was waited for.
#[track_caller]
pub(crate) fn within<F: Future>(what: &str, future: F) -> impl Future<Output = Outcome<F::Output>> {
    let caller = Location::caller();
    async move {
        let late = |_| Stop::Fail(format!("waited {} s for {what} (at {caller})", WAIT.as_secs()));
        tokio::time::timeout(WAIT, future).await.map_err(late)
    }
}

/// Which side of a connection the acting end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It connected.
    Client,
    /// It accepted.
    Server,
}

impl Role {
    pub(crate) const BOTH: [Self; 2] = [Self::Client, Self::Server];
}

/// Both ends of a connection, and the listener that made it.
pub(crate) struct Pair {
    /// The end that acts.
    pub(crate) ours: Connection,
    /// The other.
    pub(crate) theirs: Connection,
    /// Kept open for as long as the pair is used.
    pub(crate) listener: Box<dyn Listener>,
}

/// One run of one case.
pub(crate) struct Kit {
    pub(crate) subject: Arc<dyn Subject>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) can: Capabilities,
    pub(crate) seed: u64,
    pub(crate) server: Arc<Identity>,
    pub(crate) client: Arc<Identity>,
}

impl Kit {
    pub(crate) fn new(subject: Arc<dyn Subject>, seed: u64) -> Self {
        let transport = subject.transport();
        let identity = |name: u64| {
            let mut seed_bytes = [0; 32];
            Random::derived(seed, &[name]).fill(&mut seed_bytes);
            Arc::new(Identity::from_seed(&seed_bytes))
        };
        let can = transport.capabilities();
        Self { subject, transport, can, seed, server: identity(1), client: identity(2) }
    }

    /// Random numbers for one use within the case.
    pub(crate) fn random(&self, what: u64) -> Random {
        Random::derived(self.seed, &[what])
    }

    /// Skips the case unless the subject is secured.
    pub(crate) fn needs_identity(&self) -> Outcome {
        match self.subject.mode() {
            Mode::Identity => Ok(()),
            Mode::Plaintext => Err(Stop::Skip("the subject is plaintext".to_owned())),
        }
    }

    /// The limits of the kit: small, so that they are reached soon.
    pub(crate) fn limits(&self) -> Limits {
        Limits { block_bytes_max: 64 * 1024, queue_bytes_max: 512 * 1024, ..Limits::default() }
    }

    fn security(&self, identity: &Arc<Identity>) -> Security {
        match self.subject.mode() {
            Mode::Plaintext => Security::Plaintext,
            Mode::Identity => Security::Identity(Arc::clone(identity)),
        }
    }

    pub(crate) fn listen_options(&self, limits: &Limits) -> ListenOptions {
        self.listen_options_with(limits, Arc::new(AdmitEveryone))
    }

    pub(crate) fn listen_options_with(&self, limits: &Limits, admit: Arc<dyn Admit>) -> ListenOptions {
        ListenOptions { limits: limits.clone(), ..ListenOptions::new(self.security(&self.server), admit) }
    }

    pub(crate) fn connect_options(&self, limits: &Limits) -> ConnectOptions {
        let key = (self.subject.mode() == Mode::Identity).then(|| self.server.public_key());
        ConnectOptions {
            connect_timeout: Duration::from_secs(20),
            limits: limits.clone(),
            ..ConnectOptions::new(self.security(&self.client), key)
        }
    }

    /// A listener at a fresh endpoint.
    pub(crate) async fn bind(&self, options: &ListenOptions) -> Outcome<Box<dyn Listener>> {
        Ok(within("bind", self.transport.bind(&self.subject.endpoint(), options)).await??)
    }

    /// Connects and gives what comes of it.
    pub(crate) async fn try_connect(
        &self,
        endpoint: &Endpoint,
        options: &ConnectOptions,
    ) -> Outcome<Result<Connection, Error>> {
        within("connect", self.transport.connect(endpoint, options)).await
    }

    /// A connection to `listener`: the connecting end, then the accepted one.
    pub(crate) async fn join(
        &self,
        listener: &mut Box<dyn Listener>,
        options: &ConnectOptions,
    ) -> Outcome<(Connection, Connection)> {
        let endpoint = listener.endpoint().clone();
        let connect = async { Ok::<_, Stop>(self.try_connect(&endpoint, options).await??) };
        tokio::try_join!(connect, accept(listener))
    }

    /// A connection whose acting end has this role.
    pub(crate) async fn pair(&self, role: Role, limits: &Limits) -> Outcome<Pair> {
        let mut listener = self.bind(&self.listen_options(limits)).await?;
        let (client, server) = self.join(&mut listener, &self.connect_options(limits)).await?;
        let (ours, theirs) = match role {
            Role::Client => (client, server),
            Role::Server => (server, client),
        };
        Ok(Pair { ours, theirs, listener })
    }

    /// Shows that the listener still serves an honest client.
    pub(crate) async fn honest_round_trip(&self, listener: &mut Box<dyn Listener>, limits: &Limits) -> Outcome {
        let (mut client, mut server) = self.join(listener, &self.connect_options(limits)).await?;
        super::traffic::round_trip(&mut client, &mut server, self.seed).await
    }
}

/// The next connection, past those peers that were refused or broke off.
pub(crate) async fn accept(listener: &mut Box<dyn Listener>) -> Outcome<Connection> {
    loop {
        match within("accept", listener.accept()).await? {
            Ok(connection) => return Ok(connection),
            Err(error) if error.is_about_one_peer() => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Connects, again and again while the listener has no place: it may take it a moment to see that others have left.
pub(crate) async fn connect_in_time(kit: &Kit, endpoint: &Endpoint, options: &ConnectOptions) -> Outcome<Connection> {
    within("a free place at the listener", async {
        loop {
            match kit.transport.connect(endpoint, options).await {
                Err(error) if error.is_retryable() => tokio::time::sleep(Duration::from_millis(5)).await,
                result => return Ok(result?),
            }
        }
    })
    .await?
}
