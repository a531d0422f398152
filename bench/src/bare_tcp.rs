//! Plain TCP, blocking: writes of 64 KiB one way, and small echoes.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

/// Bytes of one write: what the session packs into a block.
const WRITE_BYTES: usize = 64 * 1024;

/// A connection to a thread that reads, and answers when told to.
#[derive(Debug)]
pub struct BareTcp(TcpStream);

impl BareTcp {
    /// A pair over loopback.
    ///
    /// # Panics
    /// If there is no loopback.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("it is bound");
        thread::spawn(move || serve(listener.accept().expect("a client").0));
        let stream = TcpStream::connect(address).expect("a server");
        stream.set_nodelay(true).expect("an option of TCP");
        Self(stream)
    }

    /// Sends `count` records of `bytes` each in large writes, and waits for the last one's receipt.
    ///
    /// # Panics
    /// If the connection breaks.
    pub fn one_way(&mut self, count: u64, bytes: usize) {
        let total = count * bytes as u64;
        self.0.write_all(&total.to_le_bytes()).expect("it stands");
        let chunk = vec![1; WRITE_BYTES];
        let mut left = total;
        while left > 0 {
            let now = left.min(WRITE_BYTES as u64);
            self.0.write_all(&chunk[..now as usize]).expect("it stands");
            left -= now;
        }
        self.0.read_exact(&mut [0]).expect("the receipt");
    }

    /// Makes `count` echoes of `bytes` each.
    ///
    /// # Panics
    /// If the connection breaks.
    pub fn round_trips(&mut self, count: u64, bytes: usize) {
        let mut buffer = vec![1; bytes];
        for _ in 0..count {
            self.0.write_all(&(bytes as u64).to_le_bytes()).expect("it stands");
            self.0.write_all(&buffer).expect("it stands");
            self.0.read_exact(&mut buffer[..1]).expect("the echo");
        }
    }
}

/// Reads a length and so many bytes, answers with one byte, and again.
fn serve(mut stream: TcpStream) {
    stream.set_nodelay(true).expect("an option of TCP");
    let mut buffer = vec![0; WRITE_BYTES];
    let mut length = [0; 8];
    while stream.read_exact(&mut length).is_ok() {
        let mut left = u64::from_le_bytes(length);
        while left > 0 {
            let now = left.min(WRITE_BYTES as u64) as usize;
            match stream.read(&mut buffer[..now]) {
                Ok(0) | Err(_) => return,
                Ok(read) => left -= read as u64,
            }
        }
        if stream.write_all(&[1]).is_err() {
            return;
        }
    }
}
