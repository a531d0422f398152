//! What is said on the socket. First `SINEWUX1` from the client and one byte of [`Answer`] from the listener; then
//! frames both ways: one byte of kind, four bytes of length (little endian), so many bytes.

use std::io;

use bytes::{Bytes, BytesMut};
use sinew_transport_api::{Block, Lane};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;

const HELLO: &[u8; 8] = b"SINEWUX1";

/// Kinds below [`Lane::COUNT_MAX`] are blocks on the lane of that number.
const GOODBYE: u8 = 0xf0;
const GOT_IT_ALL: u8 = 0xf1;

/// The listener's answer to a client.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Answer {
    Admitted = 1,
    Refused = 2,
    Full = 3,
}

/// What goes over the socket once the handshake is done.
pub(crate) enum Frame<B> {
    Block(Lane, B),
    /// Nothing follows from this side.
    Goodbye,
    /// The goodbye has arrived, and so has all that was before it.
    GotItAll,
}

pub(crate) fn garbage<T>(what: &str) -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::InvalidData, what))
}

/// The client's side of the handshake.
pub(crate) async fn ask(stream: &mut UnixStream) -> io::Result<Answer> {
    stream.write_all(HELLO).await?;
    let answer = stream.read_u8().await?;
    let known = [Answer::Admitted, Answer::Refused, Answer::Full].into_iter().find(|known| *known as u8 == answer);
    known.map_or_else(|| garbage("it answered with something else than a handshake"), Ok)
}

/// The listener's side: what it hears …
pub(crate) async fn expect_hello(stream: &mut UnixStream) -> io::Result<()> {
    let mut hello = [0; HELLO.len()];
    stream.read_exact(&mut hello).await?;
    if hello == *HELLO { Ok(()) } else { garbage("it began with something else than a handshake") }
}

/// … and what it says.
pub(crate) async fn answer(stream: &mut UnixStream, answer: Answer) -> io::Result<()> {
    stream.write_u8(answer as u8).await
}

/// Writes a frame.
pub(crate) async fn write(stream: &mut (impl AsyncWrite + Unpin), frame: &Frame<Block>) -> io::Result<()> {
    let nothing = Block::default();
    let (kind, block) = match frame {
        Frame::Block(lane, block) => (lane.0, block),
        Frame::Goodbye => (GOODBYE, &nothing),
        Frame::GotItAll => (GOT_IT_ALL, &nothing),
    };
    stream.write_u8(kind).await?;
    stream.write_u32_le(block.len() as u32).await?;
    for chunk in block.chunks() {
        stream.write_all(chunk).await?;
    }
    Ok(())
}

/// The head of a frame, so that a reader can make room before it reads the rest: kind and length.
pub(crate) async fn read_head(stream: &mut (impl AsyncRead + Unpin), max: usize) -> io::Result<Frame<usize>> {
    let (kind, length) = (stream.read_u8().await?, stream.read_u32_le().await? as usize);
    match (kind, length) {
        (lane, 1..) if lane < Lane::COUNT_MAX && length <= max => Ok(Frame::Block(Lane(lane), length)),
        (GOODBYE, 0) => Ok(Frame::Goodbye),
        (GOT_IT_ALL, 0) => Ok(Frame::GotItAll),
        _ => garbage(&format!("it sent a frame of kind {kind} with {length} bytes")),
    }
}

/// The bytes of a block.
pub(crate) async fn read_block(stream: &mut (impl AsyncRead + Unpin), length: usize) -> io::Result<Bytes> {
    let mut block = BytesMut::zeroed(length);
    stream.read_exact(&mut block).await?;
    Ok(block.freeze())
}
