//! Tasks in the data directory of a server.
#![cfg(feature = "taskqueue")]

use sinew::taskqueue::{Level, TaskOptions};
use sinew::{Client, Server};
use sinew_testkit::setup::soon;

async fn serve(data: &std::path::Path) -> (Server, Client) {
    let server = Server::builder().listen("mem://task-data").plaintext().data(data);
    let server = soon("starting", server.start()).await.expect("it starts");
    let client = Client::builder(server.urls()[0].to_string()).plaintext();
    let client = soon("connecting", client.connect()).await.expect("it is there");
    (server, client)
}

#[tokio::test]
async fn a_task_that_was_accepted_is_there_at_the_next_start() {
    let data = tempfile::tempdir().expect("a folder");
    let (name, options) = ("q".parse().expect("a name"), TaskOptions { queueing: true, ..TaskOptions::default() });
    let (server, client) = serve(data.path()).await;
    let submitted = client.tasks().queue(&name).submit("work").options(options).detached();
    let handle = soon("submitting", async { submitted.await }).await.expect("it is accepted");
    assert_eq!(handle.level(), Level::Fsynced);
    let task = soon("detaching", handle.detach()).await.expect("it goes on");
    server.drain().await.expect("it ends in order");
    let (_server, client) = serve(data.path()).await;
    let info = soon("asking", client.tasks().queue(&name).info()).await.expect("it is there");
    assert_eq!((info.waiting, info.level), (1, Level::Fsynced), "{task}");
}
