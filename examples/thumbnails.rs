//! Thumbnails by workers that are commands: a picture in, a smaller one out. Pictures are in the format PGM (grey, `P5`), so
//! that nothing else is needed; with ImageMagick the worker is `--exec 'convert - -resize 25% jpg:-'`.
//!
//! With `sinew serve` running, as many workers as there are cores, here or elsewhere:
//! ```text
//! sinew task work thumbnails --exec 'cargo run -q --release --example thumbnails shrink' --concurrency 4
//! cargo run --release --example thumbnails submit 100
//! ```
//! A URL as last argument chooses the server.

use std::io::{Read, Write};

use sinew::Client;

const USAGE: &str = "usage: thumbnails shrink < PICTURE | submit COUNT [URL]";
/// The largest picture read from standard input.
const PICTURE_BYTES_MAX: u64 = 1 << 20;
/// Sides of the pictures that are submitted.
const SIDE: usize = 256;
/// So many times smaller is a thumbnail.
const SHRINK: usize = 8;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    run(std::env::args().skip(1)).await
}

/// Shrinks what is on standard input, or lets others do so.
pub(crate) async fn run(mut arguments: impl Iterator<Item = String>) -> Outcome {
    match arguments.next().as_deref() {
        Some("shrink") => {
            let mut picture = Vec::new();
            std::io::stdin().lock().take(PICTURE_BYTES_MAX).read_to_end(&mut picture)?;
            std::io::stdout().write_all(&shrink(&Picture::read(&picture)?).write())?;
        }
        Some("submit") => {
            let count: usize = arguments.next().ok_or(USAGE)?.parse()?;
            let client = arguments.next().map_or_else(Client::local, Client::builder).connect().await?;
            submit(&client, count).await?;
            client.close().await?;
        }
        _ => return Err(USAGE.into()),
    }
    Ok(())
}

/// All at once; workers take them in turn. Each comes back with its thumbnail.
async fn submit(client: &Client, count: usize) -> Outcome {
    let queue = client.tasks().queue(&"thumbnails".parse()?);
    let mut tasks = Vec::new();
    for number in 0..count {
        tasks.push(queue.submit(gradient(number).write()).queueing().attempts(3).await?);
    }
    for (number, task) in tasks.into_iter().enumerate() {
        let thumbnail = Picture::read(&task.result().await?)?;
        assert_eq!((thumbnail.width, thumbnail.height), (SIDE / SHRINK, SIDE / SHRINK));
        assert_eq!(thumbnail.points, shrink(&gradient(number)).points);
    }
    println!("{count} thumbnails");
    Ok(())
}

/// Grey, a byte a point, row by row.
struct Picture {
    width: usize,
    height: usize,
    points: Vec<u8>,
}

impl Picture {
    fn read(bytes: &[u8]) -> Outcome<Self> {
        let mut parts = bytes.splitn(4, |byte| byte.is_ascii_whitespace());
        let mut head = || std::str::from_utf8(parts.next().unwrap_or_default());
        let (format, width, height) = (head()?, head()?.parse::<usize>(), head()?.parse::<usize>());
        let points = parts.next().unwrap_or_default().strip_prefix(b"255\n");
        match (format, width, height, points) {
            ("P5", Ok(width), Ok(height), Some(points)) if width.checked_mul(height) == Some(points.len()) => {
                Ok(Self { width, height, points: points.to_vec() })
            }
            _ => Err("this is no grey picture of 8 bits in the format PGM".into()),
        }
    }

    fn write(&self) -> Vec<u8> {
        [format!("P5\n{}\n{}\n255\n", self.width, self.height).as_bytes(), &self.points].concat()
    }
}

/// Each point is the mean of those that it stands for.
fn shrink(picture: &Picture) -> Picture {
    let (width, height) = (picture.width / SHRINK, picture.height / SHRINK);
    let mean = |column: usize, row: usize| {
        let rows = (row * SHRINK..(row + 1) * SHRINK).map(|row| row * picture.width + column * SHRINK);
        let sum: usize = rows.flat_map(|at| &picture.points[at..at + SHRINK]).map(|point| usize::from(*point)).sum();
        (sum / (SHRINK * SHRINK)) as u8
    };
    let points = (0..height).flat_map(|row| (0..width).map(move |column| mean(column, row))).collect();
    Picture { width, height, points }
}

fn gradient(number: usize) -> Picture {
    let points = (0..SIDE * SIDE).map(|at| (at % SIDE + at / SIDE + number) as u8).collect();
    Picture { width: SIDE, height: SIDE, points }
}
