//! Futures that are polled a few times and dropped, thousands of times: nothing may be lost or doubled by it.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use crate::conformance::kit::{Kit, Outcome, Pair, Role, Stop, accept, connect_in_time, ensure, within};
use crate::conformance::traffic::{Tally, block, recv, round_trip, send, send_all};
use crate::random::Random;
use crate::{Connection, Lane, LaneSet, Limits, Listener};

/// Blocks of a case. Each has up to eight dropped futures before it.
const BLOCKS: usize = 500;

/// Their size: large enough that the queue is full most of the time.
const SIZE: usize = 6 * 1024;

fn tight(kit: &Kit) -> Limits {
    Limits { block_bytes_max: 8 * 1024, queue_bytes_max: 32 * 1024, ..kit.limits() }
}

/// Polls `future` up to five times, letting others run in between, and drops it if it is not ready by then.
async fn poll_briefly<F: Future>(random: &mut Random, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..=random.below(5) {
        if let Poll::Ready(output) = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await {
            return Some(output);
        }
        tokio::task::yield_now().await;
    }
    None
}

pub(crate) async fn a_dropped_recv_loses_nothing(kit: Kit) -> Outcome {
    for role in Role::BOTH {
        let Pair { mut ours, mut theirs, .. } = kit.pair(role, &tight(&kit)).await?;
        let sizes = [SIZE; BLOCKS];
        let mut tally = Tally::new(kit.seed, 1, &sizes);
        let mut random = kit.random(role as u64);
        let receiving = async {
            while tally.count() < BLOCKS {
                for _ in 0..random.below(8) {
                    match poll_briefly(&mut random, theirs.receiver.recv()).await.transpose()? {
                        Some(Some((lane, bytes))) => tally.enter(lane, &bytes)?,
                        Some(None) => return Err(Stop::fail("the connection ended in between")),
                        None => {}
                    }
                }
                if tally.count() < BLOCKS {
                    let (lane, bytes) = recv(&mut theirs.receiver).await?;
                    tally.enter(lane, &bytes)?;
                }
            }
            Ok::<_, Stop>(())
        };
        tokio::try_join!(send_all(&mut ours.sender, kit.seed, Lane::CONTROL, &sizes, 0..BLOCKS), receiving)?;
        round_trip(&mut ours, &mut theirs, kit.seed).await?;
    }
    Ok(())
}

pub(crate) async fn a_dropped_ready_loses_nothing(kit: Kit) -> Outcome {
    for role in Role::BOTH {
        let Pair { mut ours, mut theirs, .. } = kit.pair(role, &tight(&kit)).await?;
        let sizes = [SIZE; BLOCKS];
        let mut tally = Tally::new(kit.seed, 1, &sizes);
        let mut random = kit.random(role as u64);
        let sending = async {
            for index in 0..BLOCKS {
                for _ in 0..random.below(8) {
                    let ready = ours.sender.ready(LaneSet::from(Lane::CONTROL));
                    poll_briefly(&mut random, ready).await.transpose()?;
                }
                send(&mut ours.sender, Lane::CONTROL, block(kit.seed, Lane::CONTROL, index, SIZE)).await?;
            }
            Ok::<_, Stop>(())
        };
        tokio::try_join!(sending, tally.receive_all(&mut theirs.receiver))?;
        round_trip(&mut ours, &mut theirs, kit.seed).await?;
    }
    Ok(())
}

pub(crate) async fn a_dropped_flush_loses_nothing(kit: Kit) -> Outcome {
    for role in Role::BOTH {
        let Pair { mut ours, mut theirs, .. } = kit.pair(role, &tight(&kit)).await?;
        let sizes = [SIZE; BLOCKS];
        let mut tally = Tally::new(kit.seed, 1, &sizes);
        let mut random = kit.random(role as u64);
        let sending = async {
            for index in 0..BLOCKS {
                send(&mut ours.sender, Lane::CONTROL, block(kit.seed, Lane::CONTROL, index, SIZE)).await?;
                for _ in 0..random.below(4) {
                    poll_briefly(&mut random, ours.sender.flush()).await.transpose()?;
                }
            }
            Ok::<_, Stop>(())
        };
        tokio::try_join!(sending, tally.receive_all(&mut theirs.receiver))?;
        round_trip(&mut ours, &mut theirs, kit.seed).await?;
    }
    Ok(())
}

pub(crate) async fn a_dropped_accept_loses_nobody(kit: Kit) -> Outcome {
    const CLIENTS: usize = 60;
    let limits = kit.limits();
    let mut listener = kit.bind(&kit.listen_options(&limits)).await?;
    let endpoint = listener.endpoint().clone();
    let options = kit.connect_options(&limits);
    let mut random = kit.random(0);
    for group in 0..CLIENTS / 4 {
        let connecting = async {
            let connect = || async { Ok::<_, Stop>(kit.try_connect(&endpoint, &options).await??) };
            tokio::try_join!(connect(), connect(), connect(), connect())
        };
        let accepting = async {
            let mut servers = Vec::new();
            while servers.len() < 4 {
                for _ in 0..random.below(8) {
                    match poll_briefly(&mut random, listener.accept()).await {
                        Some(Err(error)) if !error.is_about_one_peer() => return Err(error.into()),
                        Some(Ok(server)) => servers.push(server),
                        _ => {}
                    }
                }
                if servers.len() < 4 {
                    servers.push(accept(&mut listener).await?);
                }
            }
            Ok::<_, Stop>(servers)
        };
        let ((a, b, c, d), servers) = tokio::try_join!(connecting, accepting)?;
        ensure!(servers.len() == 4, "four connected, {} were accepted", servers.len());
        meet(&kit, [a, b, c, d], servers, group).await?;
    }
    Ok(())
}

/// Each client says a number of its own; each number must come out at exactly one server.
async fn meet(kit: &Kit, mut clients: [Connection; 4], mut servers: Vec<Connection>, group: usize) -> Outcome {
    let words: Vec<Vec<u8>> = (0..4).map(|client| format!("{} {group} {client}", kit.seed).into_bytes()).collect();
    for (client, word) in clients.iter_mut().zip(&words) {
        send(&mut client.sender, Lane::CONTROL, bytes::Bytes::from(word.clone()).into()).await?;
    }
    let mut heard = Vec::new();
    for server in &mut servers {
        heard.push(recv(&mut server.receiver).await?.1.to_vec());
    }
    heard.sort();
    ensure!(heard == words, "what four clients said did not come out at four servers");
    Ok(())
}

pub(crate) async fn a_dropped_connect_leaves_nothing_behind(kit: Kit) -> Outcome {
    const DROPPED: usize = 300;
    const MAX: usize = 8;
    let limits = Limits { connections_max: MAX, ..kit.limits() };
    let mut listener = kit.bind(&kit.listen_options(&limits)).await?;
    let endpoint = listener.endpoint().clone();
    let options = kit.connect_options(&limits);
    let mut random = kit.random(0);
    for _ in 0..DROPPED {
        drop(poll_briefly(&mut random, kit.transport.connect(&endpoint, &options)).await);
        drop(poll_briefly(&mut random, listener.accept()).await);
    }
    // Those that came through are gone again at the server too: all places are free.
    let (clients_in, mut clients) = tokio::sync::mpsc::channel(MAX);
    let connecting = async {
        for _ in 0..MAX {
            clients_in.send(connect_in_time(&kit, &endpoint, &options).await?).await.map_err(Stop::fail)?;
        }
        Ok::<_, Stop>(())
    };
    let serving = async { serve_echoes(&mut listener).await };
    let checking = async {
        connecting.await?;
        for _ in 0..MAX {
            let mut client: Connection = clients.recv().await.ok_or_else(|| Stop::fail("a client is missing"))?;
            send_all(&mut client.sender, kit.seed, Lane::CONTROL, &[100], 0..1).await?;
            Tally::new(kit.seed, 1, &[100]).receive_all(&mut client.receiver).await?;
        }
        Ok::<_, Stop>(())
    };
    tokio::select! { checked = checking => checked, served = serving => served }
}

/// Accepts for ever and echoes on each connection until it ends.
async fn serve_echoes(listener: &mut Box<dyn Listener>) -> Outcome {
    let mut echoes = tokio::task::JoinSet::new();
    loop {
        match listener.accept().await {
            Err(error) if error.is_about_one_peer() => {}
            accepted => {
                let mut server = accepted?;
                echoes.spawn(async move {
                    while let Ok(Some((lane, bytes))) = server.receiver.recv().await {
                        if send(&mut server.sender, lane, bytes.into()).await.is_err() {
                            break;
                        }
                    }
                });
            }
        }
    }
}

pub(crate) async fn a_dropped_close_still_closes(kit: Kit) -> Outcome {
    let mut random = kit.random(0);
    for role in Role::BOTH {
        for _ in 0..20 {
            let Pair { mut ours, mut theirs, listener } = kit.pair(role, &tight(&kit)).await?;
            let sizes = vec![SIZE; random.below(12)];
            let mut tally = Tally::new(kit.seed, 1, &sizes);
            let closing = async {
                send_all(&mut ours.sender, kit.seed, Lane::CONTROL, &sizes, 0..sizes.len()).await?;
                for _ in 0..random.below(4) {
                    poll_briefly(&mut random, ours.sender.close()).await.transpose()?;
                }
                Ok::<_, Stop>(within("close", ours.sender.close()).await??)
            };
            tokio::try_join!(closing, tally.receive_to_end(&mut theirs.receiver))?;
            drop(listener);
        }
    }
    Ok(())
}
