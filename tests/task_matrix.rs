//! The task queue's promises over every transport, plaintext and secured, on the engine in memory and on the one that keeps it
//! on disk: the same scenarios each time.
#![cfg(feature = "taskqueue")]

// A crate that nothing names is not linked, and with it its transports.
use sinew as _;

/// The engine in memory: a server that starts again finds nothing of what was there.
mod memory {
    use std::path::Path;
    use std::sync::Arc;

    use sinew_taskqueue::{Engine, MemoryEngine};

    pub(crate) const IS_DURABLE: bool = false;

    pub(crate) async fn open(_data: &Path) -> Arc<dyn Engine> {
        Arc::new(MemoryEngine::default())
    }
}

/// The engine on disk: a server that starts again opens it again, and finds everything.
mod disk {
    pub(crate) const IS_DURABLE: bool = true;

    pub(crate) use sinew_testkit::tasks::open_again as open;
}

/// The scenarios over one endpoint, on both engines.
macro_rules! matrix {
    ($name:ident, $secured:expr, $url:expr) => {
        mod $name {
            scenarios!(memory, $name, $secured, $url);
            scenarios!(disk, $name, $secured, $url);
        }
    };
}

/// The scenarios over one endpoint, on one engine.
macro_rules! scenarios {
    ($engine:ident, $name:ident, $secured:expr, $url:expr) => {
        mod $engine {
            use std::path::PathBuf;

            use sinew_taskqueue::TaskLimits;
            use sinew_testkit::setup::Setup;
            use sinew_testkit::tasks;

            use crate::$engine::{IS_DURABLE, open};

            /// The setup, where data lies, and what must live as long.
            fn setup(test: &str) -> (Setup, PathBuf, tempfile::TempDir) {
                let directory = tempfile::tempdir().unwrap();
                let path = directory.path().join("socket");
                let name = concat!(stringify!($name), "-tasks-", stringify!($engine));
                let url = $url.replace("PATH", path.to_str().unwrap()).replace("NAME", &format!("{name}-{test}"));
                (Setup::linked(&[&url], $secured), directory.path().join("data"), directory)
            }

            #[tokio::test]
            async fn submit_and_work() {
                let (mut setup, data, _directory) = setup("plain");
                let server = setup.serve_tasks_on(open(&data).await, TaskLimits::default()).await;
                tasks::submit_and_work(&setup).await;
                server.drain().await;
            }

            #[tokio::test]
            async fn progress_and_cancels() {
                let (mut setup, data, _directory) = setup("cancels");
                let server = setup.serve_tasks_on(open(&data).await, TaskLimits::default()).await;
                tasks::progress_and_cancels(&setup).await;
                server.drain().await;
            }

            #[tokio::test]
            async fn options() {
                let (mut setup, data, _directory) = setup("options");
                let server = setup.serve_tasks_on(open(&data).await, TaskLimits::default()).await;
                tasks::options(&setup).await;
                server.drain().await;
            }

            #[tokio::test]
            async fn three_workers_share_in_turn() {
                let (mut setup, data, _directory) = setup("turns");
                let server = setup.serve_tasks_on(open(&data).await, TaskLimits::default()).await;
                tasks::shared_in_turn(&setup, 3_000).await;
                server.drain().await;
            }

            #[tokio::test]
            async fn dropped_workers() {
                let (mut setup, data, _directory) = setup("dropped");
                let server = setup.serve_tasks_on(open(&data).await, TaskLimits::default()).await;
                tasks::dropped_workers(&setup).await;
                server.drain().await;
            }

            #[tokio::test]
            async fn bad_input() {
                let (mut setup, data, _directory) = setup("bad");
                tasks::bad_input(&mut setup, open(&data).await).await;
            }

            #[tokio::test]
            async fn through_ten_restarts() {
                let (mut setup, data, _directory) = setup("restarts");
                tasks::through_restarts(&mut setup, async || open(&data).await, IS_DURABLE, 10).await;
            }

            #[tokio::test]
            async fn copies() {
                let (mut setup, data, _directory) = setup("copies");
                tasks::copies(&mut setup, async |data| open(data).await, IS_DURABLE, &data).await;
            }

            #[tokio::test]
            async fn permissions() {
                let (mut setup, data, _directory) = setup("permissions");
                tasks::permissions(&mut setup, open(&data).await).await.drain().await;
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
