//! The policy at a server: a denial is told and the session goes on, a change is judged by live and cut sessions, and
//! those of a revoked key end, whether their peers read or not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sinew_auth::{Identity, Operation, Resource};
use sinew_session::{
    Attachment, CRITICAL, Error, Failure, Header, Lane, Link, Run, Service, Session, State, encode, read_call, to_cbor,
};
use sinew_testkit::echo::{ECHO, Echo, call, echo, verb};
use sinew_testkit::net::Net;
use sinew_testkit::rules::Rules;
use sinew_testkit::setup::{Setup, soon};
use sinew_testkit::wire::{Hello, say_hello, send};
use tokio::time::{Instant, sleep};

/// What a revoked key's session may still live, by the contract.
const SECOND: Duration = Duration::from_secs(1);

/// Echoes what may be published, counts how often it is judged and how many of its sessions there are.
#[derive(Clone, Debug, Default)]
struct Guarded {
    judged: Arc<AtomicUsize>,
    open: Arc<()>,
}

#[derive(Debug)]
struct Open {
    service: Guarded,
    link: Arc<Link>,
}

impl Service for Guarded {
    fn code(&self) -> u8 {
        ECHO
    }

    fn open(&self, link: &Arc<Link>) -> Box<dyn Attachment> {
        Box::new(Open { service: self.clone(), link: link.clone() })
    }
}

impl Attachment for Open {
    fn records(&mut self, lane: Lane, run: Run<'_>) -> Result<(), Failure> {
        for record in run {
            let (_, text): (_, String) = read_call(&record)?;
            match self.link.may(Operation::BusPublish, Resource::Name(&text)) {
                Ok(()) => self.link.reply(lane, &record.header, &text),
                Err(failure) => self.link.fail(lane, &record.header, &failure),
            }
        }
        Ok(())
    }

    fn resume(&mut self, link: &Arc<Link>) {
        self.link = link.clone();
    }

    fn judge(&mut self) {
        self.service.judged.fetch_add(1, Ordering::Relaxed);
    }
}

fn ruled(net: &Net) -> (Setup, Arc<Rules>) {
    let rules = Arc::new(Rules::default());
    let setup = Setup::secured(net.registry(), &["mem://here"]);
    (Setup { admit: rules.clone(), authorize: rules.clone(), ..setup }, rules)
}

fn client(setup: &Setup) -> sinew_auth::PublicKey {
    setup.identities.as_ref().expect("secured").1.public_key()
}

async fn end(session: &Session) -> Error {
    let mut state = session.state();
    let state = soon("the end", state.wait_for(|state| matches!(state, State::Ended(_)))).await.unwrap().clone();
    let State::Ended(error) = state else { unreachable!("it was waited for") };
    error
}

#[tokio::test(start_paused = true)]
async fn a_denial_names_who_what_and_why_and_the_session_goes_on() {
    let net = Net::default();
    let (mut setup, rules) = ruled(&net);
    let _server = setup.serve(vec![Arc::new(Guarded::default())]).await;
    let session = setup.session().await;
    rules.deny(Operation::BusPublish, "secret");
    let ask = |text: &'static str| session.call(call(verb::ECHO, b"k", &text, SECOND));
    let Err(Error::Failed(failure)) = ask("secret").await else { panic!("it is denied") };
    assert_eq!(failure.code, "denied");
    let fingerprint = client(&setup).fingerprint().to_string();
    for part in [&*fingerprint, "bus.publish", "subject `secret`", "the test denies it", "let the test allow it"] {
        assert!(failure.reason.contains(part), "{part} in {}", failure.reason);
    }
    assert!(ask("open").await.is_ok());
    rules.allow(Operation::BusPublish, "secret");
    assert!(ask("secret").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_change_is_judged_once_by_every_session_cut_ones_included() {
    let net = Net::default();
    let (mut setup, rules) = ruled(&net);
    let service = Guarded::default();
    let server = setup.serve(vec![Arc::new(service.clone())]).await;
    let (_live, mut cut) = (setup.session().await, setup.raw(0).await);
    say_hello(&mut cut, &Hello::default()).await.unwrap().expect("a welcome");
    drop(cut);
    sleep(2 * SECOND).await;
    assert_eq!((server.sessions(), server.connections(), service.judged.load(Ordering::Relaxed)), (2, 1, 0));
    rules.deny(Operation::BusPublish, "a");
    sleep(SECOND / 2).await;
    assert_eq!(service.judged.load(Ordering::Relaxed), 2);
    sleep(10 * SECOND).await;
    assert_eq!(service.judged.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn sessions_of_a_revoked_key_end_within_a_second_and_the_others_live() {
    let net = Net::default();
    let (mut setup, rules) = ruled(&net);
    let service = Guarded::default();
    let server = setup.serve(vec![Arc::new(service.clone())]).await;
    let other = setup.seen_by(Identity::generate());
    let (revoked, kept) = (setup.session().await, other.session().await);
    let mut cut = setup.raw(0).await;
    let welcome = say_hello(&mut cut, &Hello::default()).await.unwrap().expect("a welcome");
    drop(cut);
    sleep(SECOND).await;
    assert_eq!(server.sessions(), 3);
    rules.revoke(client(&setup));
    let begun = Instant::now();
    let Error::Refused(refusal) = end(&revoked).await else { panic!("it is told") };
    assert!(begun.elapsed() < SECOND, "{:?}", begun.elapsed());
    assert!(!refusal.retry && refusal.reason.contains("revoked") && refusal.next.contains("sinew auth allow"));
    assert_eq!((server.sessions(), Arc::strong_count(&service.open)), (1, 3), "one here, at the server, and open");
    echo(&kept, "still here").await.unwrap();
    // It gets no further than the transport, and what it left is forgotten.
    assert!(setup.try_raw(0).await.is_err());
    let mut stranger = other.raw(0).await;
    let again = Hello { resume: Some(welcome.session), ..Hello::default() };
    assert!(say_hello(&mut stranger, &again).await.unwrap().expect("a welcome").session != welcome.session);
}

#[tokio::test(start_paused = true)]
async fn a_revoked_peer_that_does_not_read_is_cut_and_nothing_of_it_is_taken_in() {
    let net = Net::default();
    let (mut setup, rules) = ruled(&net);
    let service = Echo::default();
    let server = setup.serve(vec![Arc::new(service.clone())]).await;
    let mut deaf = setup.raw(0).await;
    say_hello(&mut deaf, &Hello::default()).await.unwrap().expect("a welcome");
    for number in 1..40 {
        let header = Header { service: ECHO, verb: verb::STREAM, flags: CRITICAL, call: number };
        let head = to_cbor(&sinew_session::CallHead::default());
        send(&mut deaf, Lane(1), encode(header, &head, &to_cbor(&20_000_u64))).await.unwrap();
    }
    sleep(SECOND).await;
    assert_eq!(server.connections(), 1);
    rules.revoke(client(&setup));
    sleep(SECOND / 2).await;
    let one_way = Header { service: ECHO, verb: verb::COUNT, flags: 0, call: 0 };
    let _ = send(&mut deaf, Lane(1), encode(one_way, b"late", &7_u64.to_le_bytes())).await;
    sleep(SECOND / 2).await;
    assert_eq!((server.connections(), server.sessions()), (0, 0));
    assert!(service.counted(b"late").is_empty());
}
