//! Matrix work that only a machine with a GPU gets: the worker has the tag `gpu`, and the task asks for it. Small machines work
//! on the same queue and get the rest. (The worker here multiplies on its processor; what it does is its own affair.)
//!
//! With `sinew serve` running:
//! ```text
//! cargo run --release --example gpu work jetson gpu
//! cargo run --release --example gpu work raspberry
//! cargo run --release --example gpu submit 64
//! ```
//! A URL as last argument chooses the server.

use serde::{Deserialize, Serialize};
use sinew::Client;
use sinew::taskqueue::{Job, TaskError, TaskQueue};

const USAGE: &str = "usage: gpu work NAME [gpu] [URL] | submit SIDE [URL]";
const TAG: &str = "gpu";

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// Two square matrices, row by row.
#[derive(Serialize, Deserialize)]
struct Multiply {
    side: usize,
    left: Vec<f64>,
    right: Vec<f64>,
}

/// Their product, and who has worked it out.
#[derive(Serialize, Deserialize)]
struct Product {
    by: String,
    points: Vec<f64>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    run(std::env::args().skip(1)).await
}

/// Works, or lets others work.
pub(crate) async fn run(mut arguments: impl Iterator<Item = String>) -> Outcome {
    match arguments.next().as_deref() {
        Some("work") => {
            let name = arguments.next().ok_or(USAGE)?;
            let mut arguments = arguments.peekable();
            let tag = arguments.next_if(|argument| argument == TAG);
            let client = connect(arguments.next()).await?;
            work(&queue(&client)?, name, tag).await
        }
        Some("submit") => {
            let side = arguments.next().ok_or(USAGE)?.parse()?;
            let client = connect(arguments.next()).await?;
            submit(&queue(&client)?, side).await?;
            Ok(client.close().await?)
        }
        _ => Err(USAGE.into()),
    }
}

async fn connect(url: Option<String>) -> Outcome<Client> {
    Ok(url.map_or_else(Client::local, Client::builder).connect().await?)
}

fn queue(client: &Client) -> Outcome<TaskQueue> {
    Ok(client.tasks().queue(&"matrices".parse()?))
}

/// Does what comes, until it is ended.
async fn work(queue: &TaskQueue, name: String, tag: Option<String>) -> Outcome {
    let worker = queue.worker().name(&name).tags(tag).join().await?;
    println!("{name} is ready");
    let work = move |job: Job| {
        let name = name.clone();
        async move {
            let product = multiply(&job.value()?)?;
            let product = serde_json::to_vec(&Product { by: name, points: product });
            product.map_err(|error| TaskError::new("unwritable", error))
        }
    };
    Ok(worker.run(work).await?)
}

/// Multiplies a matrix by the identity, three times: each time the answer is the matrix, by a machine that has a GPU.
async fn submit(queue: &TaskQueue, side: usize) -> Outcome {
    let identity: Vec<f64> = (0..side * side).map(|at| f64::from(u8::from(at / side == at % side))).collect();
    for round in 0..3 {
        let matrix: Vec<f64> = (0..side * side).map(|at| (at + round) as f64).collect();
        let work = Multiply { side, left: matrix.clone(), right: identity.clone() };
        let product = queue.submit_value(&work)?.tags([TAG]).queueing().run().await?;
        let product: Product = serde_json::from_slice(&product)?;
        assert_eq!(product.points, matrix);
        println!("{side} x {side} by {}", product.by);
    }
    Ok(())
}

fn multiply(Multiply { side, left, right }: &Multiply) -> Result<Vec<f64>, TaskError> {
    let side = *side;
    if side.checked_mul(side).is_none_or(|points| points != left.len() || points != right.len()) {
        return Err(TaskError::new("no-matrices", "the matrices are not as large as they say").for_good());
    }
    let mut product = vec![0.0; side * side];
    for row in 0..side {
        for middle in 0..side {
            for column in 0..side {
                product[row * side + column] += left[row * side + middle] * right[middle * side + column];
            }
        }
    }
    Ok(product)
}
