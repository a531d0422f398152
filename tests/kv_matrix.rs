//! The key-value store's promises over every transport, plaintext and secured: the same scenarios each time. What changes is
//! heard on the bus of the same server, by whoever may read it.
#![cfg(feature = "kvstore")]

// A crate that nothing names is not linked, and with it its transports.
use sinew as _;

/// The scenarios over one endpoint.
macro_rules! matrix {
    ($name:ident, $secured:expr, $url:expr) => {
        mod $name {
            use std::sync::Arc;

            use sinew_kvstore::{KvLimits, MemoryEngine};
            use sinew_testkit::kv;
            use sinew_testkit::setup::Setup;

            /// The setup, an engine, and what must live as long.
            fn setup(test: &str) -> (Setup, Arc<MemoryEngine>, tempfile::TempDir) {
                let directory = tempfile::tempdir().unwrap();
                let path = directory.path().join("socket");
                let url = $url.replace("PATH", path.to_str().unwrap()).replace("NAME", test);
                (Setup::linked(&[&url], $secured), Arc::new(MemoryEngine::default()), directory)
            }

            #[tokio::test]
            async fn write_read_watch() {
                let (mut setup, engine, _directory) = setup(concat!(stringify!($name), "-kv-plain"));
                let server = setup.serve_kv_on(engine, KvLimits::default()).await;
                kv::write_read_watch(&setup).await;
                server.drain().await;
            }

            #[tokio::test]
            async fn scans() {
                let (mut setup, engine, _directory) = setup(concat!(stringify!($name), "-kv-scans"));
                let server = setup.serve_kv_on(engine, KvLimits::default()).await;
                kv::scans(&setup).await;
                server.drain().await;
            }

            #[tokio::test]
            async fn bad_input() {
                let (mut setup, engine, _directory) = setup(concat!(stringify!($name), "-kv-bad"));
                let server = setup.serve_kv_on(engine, KvLimits::default()).await;
                kv::bad_input(&setup).await;
                server.drain().await;
            }

            #[tokio::test]
            async fn through_twenty_restarts() {
                let (mut setup, engine, _directory) = setup(concat!(stringify!($name), "-kv-restarts"));
                kv::through_restarts(&mut setup, engine, 20).await;
            }

            #[tokio::test]
            async fn permissions() {
                let (mut setup, engine, _directory) = setup(concat!(stringify!($name), "-kv-permissions"));
                kv::permissions(&mut setup, engine).await.drain().await;
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
