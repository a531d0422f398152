//! The policy while a server works, over every transport: a hundred changes under load let nobody in or out wrongly,
//! the sessions of a revoked key end, and a policy that cannot be read changes nothing.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sinew::{Identity, Pattern, Policy, PolicyFiles, PublicKey, Server, Session, SessionError, State, Subject};
use sinew_testkit::setup::{Setup, soon};
use tempfile::TempDir;

/// Changes of the policy in the load test.
const ROUNDS: usize = 100;
/// What a revoked key's session may live, by the contract. Printed beside what was measured; a busy machine may be
/// slower, which the test does not judge.
const CONTRACT: Duration = Duration::from_secs(1);

/// A policy in a directory of its own, and a server's setup that asks it.
struct Place {
    directory: TempDir,
    policy: Arc<Policy>,
    setup: Setup,
}

impl Place {
    /// Everybody who is named may do everything.
    fn new(url: &str, named: &[PublicKey]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path().join("policy.toml"), named);
        let files = PolicyFiles { policy: directory.path().join("policy.toml"), ..PolicyFiles::default() };
        let policy = Arc::new(Policy::open(files).unwrap());
        let setup = Setup { admit: policy.clone(), authorize: policy.clone(), ..Setup::linked(&[url], true) };
        Self { directory, policy, setup }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("policy.toml")
    }

    async fn serve(&mut self) -> sinew_session::Server {
        self.setup.serve_bus().await
    }

    async fn connect(&self, seed: u8) -> Result<Session, SessionError> {
        self.setup.seen_by(identity(seed)).try_session(0).await
    }
}

fn identity(seed: u8) -> Identity {
    Identity::from_seed(&[seed; 32])
}

fn key(seed: u8) -> PublicKey {
    identity(seed).public_key()
}

/// The file appears whole, as an editor or `sinew auth` writes it.
fn write(path: PathBuf, named: &[PublicKey]) {
    let mut text = "version = 1\nroles.all.allow = [\"* >\"]\n".to_owned();
    named.iter().for_each(|key| text += &format!("peers.\"{key}\" = {{ key = \"{key}\", roles = [\"all\"] }}\n"));
    fs::write(path.with_extension("new"), text).unwrap();
    fs::rename(path.with_extension("new"), path).unwrap();
}

async fn end(session: &Session) -> SessionError {
    let mut state = session.state();
    let state = soon("the end", state.wait_for(|state| matches!(state, State::Ended(_)))).await.unwrap().clone();
    let State::Ended(error) = state else { unreachable!("it was waited for") };
    error
}

/// One steady peer publishes to another all the time; in each round a newcomer takes the place of the one before.
async fn hundred_changes_under_load(url: &str) {
    let newcomer = |round: usize| 3 + round as u8;
    let mut place = Place::new(url, &[key(1), key(2), key(newcomer(0))]);
    let server = place.serve().await;
    let (speaker, listener) = (place.connect(1).await.unwrap(), place.connect(2).await.unwrap());
    let (speaker, listener) = (sinew::Bus::new(&speaker).unwrap(), sinew::Bus::new(&listener).unwrap());
    let mut heard = listener.subscribe(&Pattern::try_from("load").unwrap()).await.unwrap();
    let subject = Subject::try_from("load").unwrap();
    let mut last = place.connect(newcomer(0)).await.unwrap();
    let mut ends = tokio::task::JoinSet::new();
    for round in 1..=ROUNDS {
        write(place.file(), &[key(1), key(2), key(newcomer(round))]);
        let written = Instant::now();
        let came = place.connect(newcomer(round)).await;
        let came = came.unwrap_or_else(|error| panic!("round {round}: refused wrongly: {error}"));
        let again = place.connect(newcomer(round - 1)).await;
        assert!(again.is_err(), "round {round}: admitted wrongly");
        speaker.publish(&subject, round.to_string()).await.unwrap();
        match soon("the message", heard.next()).await {
            Some(sinew::Delivery::Message(message)) => assert_eq!(message.body, round.to_string().as_bytes()),
            other => panic!("round {round}: {other:?}"),
        }
        let gone = std::mem::replace(&mut last, came);
        ends.spawn(async move {
            let error = end(&gone).await;
            assert!(!error.is_retryable(), "round {round}: {error}");
            written.elapsed()
        });
    }
    let slowest = ends.join_all().await.into_iter().max().unwrap();
    println!("{url}: {ROUNDS} changes; a revoked session lived {slowest:?} at most (contract {CONTRACT:?})");
    soon("a round trip", last.flush(Duration::from_secs(30))).await.unwrap();
    drop(server);
}

/// Who was revoked hears why, and its sessions are gone at the server, live or cut.
async fn revoked_sessions_end(url: &str) {
    let mut place = Place::new(url, &[key(1), key(2)]);
    let server = place.serve().await;
    let (kept, gone) = (place.connect(1).await.unwrap(), place.connect(2).await.unwrap());
    assert_eq!(server.sessions(), 2);
    write(place.file(), &[key(1)]);
    let written = Instant::now();
    let error = end(&gone).await;
    println!("{url}: told after {:?} (contract {CONTRACT:?})", written.elapsed());
    let SessionError::Refused(refusal) = &error else { panic!("{error}") };
    assert!(!refusal.retry && refusal.reason.contains(&key(2).fingerprint().to_string()), "{refusal}");
    assert_eq!(server.sessions(), 1);
    soon("a round trip", kept.flush(Duration::from_secs(30))).await.unwrap();
    assert!(place.connect(2).await.is_err());
}

async fn a_broken_policy_changes_nothing(url: &str) {
    let mut place = Place::new(url, &[key(1)]);
    let server = place.serve().await;
    let session = place.connect(1).await.unwrap();
    fs::write(place.file(), "version = 1\npeers = {").unwrap();
    assert!(place.connect(2).await.is_err(), "an unknown key, for which it is read again");
    assert!(place.policy.problem().is_some_and(|problem| problem.contains("policy.toml, line 2")));
    place.connect(1).await.unwrap();
    soon("a round trip", session.flush(Duration::from_secs(30))).await.unwrap();
    write(place.file(), &[key(1), key(2)]);
    place.connect(2).await.unwrap();
    assert_eq!(place.policy.problem(), None);
    drop(server);
}

macro_rules! over {
    ($($transport:ident $url:literal $(if $feature:literal)?;)+) => {$(
        $(#[cfg(feature = $feature)])?
        mod $transport {
            #[tokio::test]
            async fn hundred_changes_under_load_let_nobody_in_or_out_wrongly() {
                super::hundred_changes_under_load(&$url.replace("NAME", "load")).await;
            }

            #[tokio::test]
            async fn sessions_of_a_revoked_key_end() {
                super::revoked_sessions_end(&$url.replace("NAME", "end")).await;
            }

            #[tokio::test]
            async fn a_broken_policy_changes_nothing() {
                super::a_broken_policy_changes_nothing(&$url.replace("NAME", "broken")).await;
            }
        }
    )+};
}

over! {
    mem "mem://revocation-NAME";
    zmq "zmq://127.0.0.1:0" if "zmq";
    quic "quic://127.0.0.1:0" if "quic";
}

/// The facade asks the home's policy without being told to.
#[tokio::test]
async fn a_server_of_this_account_asks_the_policy_in_its_home() {
    let directory = tempfile::tempdir().unwrap();
    let home = sinew::Home::at(directory.path().join("home")).unwrap();
    let server = Server::builder().home(home.clone()).listen("mem://revocation-home").start().await.unwrap();
    let connect = |seed| {
        let builder = sinew::Client::builder("mem://revocation-home").identity(identity(seed));
        builder.server_key(server.key().unwrap()).connect()
    };
    assert!(connect(1).await.is_err());
    sinew::Allowlist::append(home.allowlist_path(), &key(1).into(), "").unwrap();
    let client = connect(1).await.unwrap();
    sinew::Allowlist::remove(home.allowlist_path(), &key(1).into()).unwrap();
    let error = end(client.session()).await;
    assert!(error.to_string().contains("sinew auth allow"), "{error}");
}
