//! Whatever an admitted peer says to the task queue, the server stays and serves honest peers: records as the page has them,
//! bent here and there.

use std::sync::Arc;
use std::time::Duration;

use sinew_session::{CRITICAL, Header, Run, encode};
use sinew_taskqueue::{Job, MemoryEngine, SERVICE, TaskError, TaskLimits};
use sinew_testkit::net::Net;
use sinew_testkit::random::{Random, Telltale, seeds};
use sinew_testkit::setup::{Setup, soon};
use sinew_testkit::wire::{Hello, say_hello, send};
use sinew_transport_api::{Connection, Lane};

const ROUNDS: usize = 3_000;

/// Every record of the task queue that the page has.
fn vectors() -> Vec<Vec<u8>> {
    let page = include_str!("../../docs/WIRE.md");
    let bytes = |text: &str| {
        let digits: Vec<u8> = text.bytes().take_while(|byte| *byte != b'`').filter(u8::is_ascii_hexdigit).collect();
        digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    };
    let all = page.split("```vector task-").skip(1).map(|rest| bytes(rest.split_once('\n').unwrap().1));
    all.filter(|record: &Vec<u8>| record.len() >= 16 && record[4] == SERVICE).collect()
}

/// One of them with other bytes in it, another call number, another verb now and then.
fn bent(vectors: &[Vec<u8>], random: &mut Random) -> bytes::Bytes {
    let block = bytes::Bytes::from(vectors[random.below(vectors.len())].clone());
    let record = Run::parse(&block).unwrap().next().unwrap();
    let (mut head, mut body) = (record.head().to_vec(), record.body().to_vec());
    for part in [&mut head, &mut body] {
        while !part.is_empty() && random.once_in(2) {
            let at = random.below(part.len());
            match random.below(3) {
                0 => part[at] = random.bits() as u8,
                1 => part.truncate(at),
                _ => part.extend_from_slice(&random.bits().to_le_bytes()),
            }
        }
    }
    let verb = if random.once_in(4) { random.below(30) as u8 } else { record.header.verb };
    let flags = if random.once_in(2) { CRITICAL } else { 0 };
    let header = Header { service: SERVICE, verb, flags, call: random.below(12) as u32 };
    encode(header, &head, &body)
}

async fn newcomer(setup: &Setup) -> Connection {
    let mut connection = setup.raw(0).await;
    say_hello(&mut connection, &Hello::default()).await.unwrap().expect("it is welcome");
    connection
}

async fn round_trip(setup: &Setup, round: usize) {
    let queue = setup.tasks(0).await.queue(&format!("honest-{round}").parse().unwrap());
    let worker = queue.worker();
    let stop = worker.stop_handle();
    tokio::spawn(worker.run(|job: Job| async move { Ok::<_, TaskError>(job.payload().clone()) }));
    let result = soon("an honest task", queue.submit("tea").queueing().run()).await.expect("it is done");
    assert_eq!(result, "tea");
    soon("stopping", stop.stop()).await.expect("in order");
}

#[tokio::test(start_paused = true)]
async fn a_server_stands_whatever_an_admitted_peer_says() {
    let vectors = vectors();
    assert!(vectors.len() > 10, "{} records", vectors.len());
    for seed in seeds(2) {
        let _telltale = Telltale(seed);
        let mut random = Random::new(seed);
        let mut setup = Setup::on(&Net::default(), "mem://here");
        let limits = TaskLimits { waits_max: 100, ..TaskLimits::default() };
        let server = setup.serve_tasks_on(Arc::new(MemoryEngine::default()), limits).await;
        let mut peer = newcomer(&setup).await;
        for round in 0..ROUNDS {
            let count = 1 + random.below(4);
            let block: Vec<u8> = (0..count).flat_map(|_| bent(&vectors, &mut random)).collect();
            let lane = Lane(random.below(2) as u8);
            let sent = send(&mut peer, lane, block.into()).await;
            // What it answers is read, so that it is never the peer that stands still.
            let turn = Duration::from_millis(1);
            let gone = loop {
                match tokio::time::timeout(turn, peer.receiver.recv()).await {
                    Ok(Ok(Some(_))) => {}
                    Ok(_) => break true,
                    Err(_) => break false,
                }
            };
            if sent.is_err() || gone || random.once_in(200) {
                peer = newcomer(&setup).await;
            }
            if round % 500 == 499 {
                round_trip(&setup, round).await;
            }
        }
        server.abort().await;
    }
}
