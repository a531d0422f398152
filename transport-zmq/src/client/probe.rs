//! Asks a server by hand which security mechanism it wants, for an error message that is certain.
//!
//! ZMTP 3.1 (ZeroMQ RFC 37), "greeting": 64 bytes, the mechanism's name from the 13th on, in the clear. A server sends all
//! of its own once it has the first 11 of ours. It gets no more: libzmq hangs up on another mechanism before it greets.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

/// What a server greets with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mechanism {
    Null,
    Curve,
    Other,
}

/// The mechanism of the server at `target`, one of libzmq's addresses. Under the deadline of the attempt.
pub(super) async fn mechanism(target: &str) -> io::Result<Mechanism> {
    match target.strip_prefix("ipc://") {
        Some(path) => greet(UnixStream::connect(path).await?).await,
        None => greet(TcpStream::connect(target.trim_start_matches("tcp://")).await?).await,
    }
}

async fn greet(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<Mechanism> {
    stream.write_all(&GREETING).await?;
    let mut theirs = [0; 64];
    stream.read_exact(&mut theirs).await?;
    Ok(parse(&theirs))
}

/// The signature and the major version.
const GREETING: [u8; 11] = [0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3];

fn parse(greeting: &[u8; 64]) -> Mechanism {
    match greeting[12..32].split(|byte| *byte == 0).next() {
        Some(b"NULL") => Mechanism::Null,
        Some(b"CURVE") => Mechanism::Curve,
        _ => Mechanism::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mechanisms() {
        for (name, mechanism) in [(&b"NULL"[..], Mechanism::Null), (b"CURVE", Mechanism::Curve)] {
            let mut greeting = [0; 64];
            greeting[12..12 + name.len()].copy_from_slice(name);
            assert_eq!(parse(&greeting), mechanism);
        }
        assert_eq!(parse(&[0; 64]), Mechanism::Other);
        assert_eq!(parse(&[b'x'; 64]), Mechanism::Other);
    }
}
