//! A calculator that other programs call: a service of typed calls, over whatever transport the URL names. Start as many servers
//! as there is work for; they share the calls.
//!
//! With `sinew serve` running:
//! ```text
//! cargo run --release --example calculator serve
//! cargo run --release --example calculator divide 84 2
//! ```
//! A URL as last argument chooses the server and, by its scheme, the transport:
//! ```text
//! cargo run --release --example calculator divide 84 2 quic://127.0.0.1:7463
//! ```
//! In a program of your own, `sinew` needs its feature `rpc`, and `tarpc` stands beside it with its feature `serde1`.

use sinew::Client;
use sinew::taskqueue::rpc;
use tarpc::context::{self, Context};
use tarpc::server::Serve;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// What can go wrong, as the caller sees it.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Fault {
    DividedByZero,
}

#[tarpc::service]
trait Calculator {
    async fn divide(number: i64, by: i64) -> Result<i64, Fault>;
}

#[derive(Clone)]
struct Exact;

impl Calculator for Exact {
    async fn divide(self, _: Context, number: i64, by: i64) -> Result<i64, Fault> {
        number.checked_div(by).ok_or(Fault::DividedByZero)
    }
}

const USAGE: &str = "usage: calculator serve [URL] | divide NUMBER BY [URL]";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    run(std::env::args().skip(1)).await
}

/// Serves, or asks who serves.
pub(crate) async fn run(mut arguments: impl Iterator<Item = String>) -> Outcome {
    let service = "calculator".parse()?;
    match arguments.next().as_deref() {
        Some("serve") => {
            let client = connect(arguments.next()).await?;
            let server = rpc::server(client.tasks(), &service).await?.join().await?;
            println!("serving");
            server.serve(|context, request| Exact.serve().serve(context, request)).await?;
        }
        Some("divide") => {
            let (number, by) = (arguments.next().ok_or(USAGE)?.parse()?, arguments.next().ok_or(USAGE)?.parse()?);
            let client = connect(arguments.next()).await?;
            let calculator = CalculatorClient::from(rpc::client(client.tasks(), &service)?);
            match calculator.divide(context::current(), number, by).await? {
                Ok(result) => println!("{result}"),
                Err(fault) => println!("{fault:?}"),
            }
            client.close().await?;
        }
        _ => return Err(USAGE.into()),
    }
    Ok(())
}

async fn connect(url: Option<String>) -> Outcome<Client> {
    Ok(url.map_or_else(Client::local, Client::builder).connect().await?)
}
