//! The bus over a transport that Sinew does not know: `unix://`, linked by one line.

use std::time::Duration;

use sinew::{Client, Delivery, Pattern, Server, Subject};
use sinew_transport_unix as _;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tokio::time::timeout(Duration::from_secs(30), talk()).await?
}

async fn talk() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::temp_dir().join(format!("sinew-outside-{}", std::process::id()));
    let url = format!("unix://{}", path.display());
    let server = Server::builder().listen(&url).plaintext().start().await?;
    let client = Client::builder(&url).plaintext().connect().await?;
    let mut heard = client.bus().subscribe(&Pattern::try_from("outside.>")?).await?;
    client.bus().publish(&Subject::try_from("outside.world")?, "hello").await?;
    match heard.next().await {
        Some(Delivery::Message(message)) if &message.body[..] == b"hello" => println!("outside plug-in: heard hello over unix"),
        other => return Err(format!("heard {other:?}").into()),
    }
    client.close().await?;
    server.drain().await?;
    Ok(())
}
