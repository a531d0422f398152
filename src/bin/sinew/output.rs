//! Standard output of commands that follow something.

use std::io::Write;
use std::time::Duration;

use sinew::Client;
use tokio::sync::mpsc;

use crate::failure::Outcome;
use crate::signals::Signals;

/// Output that waits for a slow reader: chunks of about 64 KiB.
const CHUNKS_MAX: usize = 16;
/// How long the goodbye to the server may take; it finds out by itself otherwise.
const GOODBYE: Duration = Duration::from_secs(1);
/// A chunk is passed on at this size, or when nothing more is there.
pub(crate) const CHUNK_BYTES: usize = 64 * 1024;

/// Writes on a thread of its own, so that a reader that stands still holds up neither signals nor the session.
pub(crate) fn start_writer() -> (mpsc::Sender<Vec<u8>>, tokio::task::JoinHandle<std::io::Result<()>>) {
    let (output, mut chunks) = mpsc::channel::<Vec<u8>>(CHUNKS_MAX);
    let writer = tokio::task::spawn_blocking(move || {
        let mut stdout = std::io::stdout().lock();
        while let Some(chunk) = chunks.blocking_recv() {
            match stdout.write_all(&chunk).and_then(|()| stdout.flush()) {
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
                written => written?,
            }
        }
        Ok(())
    });
    (output, writer)
}

/// Ends in order: what was received is written and the server told, unless a reader that stands still or a second signal
/// says no.
pub(crate) async fn finish(
    writer: tokio::task::JoinHandle<std::io::Result<()>>,
    client: &Client,
    signals: &mut Signals,
) -> Outcome {
    let ending = async {
        let written = writer.await;
        // The server finds out by itself where it cannot be told in time.
        let _ = tokio::time::timeout(GOODBYE, client.close()).await;
        written
    };
    tokio::select! {
        written = ending => written??,
        () = signals.next() => {}
    }
    Ok(())
}
