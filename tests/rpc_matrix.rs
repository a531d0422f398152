//! Typed calls over every transport, plaintext and secured: deadlines, cancels, typed errors, servers that share calls, and
//! servers that are lost.
#![cfg(feature = "taskqueue")]

// A crate that nothing names is not linked, and with it its transports.
use sinew as _;

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use sinew_session::ResourceName;
use sinew_taskqueue::rpc::{self, RpcClient};
use sinew_taskqueue::{Error, Result, Tasks, WorkerStop};
use sinew_testkit::setup::{Setup, soon};
use tarpc::ServerError;
use tarpc::client::RpcError;
use tarpc::context::{self, Context};
use tarpc::server::Serve;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Fault {
    ByZero { number: i64 },
}

#[tarpc::service]
trait Desk {
    async fn divide(number: i64, by: i64) -> std::result::Result<i64, Fault>;
    /// How much time is left, in milliseconds.
    async fn time_left() -> u64;
    /// Never answers.
    async fn wait() -> ();
    async fn refuse() -> ();
    async fn panic() -> ();
}

/// A server of the desk, which tells what happens to a call that it never answers.
#[derive(Clone)]
struct Clerk {
    calls: Arc<AtomicU32>,
    told: mpsc::UnboundedSender<&'static str>,
}

/// Tells that a call was dropped.
struct Dropped(mpsc::UnboundedSender<&'static str>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = self.0.send("dropped");
    }
}

impl Desk for Clerk {
    async fn divide(self, _: Context, number: i64, by: i64) -> std::result::Result<i64, Fault> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        number.checked_div(by).ok_or(Fault::ByZero { number })
    }

    async fn time_left(self, context: Context) -> u64 {
        context.deadline.saturating_duration_since(Instant::now()).as_millis() as u64
    }

    async fn wait(self, _: Context) {
        let _dropped = Dropped(self.told.clone());
        let _ = self.told.send("waits");
        std::future::pending().await
    }

    async fn refuse(self, _: Context) {
        unreachable!("it is refused before")
    }

    async fn panic(self, _: Context) {
        panic!("on purpose")
    }
}

/// A server that runs.
struct Serving {
    calls: Arc<AtomicU32>,
    told: mpsc::UnboundedReceiver<&'static str>,
    stop: WorkerStop,
    task: JoinHandle<Result<()>>,
}

fn name() -> ResourceName {
    "desk".parse().expect("a name")
}

impl Serving {
    async fn start(tasks: &Tasks) -> Self {
        let (told, heard) = mpsc::unbounded_channel();
        let clerk = Clerk { calls: Arc::default(), told };
        let calls = clerk.calls.clone();
        let server = soon("making the queue", rpc::server(tasks, &name())).await.expect("it is there");
        let stop = server.stop_handle();
        let server = soon("joining", server.name("clerk").join()).await.expect("it joins");
        let task = tokio::spawn(server.serve(move |context, request| {
            let clerk = clerk.clone();
            async move {
                match request {
                    // As a service that cannot serve it would say so.
                    DeskRequest::Refuse {} => Err(ServerError::new(ErrorKind::PermissionDenied, "not today".into())),
                    request => clerk.serve().serve(context, request).await,
                }
            }
        }));
        Self { calls, told: heard, stop, task }
    }

    async fn heard(&mut self) -> &'static str {
        soon("what becomes of a call", self.told.recv()).await.expect("it is told")
    }

    async fn end(self) {
        soon("stopping", self.stop.stop()).await.expect("it has left");
        soon("its end", self.task).await.expect("no panic").expect("in order");
    }
}

type DeskCalls = RpcClient<DeskRequest, DeskResponse>;

fn client(tasks: &Tasks) -> DeskClient<DeskCalls> {
    DeskClient::from(rpc::client(tasks, &name()).expect("a name"))
}

/// A context whose deadline is so far away.
fn within(span: Duration) -> Context {
    let mut context = context::current();
    context.deadline = Instant::now() + span;
    context
}

fn far() -> Context {
    within(Duration::from_secs(600))
}

fn error_of<T: std::fmt::Debug>(answer: std::result::Result<T, RpcError>) -> Option<Error> {
    match answer {
        Err(RpcError::Send(error)) => error.downcast_ref::<Error>().cloned(),
        _ => None,
    }
}

fn kind_of<T>(answer: std::result::Result<T, RpcError>) -> Option<ErrorKind> {
    match answer {
        Err(RpcError::Server(error)) => Some(error.kind),
        _ => None,
    }
}

async fn calls_and_errors(setup: &Setup) {
    let (ours, theirs) = (setup.tasks(0).await, setup.tasks(1).await);
    let desk = client(&ours);
    let nobody = soon("a call before there is a server", desk.divide(far(), 12, 3)).await;
    assert!(matches!(error_of(nobody), Some(Error::NoWorkers { .. } | Error::UnknownQueue { .. })));

    let serving = Serving::start(&theirs).await;
    assert_eq!(soon("a call", desk.divide(far(), 12, 3)).await.expect("it is answered"), Ok(4));
    let fault = soon("a call that fails", desk.divide(far(), 12, 0)).await.expect("it is answered");
    assert_eq!(fault, Err(Fault::ByZero { number: 12 }));
    let left = soon("the time left", desk.time_left(within(Duration::from_secs(300)))).await.expect("it is answered");
    assert!((200_000..=300_000).contains(&left), "{left} ms");
    assert_eq!(kind_of(soon("one that is refused", desk.refuse(far())).await), Some(ErrorKind::Other));
    assert_eq!(kind_of(soon("one that panics", desk.panic(far())).await), Some(ErrorKind::Other));

    // Somebody who speaks of another service by the same name.
    let stranger: RpcClient<String, u8> = rpc::client(&ours, &name()).expect("a name");
    let answer =
        soon("a call of a stranger", tarpc::client::stub::Stub::call(&stranger, far(), "what".to_owned())).await;
    assert_eq!(kind_of(answer), Some(ErrorKind::InvalidData));

    serving.end().await;
    let nobody = soon("a call after it", desk.divide(far(), 12, 3)).await;
    assert!(matches!(error_of(nobody), Some(Error::NoWorkers { .. })));
}

async fn deadlines_and_cancels(setup: &Setup) {
    let (ours, theirs) = (setup.tasks(0).await, setup.tasks(1).await);
    let desk = client(&ours);
    let mut serving = Serving::start(&theirs).await;

    let over = soon("a call that takes too long", desk.wait(within(Duration::from_millis(300)))).await;
    assert!(matches!(over, Err(RpcError::DeadlineExceeded)), "{over:?}");
    assert_eq!(serving.heard().await, "waits");
    assert_eq!(serving.heard().await, "dropped");

    let late = soon("a call whose deadline has passed", desk.divide(within(Duration::ZERO), 12, 3)).await;
    assert!(matches!(late, Err(RpcError::DeadlineExceeded)), "{late:?}");

    let asked = desk.clone();
    let call = tokio::spawn(async move { asked.wait(far()).await });
    assert_eq!(serving.heard().await, "waits");
    call.abort();
    assert_eq!(serving.heard().await, "dropped");
    serving.end().await;
}

async fn two_share(setup: &Setup) {
    let ours = setup.tasks(0).await;
    let (one, other) = (setup.tasks(1).await, setup.tasks(2).await);
    let (one, other) = (Serving::start(&one).await, Serving::start(&other).await);
    let desk = client(&ours);
    for number in 0..1_000 {
        let answer = soon("a call", desk.divide(far(), number * 7, 7)).await;
        assert_eq!(answer.expect("it is answered"), Ok(number));
    }
    let counts = [&one, &other].map(|serving| serving.calls.load(Ordering::Relaxed));
    assert_eq!(counts, [500, 500], "in turn");
    one.end().await;
    other.end().await;
}

async fn lost_servers(setup: &mut Setup) {
    let server = setup.serve_tasks().await;
    let (ours, theirs) = (setup.tasks(0).await, setup.tasks(1).await);
    let desk = client(&ours);

    // Who serves goes in the midst of a call.
    let mut serving = Serving::start(&theirs).await;
    let asked = desk.clone();
    let call = tokio::spawn(async move { asked.wait(far()).await });
    assert_eq!(serving.heard().await, "waits");
    theirs.close().await.expect("closed");
    let lost = soon("a call whose server is lost", call).await.expect("no panic");
    assert_eq!(kind_of(lost), Some(ErrorKind::ConnectionAborted));
    drop(serving);

    // The queue's own server goes: it had the call in memory alone.
    let theirs = setup.tasks(1).await;
    let mut serving = Serving::start(&theirs).await;
    let asked = desk.clone();
    let call = tokio::spawn(async move { asked.wait(far()).await });
    assert_eq!(serving.heard().await, "waits");
    server.abort().await;
    let server = setup.serve_tasks().await;
    let unknown = soon("a call through a restart", call).await.expect("no panic");
    assert!(matches!(error_of(unknown), Some(Error::OutcomeUnknown { .. })));
    server.drain().await;
}

/// The scenarios over one endpoint.
macro_rules! matrix {
    ($name:ident, $secured:expr, $url:expr) => {
        mod $name {
            use sinew_testkit::setup::Setup;

            /// The setup, and what must live as long.
            fn setup(test: &str) -> (Setup, tempfile::TempDir) {
                let directory = tempfile::tempdir().unwrap();
                let path = directory.path().join("socket");
                let name = format!(concat!(stringify!($name), "-rpc-{}"), test);
                let url = $url.replace("PATH", path.to_str().unwrap()).replace("NAME", &name);
                (Setup::linked(&[&url], $secured), directory)
            }

            #[tokio::test]
            async fn calls_and_errors() {
                let (mut setup, _directory) = setup("calls");
                let server = setup.serve_tasks().await;
                crate::calls_and_errors(&setup).await;
                server.drain().await;
            }

            #[tokio::test]
            async fn deadlines_and_cancels() {
                let (mut setup, _directory) = setup("deadlines");
                let server = setup.serve_tasks().await;
                crate::deadlines_and_cancels(&setup).await;
                server.drain().await;
            }

            #[tokio::test]
            async fn two_servers_share_a_thousand_calls() {
                let (mut setup, _directory) = setup("share");
                let server = setup.serve_tasks().await;
                crate::two_share(&setup).await;
                server.drain().await;
            }

            #[tokio::test]
            async fn lost_servers() {
                let (mut setup, _directory) = setup("lost");
                crate::lost_servers(&mut setup).await;
            }
        }
    };
}

matrix!(mem, false, "mem://NAME");
matrix!(mem_secured, true, "mem://NAME");

#[cfg(feature = "zmq")]
matrix!(zmq_tcp, false, "zmq://127.0.0.1:0");
#[cfg(feature = "zmq")]
matrix!(zmq_tcp_secured, true, "zmq://127.0.0.1:0");
#[cfg(all(feature = "zmq", unix))]
matrix!(zmq_ipc_secured, true, "zmq+ipc://PATH");

#[cfg(feature = "quic")]
matrix!(quic, false, "quic://127.0.0.1:0");
#[cfg(feature = "quic")]
matrix!(quic_secured, true, "quic://127.0.0.1:0");
