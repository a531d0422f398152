//! A service in memory with a server of its own, for the examples in documentation.

use sinew_bus::Bus;
use sinew_eventsource::Log;
use sinew_kvstore::Kv;
use sinew_session::Server;
use sinew_taskqueue::Tasks;

use crate::net::Net;
use crate::setup::Setup;

/// A server in memory, and a bus client of it.
///
/// # Panics
/// If they do not come about.
pub async fn bus() -> (Server, Bus) {
    let mut setup = Setup::on(&Net::default(), "mem://example");
    setup.executor = sinew_session::Executor::Thread;
    let server = setup.serve_bus().await;
    let bus = setup.bus(0).await;
    (server, bus)
}

/// A server in memory, and a client of its event log.
///
/// # Panics
/// If they do not come about.
pub async fn log() -> (Server, Log) {
    let mut setup = Setup::on(&Net::default(), "mem://example");
    setup.executor = sinew_session::Executor::Thread;
    let server = setup.serve_log().await;
    let log = setup.log(0).await;
    (server, log)
}

/// Runs an example to its end.
///
/// # Panics
/// If it fails.
pub fn run(example: impl Future<Output = Result<(), Box<dyn std::error::Error>>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(example).expect("the example works");
}

/// The same for an example without a runtime: a server in memory, and a bus client of it.
///
/// # Panics
/// If they do not come about.
pub fn bus_of_its_own() -> (Server, Bus) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(bus())
}

/// The same for an example without a runtime: a server in memory, and a client of its event log.
///
/// # Panics
/// If they do not come about.
pub fn log_of_its_own() -> (Server, Log) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(log())
}

/// A server in memory, and a client of its key-value store.
///
/// # Panics
/// If they do not come about.
pub async fn kv() -> (Server, Kv) {
    let mut setup = Setup::on(&Net::default(), "mem://example");
    setup.executor = sinew_session::Executor::Thread;
    let server = setup.serve_kv().await;
    let kv = setup.kv(0).await;
    (server, kv)
}

/// The same for an example without a runtime: a server in memory, and a client of its key-value store.
///
/// # Panics
/// If they do not come about.
pub fn kv_of_its_own() -> (Server, Kv) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(kv())
}

/// A server in memory, and a client of its task queue.
///
/// # Panics
/// If they do not come about.
pub async fn tasks() -> (Server, Tasks) {
    let mut setup = Setup::on(&Net::default(), "mem://example");
    setup.executor = sinew_session::Executor::Thread;
    let server = setup.serve_tasks().await;
    let tasks = setup.tasks(0).await;
    (server, tasks)
}

/// The same for an example without a runtime: a server in memory, and a client of its task queue.
///
/// # Panics
/// If they do not come about.
pub fn tasks_of_its_own() -> (Server, Tasks) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(tasks())
}
