//! Without the patch lines a secured ZeroMQ endpoint must say which lines are missing. Prints the error's chain.

use std::error::Error;
use std::sync::Arc;

use sinew::{AdmitEveryone, Identity, Server};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let builder = Server::builder().listen("zmq://127.0.0.1:0").identity(Identity::generate());
    let Err(error) = builder.admit(Arc::new(AdmitEveryone)).start().await else {
        return Err("a server without CURVE started".into());
    };
    let mut cause: Option<&dyn Error> = Some(&error);
    while let Some(error) = cause {
        println!("{error}");
        cause = error.source();
    }
    Ok(())
}
