//! `stdin:` and `stdout:`: lines of a stream that comes once and is gone.

use std::io::{self, BufRead, BufReader, Read, Write};

use async_trait::async_trait;
use tokio::sync::mpsc;

use crate::format::{Lines, SINK_OPTIONS, SOURCE_OPTIONS};
use crate::record::{Entry, LINE_BYTES_MAX};
use crate::worker::Worker;
use crate::{
    Address, BATCH_BYTES_MAX, BATCH_ITEMS_MAX, Batch, BatchLimits, Context, Error, Position, Result, Sink, Source,
    Standing,
};

/// Batches that were read and wait to be moved.
const BATCHES_AHEAD_MAX: usize = 2;

/// Lines that a thread reads. It cannot be cancelled: a thread that waits for input is left behind.
pub(crate) struct StreamSource {
    /// What is read, until it is read.
    input: Option<Box<dyn Read + Send>>,
    lines: Lines,
    batches: Option<mpsc::Receiver<Result<Batch>>>,
}

/// Standard input.
pub(crate) fn make_source(address: &Address, _: &Context) -> Result<Box<dyn Source>> {
    address.only(&[SOURCE_OPTIONS, &["follow"]].concat())?;
    without_target(address)?;
    Ok(Box::new(StreamSource::new(io::stdin(), Lines::of_source(address)?)))
}

/// Standard output.
pub(crate) fn make_sink(address: &Address, _: &Context) -> Result<Box<dyn Sink>> {
    address.only(SINK_OPTIONS)?;
    without_target(address)?;
    Ok(Box::new(StreamSink::new(io::stdout(), Lines::of_sink(address)?)))
}

fn without_target(address: &Address) -> Result<()> {
    match address.target() {
        "" => Ok(()),
        _ => Err(address.target_fault(format!("there is one {} alone; write `{0}:`", address.scheme()))),
    }
}

impl StreamSource {
    pub(crate) fn new(input: impl Read + Send + 'static, lines: Lines) -> Self {
        Self { input: Some(Box::new(input)), lines, batches: None }
    }
}

impl std::fmt::Debug for StreamSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamSource").field("lines", &self.lines).finish_non_exhaustive()
    }
}

#[async_trait]
impl Source for StreamSource {
    fn origin(&self) -> String {
        "stdin:".into()
    }

    /// The stream comes once: what an earlier run read and did not move is gone.
    async fn start(&mut self, _: &Standing) -> Result<Position> {
        let (sender, batches) = mpsc::channel(BATCHES_AHEAD_MAX);
        if let Some(input) = self.input.take() {
            let lines = self.lines.clone();
            std::thread::spawn(move || read(input, &lines, &sender));
            self.batches = Some(batches);
        }
        Ok(Position::default())
    }

    async fn next(&mut self, _: BatchLimits) -> Result<Option<Batch>> {
        self.batches.as_mut().expect("`start` comes first").recv().await.transpose()
    }
}

/// Gives batches of what is there, until the input ends or nobody takes them any more.
fn read(input: impl Read, lines: &Lines, batches: &mpsc::Sender<Result<Batch>>) {
    let mut input = BufReader::with_capacity(64 * 1024, input);
    let (mut record, mut at, mut read) = (0, 0, 0);
    let mut line = Vec::new();
    let mut ended = false;
    while !ended {
        let (mut batch, mut bytes) = (Batch::default(), 0);
        loop {
            line.clear();
            let got = match input.by_ref().take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut line) {
                Ok(got) => got as u64,
                Err(cause) => {
                    let _ =
                        batches.blocking_send(Err(Error::File { what: "read", path: "standard input".into(), cause }));
                    return;
                }
            };
            let whole = line.pop_if(|last| *last == b'\n').is_some();
            ended = !whole && line.len() <= LINE_BYTES_MAX;
            if got > 0 && !lines.is_blank(&line) {
                record += 1;
                match lines.read(&line) {
                    Ok(Entry::Item(item)) => {
                        bytes += item.bytes();
                        read += 1;
                        batch.items.push(item);
                    }
                    Ok(Entry::Lost(lost)) if batch.items.is_empty() && batch.lost.is_none() => batch.lost = Some(lost),
                    Ok(Entry::Lost(lost)) => {
                        // It belongs before the first item of a batch.
                        batch.extent.done = read;
                        if batches.blocking_send(Ok(std::mem::take(&mut batch))).is_err() {
                            return;
                        }
                        batch.lost = Some(lost);
                    }
                    Err(_) if ended => {
                        batch.notice = Some(format!(
                            "standard input ended within a record: the {got} bytes from byte {at} on are left out"
                        ));
                    }
                    Err(why) => {
                        let _ = batches.blocking_send(Ok(batch));
                        let path = "standard input".into();
                        let _ = batches.blocking_send(Err(Error::Malformed { path, record, at, why }));
                        return;
                    }
                }
            }
            at += got;
            let full = batch.items.len() >= BATCH_ITEMS_MAX || bytes >= BATCH_BYTES_MAX;
            if ended || full || !input.buffer().contains(&b'\n') {
                break;
            }
        }
        batch.extent.done = read;
        let something = !batch.items.is_empty() || batch.lost.is_some() || batch.notice.is_some();
        if something && batches.blocking_send(Ok(batch)).is_err() {
            return;
        }
    }
}

/// Lines into a stream.
#[derive(Debug)]
pub(crate) struct StreamSink<W> {
    lines: Lines,
    output: Worker<W, Result<()>>,
}

impl<W: Write + Send + std::fmt::Debug + 'static> StreamSink<W> {
    pub(crate) fn new(output: W, lines: Lines) -> Self {
        Self { lines, output: Worker::new(output) }
    }
}

#[async_trait]
impl<W: Write + Send + std::fmt::Debug + 'static> Sink for StreamSink<W> {
    async fn standing(&mut self) -> Result<Standing> {
        Ok(Standing::default())
    }

    /// Handed to whoever reads, when it returns; what they do with it nobody knows.
    async fn write(&mut self, batch: &Batch) -> Result<()> {
        let mut bytes = Vec::new();
        self.lines.write(batch, &mut bytes);
        let write = move |output: &mut W| output.write_all(&bytes).and_then(|()| output.flush());
        let failed = |cause| Error::File { what: "write", path: "standard output".into(), cause };
        self.output.run(move |output| write(output).map_err(failed)).await
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Item, Lost};

    async fn given(input: &'static [u8], options: &str) -> (Vec<Item>, Vec<Lost>, Vec<String>, Option<String>) {
        let lines = Lines::of_source(&format!("stdin:{options}").parse().unwrap()).unwrap();
        let mut source = StreamSource::new(input, lines);
        source.start(&Standing::default()).await.unwrap();
        let (mut items, mut lost, mut notices) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            match source.next(BatchLimits::default()).await {
                Ok(Some(batch)) => {
                    items.extend(batch.items);
                    lost.extend(batch.lost);
                    notices.extend(batch.notice);
                }
                Ok(None) => return (items, lost, notices, None),
                Err(error) => return (items, lost, notices, Some(error.to_string())),
            }
        }
    }

    #[tokio::test]
    async fn lines_are_items_and_the_last_needs_no_line_feed() {
        let (items, ..) = given(b"a\n\nb", "?format=raw").await;
        assert_eq!(items, ["a", "", "b"].map(Item::new));
        let (items, lost, notices, error) =
            given(b"{\"payload\":\"a\"}\n\n{\"lost\":3}\n{\"payload\":\"b\"}", "").await;
        assert_eq!((items.len(), &lost[..], notices.len(), error), (2, &[Lost::Exactly(3)][..], 0, None));
    }

    #[tokio::test]
    async fn half_a_record_at_the_end_is_told_and_one_within_ends_it() {
        let (items, _, notices, error) = given(b"{\"payload\":\"a\"}\n{\"pay", "").await;
        assert_eq!((items.len(), error), (1, None));
        assert_eq!(notices, ["standard input ended within a record: the 5 bytes from byte 16 on are left out"]);
        let (items, _, _, error) = given(b"{\"payload\":\"a\"}\n{\"pay\n{\"payload\":\"b\"}\n", "").await;
        assert_eq!(items.len(), 1);
        assert!(error.unwrap().starts_with("record 2 of standard input, at byte 16: it is no record"));
    }

    #[tokio::test]
    async fn records_go_out_as_lines() {
        let mut sink = StreamSink::new(Vec::new(), Lines::default());
        let batch = Batch { lost: Some(Lost::Unknown), items: vec![Item::new("a")], ..Batch::default() };
        sink.write(&batch).await.unwrap();
        let written = sink.output.run(|output| {
            assert_eq!(output, b"{\"lost\":\"unknown\"}\n{\"payload\":\"a\"}\n");
            Ok(())
        });
        written.await.unwrap();
    }
}
