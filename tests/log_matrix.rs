//! The event log's promises over every transport, plaintext and secured, on the engine that keeps it on disk: the same
//! scenarios each time.
#![cfg(feature = "eventsource")]

// A crate that nothing names is not linked, and with it its transports.
use sinew as _;

/// The engine in a folder that another one has closed, or is about to have closed: what was left of its last server holds
/// it until it has ended.
async fn open_again(data: &std::path::Path) -> std::sync::Arc<dyn sinew_eventsource::Engine> {
    let opening = async {
        loop {
            match sinew_eventsource::JournalEngine::open(data, sinew_eventsource::EngineOptions::default()) {
                Ok(engine) => return std::sync::Arc::new(engine),
                Err(error) => assert!(error.to_string().contains("in use"), "{error}"),
            }
            tokio::task::yield_now().await;
        }
    };
    sinew_testkit::setup::soon("opening the engine", opening).await
}

/// The scenarios over one endpoint.
macro_rules! matrix {
    ($name:ident, $secured:expr, $url:expr) => {
        mod $name {
            use std::sync::Arc;

            use sinew_eventsource::{EngineOptions, JournalEngine, LogLimits};
            use sinew_testkit::log;
            use sinew_testkit::setup::Setup;

            /// The setup, an engine, and what must live as long.
            fn setup(test: &str) -> (Setup, Arc<JournalEngine>, tempfile::TempDir) {
                let directory = tempfile::tempdir().unwrap();
                let path = directory.path().join("socket");
                let url = $url.replace("PATH", path.to_str().unwrap()).replace("NAME", test);
                let engine = JournalEngine::open(directory.path().join("data"), EngineOptions::default()).unwrap();
                (Setup::linked(&[&url], $secured), Arc::new(engine), directory)
            }

            #[tokio::test]
            async fn append_read_follow() {
                let (mut setup, engine, _directory) = setup(concat!(stringify!($name), "-log-plain"));
                let server = setup.serve_log_on(engine, LogLimits::default()).await;
                log::append_read_follow(&setup).await;
                server.drain().await;
            }

            #[tokio::test]
            async fn groups() {
                let (mut setup, engine, _directory) = setup(concat!(stringify!($name), "-log-groups"));
                let server = setup.serve_log_on(engine, LogLimits::default()).await;
                log::groups(&setup).await;
                server.drain().await;
            }

            #[tokio::test]
            async fn groups_through_ten_restarts() {
                let (mut setup, engine, directory) = setup(concat!(stringify!($name), "-log-crew"));
                drop(engine);
                let data = directory.path().join("data");
                let seed = sinew_testkit::random::seeds(1)[0];
                log::groups_through_restarts(&mut setup, async || crate::open_again(&data).await, seed, 10).await;
            }

            #[tokio::test]
            async fn bad_input() {
                let (mut setup, engine, _directory) = setup(concat!(stringify!($name), "-log-bad"));
                let server = setup.serve_log_on(engine, LogLimits::default()).await;
                log::bad_input(&setup).await;
                server.drain().await;
            }

            #[tokio::test]
            async fn producer_through_twenty_restarts() {
                let (mut setup, engine, _directory) = setup(concat!(stringify!($name), "-log-restarts"));
                log::producer_through_restarts(&mut setup, engine, 20).await;
            }

            #[tokio::test]
            async fn permissions() {
                let (mut setup, engine, _directory) = setup(concat!(stringify!($name), "-log-permissions"));
                log::permissions(&mut setup, engine).await.drain().await;
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
matrix!(zmq_ipc, false, "zmq+ipc://PATH");
#[cfg(all(feature = "zmq", unix))]
matrix!(zmq_ipc_secured, true, "zmq+ipc://PATH");

#[cfg(feature = "quic")]
matrix!(quic, false, "quic://127.0.0.1:0");
#[cfg(feature = "quic")]
matrix!(quic_secured, true, "quic://127.0.0.1:0");
