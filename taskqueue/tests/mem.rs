//! The task queue over `mem://`, with eight lanes: what is promised when nothing fails.

use std::sync::Arc;

use sinew_session::Server;
use sinew_taskqueue::MemoryEngine;
use sinew_testkit::net::Net;
use sinew_testkit::setup::Setup;
use sinew_testkit::tasks;

async fn world() -> (Setup, Server) {
    let mut setup = Setup::on(&Net::default(), "wide://here");
    let server = setup.serve_tasks().await;
    (setup, server)
}

#[tokio::test]
async fn submit_and_work() {
    let (setup, _server) = world().await;
    tasks::submit_and_work(&setup).await;
}

#[tokio::test]
async fn progress_and_cancels() {
    let (setup, _server) = world().await;
    tasks::progress_and_cancels(&setup).await;
}

#[tokio::test]
async fn options() {
    let (setup, _server) = world().await;
    tasks::options(&setup).await;
}

#[tokio::test]
async fn three_workers_share_in_turn() {
    let (setup, _server) = world().await;
    tasks::shared_in_turn(&setup, 3_000).await;
}

#[tokio::test(start_paused = true)]
async fn three_leases() {
    let (setup, _server) = world().await;
    tasks::three_leases(&setup).await;
}

#[tokio::test]
async fn dropped_workers() {
    let (setup, _server) = world().await;
    tasks::dropped_workers(&setup).await;
}

#[tokio::test]
async fn bad_input() {
    let mut setup = Setup::on(&Net::default(), "wide://here");
    tasks::bad_input(&mut setup, Arc::new(MemoryEngine::default())).await;
}

#[tokio::test]
async fn through_ten_restarts() {
    let mut setup = Setup::on(&Net::default(), "wide://here");
    tasks::through_restarts(&mut setup, async || Arc::new(MemoryEngine::default()) as _, false, 10).await;
}

#[tokio::test]
async fn permissions() {
    let mut setup = Setup::on(&Net::default(), "wide://here");
    tasks::permissions(&mut setup, Arc::new(MemoryEngine::default())).await;
}
