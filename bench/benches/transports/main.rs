//! Each transport through the session, and the bare libraries beside it: one way and round trip, with and without
//! security. `cargo xtask bench transports` runs this and makes the table.

use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sinew_bench::{BareQuic, BareTcp, BareZmq, HopServer, Secured};

/// Payload sizes of the one-way comparison, in bytes.
const SIZES: [usize; 4] = [16, 128, 1_024, 16_384];
/// Payload of the round trips, in bytes.
const ECHO_BYTES: usize = 128;

/// Every way through the session: a name, an endpoint, whether it is secured.
const HOPS: [(&str, &str, Secured); 8] = [
    ("mem", "mem://bench", Secured::No),
    ("zmq plain", "zmq://127.0.0.1:0", Secured::No),
    ("zmq curve", "zmq://127.0.0.1:0", Secured::Yes),
    ("zmq+ipc curve", "zmq+ipc://", Secured::Yes),
    ("quic loopback open", "quic://127.0.0.1:0?preset=loopback", Secured::No),
    ("quic loopback", "quic://127.0.0.1:0?preset=loopback", Secured::Yes),
    ("quic lan", "quic://127.0.0.1:0?preset=lan", Secured::Yes),
    ("quic wan", "quic://127.0.0.1:0?preset=wan", Secured::Yes),
];

fn timed(mut work: impl FnMut(u64)) -> impl FnMut(u64) -> Duration {
    move |count| {
        let start = Instant::now();
        work(count);
        start.elapsed()
    }
}

fn through_the_session(c: &mut Criterion) {
    for (name, url, secured) in HOPS {
        let ipc = std::env::temp_dir().join(format!("sinew-bench-{}", std::process::id()));
        let url = if url == "zmq+ipc://" { format!("{url}{}", ipc.display()) } else { url.to_owned() };
        let server = HopServer::start(&url, secured);
        let hop = server.connect();
        for bytes in SIZES {
            let body = Bytes::from(vec![1; bytes]);
            let mut group = c.benchmark_group(format!("one way {bytes}"));
            group.throughput(Throughput::Elements(1));
            group.bench_function(name, |b| b.iter_custom(timed(|count| hop.one_way(count, &body))));
        }
        let body = Bytes::from(vec![1; ECHO_BYTES]);
        let mut group = c.benchmark_group("round trip 128");
        group.bench_function(name, |b| b.iter_custom(timed(|count| hop.round_trips(count, &body))));
    }
}

fn bare(c: &mut Criterion) {
    let mut tcp = BareTcp::start();
    let mut quic = BareQuic::start();
    let (plain, curve) = (BareZmq::start(Secured::No), BareZmq::start(Secured::Yes));
    for bytes in SIZES {
        let mut group = c.benchmark_group(format!("one way {bytes}"));
        group.throughput(Throughput::Elements(1));
        group.bench_function("bare TCP, 64 KiB writes", |b| b.iter_custom(timed(|count| tcp.one_way(count, bytes))));
        group.bench_function("bare quinn, 64 KiB writes", |b| b.iter_custom(timed(|count| quic.one_way(count, bytes))));
        group.bench_function("bare libzmq plain", |b| b.iter_custom(timed(|count| plain.one_way(count, bytes))));
        group.bench_function("bare libzmq curve", |b| b.iter_custom(timed(|count| curve.one_way(count, bytes))));
    }
    let mut group = c.benchmark_group("round trip 128");
    group.bench_function("bare TCP, 64 KiB writes", |b| {
        b.iter_custom(timed(|count| tcp.round_trips(count, ECHO_BYTES)))
    });
    group.bench_function("bare quinn, 64 KiB writes", |b| {
        b.iter_custom(timed(|count| quic.round_trips(count, ECHO_BYTES)))
    });
    group.bench_function("bare libzmq plain", |b| b.iter_custom(timed(|count| plain.round_trips(count, ECHO_BYTES))));
    group.bench_function("bare libzmq curve", |b| b.iter_custom(timed(|count| curve.round_trips(count, ECHO_BYTES))));
}

fn config() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}

criterion_group! { name = transports; config = config(); targets = through_the_session, bare }
criterion_main!(transports);
