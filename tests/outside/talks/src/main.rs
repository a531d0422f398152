//! A server and two clients over `zmq://`, secured, in a project outside the workspace.

use std::sync::Arc;
use std::time::Duration;

use sinew::{AdmitEveryone, Client, Delivery, Identity, Pattern, Server, Subject};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tokio::time::timeout(Duration::from_secs(30), talk()).await?
}

async fn talk() -> Result<(), Box<dyn std::error::Error>> {
    let builder = Server::builder().listen("zmq://127.0.0.1:0").identity(Identity::generate());
    let server = builder.admit(Arc::new(AdmitEveryone)).start().await?;
    let url = server.urls()[0].with_key(server.key().ok_or("it has a key")?).to_string();
    let client = |url: &str| Client::builder(url).identity(Identity::generate()).connect();
    let (alice, bob) = (client(&url).await?, client(&url).await?);
    let mut heard = bob.bus().subscribe(&Pattern::try_from("outside.>")?).await?;
    alice.bus().publish(&Subject::try_from("outside.world")?, "hello").await?;
    match heard.next().await {
        Some(Delivery::Message(message)) if &message.body[..] == b"hello" => println!("outside project: heard hello over zmq"),
        other => return Err(format!("heard {other:?}").into()),
    }
    Ok(())
}
