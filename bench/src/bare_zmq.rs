//! libzmq alone, blocking, DEALER to ROUTER over TCP: one record for each message, and echoes.

use std::thread;

use zmq::{Context, CurveKeyPair, DEALER, ROUTER, Socket};

use crate::Secured;

/// Messages on their way at most, so that nothing is dropped.
const HIGH_WATER: i32 = 100_000;

/// A DEALER connected to a thread with a ROUTER.
pub struct BareZmq {
    socket: Socket,
    _context: Context,
}

impl std::fmt::Debug for BareZmq {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BareZmq")
    }
}

impl BareZmq {
    /// A pair over loopback, with CURVE or without.
    ///
    /// # Panics
    /// If libzmq cannot.
    pub fn start(secured: Secured) -> Self {
        let context = Context::new();
        let router = context.socket(ROUTER).expect("a socket");
        let socket = context.socket(DEALER).expect("a socket");
        router.set_rcvhwm(HIGH_WATER).expect("an option");
        socket.set_sndhwm(HIGH_WATER).expect("an option");
        if secured == Secured::Yes {
            let (server, client) = (CurveKeyPair::new().expect("CURVE"), CurveKeyPair::new().expect("CURVE"));
            router.set_curve_server(true).expect("an option");
            router.set_curve_secretkey(&server.secret_key).expect("a key");
            socket.set_curve_serverkey(&server.public_key).expect("a key");
            socket.set_curve_publickey(&client.public_key).expect("a key");
            socket.set_curve_secretkey(&client.secret_key).expect("a key");
        }
        router.bind("tcp://127.0.0.1:*").expect("loopback");
        let address = router.get_last_endpoint().expect("it is bound").expect("as text");
        thread::spawn(move || serve(&router));
        socket.connect(&address).expect("a server");
        Self { socket, _context: context }
    }

    /// Sends `count` messages of `bytes` each, and waits for the last one's receipt.
    ///
    /// # Panics
    /// If libzmq cannot.
    pub fn one_way(&self, count: u64, bytes: usize) {
        let body = vec![1_u8; bytes];
        let mut order = count.to_le_bytes().to_vec();
        order.resize(order.len().max(bytes), 1);
        self.socket.send(&order, 0).expect("it stands");
        for _ in 0..count {
            self.socket.send(&body, 0).expect("it stands");
        }
        self.socket.recv_bytes(0).expect("the receipt");
    }

    /// Makes `count` echoes of `bytes` each.
    ///
    /// # Panics
    /// If libzmq cannot.
    pub fn round_trips(&self, count: u64, bytes: usize) {
        for _ in 0..count {
            self.one_way(0, bytes);
        }
    }
}

/// Reads a count and so many messages, answers, and again; ends with its context.
fn serve(router: &Socket) {
    let mut message = zmq::Message::new();
    loop {
        let Ok(peer) = router.recv_bytes(0) else { return };
        if router.recv(&mut message, 0).is_err() {
            return;
        }
        let count = u64::from_le_bytes(message[..8].try_into().expect("eight bytes"));
        let answer = message.to_vec();
        for _ in 0..count * 2 {
            if router.recv(&mut message, 0).is_err() {
                return;
            }
        }
        if router.send_multipart([&peer[..], &answer[..]], 0).is_err() {
            return;
        }
    }
}
