//! The bus's promises over every transport, plaintext and secured, and across transports: the same scenarios each time.
#![cfg(feature = "bus")]

// A crate that nothing names is not linked, and with it its transports.
use sinew as _;

/// A test for each of these scenarios, on a server of its own: started here, or by the scenario.
macro_rules! each {
    ($name:ident, |$setup:ident| $serve:expr; $($scenario:ident),* $(,)?) => { $(
        #[tokio::test]
        async fn $scenario() {
            let (mut $setup, _directory) = setup(concat!(stringify!($name), "-", stringify!($scenario)));
            let server = $serve;
            scenarios::$scenario(&$setup).await;
            server.drain().await;
        }
    )* };
    ($name:ident, $($scenario:ident),*) => { $(
        #[tokio::test]
        async fn $scenario() {
            let (mut setup, _directory) = setup(concat!(stringify!($name), "-", stringify!($scenario)));
            scenarios::$scenario(&mut setup).await;
        }
    )* };
}

/// The scenarios over one set of endpoints. `before`: endpoints at which bare bytes can be thrown.
macro_rules! matrix {
    ($name:ident, $secured:expr, $urls:expr) => {
        mod $name {
            use sinew_testkit::random::{Telltale, seeds};
            use sinew_testkit::setup::Setup;
            use sinew_testkit::{hostile, scenarios};

            /// The setup, and what must live as long.
            fn setup(test: &str) -> (Setup, tempfile::TempDir) {
                let directory = tempfile::tempdir().unwrap();
                let path = directory.path().join("socket");
                let place = |url: &str| url.replace("PATH", path.to_str().unwrap()).replace("NAME", test);
                let urls: Vec<String> = $urls.iter().map(|url: &&str| place(url)).collect();
                let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
                (Setup::linked(&urls, $secured), directory)
            }

            each!($name, |setup| setup.serve_bus().await;
                basic_and_wildcards, large_messages, slow_subscriber,
                flushing_loses_nothing, closing_loses_nothing, drained_subscription,
                queue_group, queue_group_member_leaves,
                request_and_answer, nobody_answers, responder_leaves, forged_answers,
                headers, kept_values, receipts,
                dropping_oldest, dropping_newest, disconnecting,
                typed_payloads, streams, mailbox, callbacks, blocking, accounts,
            );
            each!($name, |setup| setup.serve_bus_with(scenarios::small_limits()).await;
                kept_values_are_bounded, bad_input,
            );
            each!($name, holding, holding_not_for_ever);

            #[tokio::test]
            async fn subscribe_then_publish_ten_thousand_times() {
                let (mut setup, _directory) = setup(concat!(stringify!($name), "-rounds"));
                let server = setup.serve_bus().await;
                scenarios::subscribe_then_publish(&setup, 10_000).await;
                server.drain().await;
            }

            #[tokio::test]
            async fn twenty_restarts() {
                let (mut setup, _directory) = setup(concat!(stringify!($name), "-restarts"));
                scenarios::restarts(&mut setup, 20).await;
            }

            #[tokio::test]
            async fn twenty_drains() {
                let (mut setup, _directory) = setup(concat!(stringify!($name), "-drains"));
                scenarios::drains(&mut setup, 20).await;
            }

            #[tokio::test]
            async fn hostile_peers() {
                let (mut setup, _directory) = setup(concat!(stringify!($name), "-hostile"));
                let server = setup.serve_bus().await;
                for seed in seeds(1) {
                    let _telltale = Telltale(seed);
                    for index in 0..setup.endpoints.len() {
                        if setup.endpoints[index].port().is_some() {
                            hostile::before_admission(&setup, index, seed, 5_000).await;
                        }
                        hostile::after_admission(&setup, &server, index, seed, 5_000).await;
                    }
                }
                server.drain().await;
            }
        }
    };
}

matrix!(mem, false, ["mem://NAME"]);
matrix!(mem_secured, true, ["mem://NAME"]);

#[cfg(feature = "zmq")]
matrix!(zmq_tcp, false, ["zmq://127.0.0.1:0"]);
#[cfg(feature = "zmq")]
matrix!(zmq_tcp_secured, true, ["zmq://127.0.0.1:0"]);
#[cfg(all(feature = "zmq", unix))]
matrix!(zmq_ipc, false, ["zmq+ipc://PATH"]);
#[cfg(all(feature = "zmq", unix))]
matrix!(zmq_ipc_secured, true, ["zmq+ipc://PATH"]);

#[cfg(feature = "quic")]
matrix!(quic, false, ["quic://127.0.0.1:0"]);
#[cfg(feature = "quic")]
matrix!(quic_secured, true, ["quic://127.0.0.1:0"]);
#[cfg(feature = "quic")]
matrix!(quic_wan_secured, true, ["quic://127.0.0.1:0?preset=wan"]);

#[cfg(all(feature = "zmq", feature = "quic"))]
matrix!(across, false, ["zmq://127.0.0.1:0", "quic://127.0.0.1:0"]);
#[cfg(all(feature = "zmq", feature = "quic"))]
matrix!(across_secured, true, ["zmq://127.0.0.1:0", "quic://127.0.0.1:0"]);
