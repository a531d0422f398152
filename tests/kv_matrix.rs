//! The key-value store's promises over every transport, plaintext and secured, on the engine in memory and on the one that
//! keeps it on disk: the same scenarios each time.
#![cfg(feature = "kvstore")]

// A crate that nothing names is not linked, and with it its transports.
use sinew as _;

/// The engine in memory, which outlives its servers.
mod memory {
    use std::path::Path;
    use std::sync::Arc;

    use sinew_kvstore::{Engine, MemoryEngine};

    /// A new one.
    pub(crate) async fn open(_data: &Path) -> Arc<dyn Engine> {
        Arc::new(MemoryEngine::default())
    }

    /// What a server finds when it starts again.
    pub(crate) fn reopen(_data: &Path) -> impl AsyncFn() -> Arc<dyn Engine> {
        let engine: Arc<dyn Engine> = Arc::new(MemoryEngine::default());
        async move || engine.clone()
    }
}

/// The engine on disk: each server opens it again.
mod disk {
    use std::path::Path;
    use std::sync::Arc;

    use sinew_kvstore::Engine;

    pub(crate) use sinew_testkit::kv::open_again as open;

    pub(crate) fn reopen(data: &Path) -> impl AsyncFn() -> Arc<dyn Engine> {
        async move || open(data).await
    }
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

            use sinew_kvstore::KvLimits;
            use sinew_testkit::kv;
            use sinew_testkit::setup::Setup;

            use crate::$engine::{open, reopen};

            /// The setup, where data lies, and what must live as long.
            fn setup(test: &str) -> (Setup, PathBuf, tempfile::TempDir) {
                let directory = tempfile::tempdir().unwrap();
                let path = directory.path().join("socket");
                let name = concat!(stringify!($name), "-kv-", stringify!($engine));
                let url = $url.replace("PATH", path.to_str().unwrap()).replace("NAME", &format!("{name}-{test}"));
                (Setup::linked(&[&url], $secured), directory.path().join("data"), directory)
            }

            #[tokio::test]
            async fn write_read_watch() {
                let (mut setup, data, _directory) = setup("plain");
                let server = setup.serve_kv_on(open(&data).await, KvLimits::default()).await;
                kv::write_read_watch(&setup).await;
                server.drain().await;
            }

            #[tokio::test]
            async fn scans() {
                let (mut setup, data, _directory) = setup("scans");
                let server = setup.serve_kv_on(open(&data).await, KvLimits::default()).await;
                kv::scans(&setup).await;
                server.drain().await;
            }

            #[tokio::test]
            async fn bad_input() {
                let (mut setup, data, _directory) = setup("bad");
                let server = setup.serve_kv_on(open(&data).await, KvLimits::default()).await;
                kv::bad_input(&setup).await;
                server.drain().await;
            }

            #[tokio::test]
            async fn through_twenty_restarts() {
                let (mut setup, data, _directory) = setup("restarts");
                kv::through_restarts(&mut setup, reopen(&data), 20).await;
            }

            #[tokio::test]
            async fn permissions() {
                let (mut setup, data, _directory) = setup("permissions");
                kv::permissions(&mut setup, open(&data).await).await.drain().await;
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
