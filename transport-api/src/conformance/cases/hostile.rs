//! Garbage from peers that do not keep to the protocol: they may be cut off, nobody else may notice.

use std::time::Duration;

use crate::conformance::kit::{Kit, Outcome, Stop, accept, connect_in_time, ensure, within};
use crate::conformance::subject::{RawPeer, Stage};
use crate::conformance::traffic::round_trip;
use crate::random::Random;
use crate::{Error, Limits, Receiver};

/// Raw peers of a case.
const ROUNDS: usize = 200;

/// An honest round trip follows each so many of them.
const HONEST_EVERY: usize = 20;

/// Some kinds of garbage: noise, all ones (huge lengths), zeros, and counting bytes.
fn garbage(random: &mut Random) -> Vec<u8> {
    let mut bytes = vec![0; random.magnitude(8 * 1024)];
    match random.below(6) {
        0 => bytes.fill(0xff),
        1 => {}
        2 => bytes.iter_mut().enumerate().for_each(|(index, byte)| *byte = index as u8),
        _ => random.fill(&mut bytes),
    }
    bytes
}

async fn connect_raw(kit: &Kit, endpoint: &crate::Endpoint, stage: Stage) -> Outcome<Box<dyn RawPeer>> {
    let raw = within("a raw peer", kit.subject.raw(endpoint, stage)).await?;
    raw.ok_or_else(|| Stop::Skip(format!("the subject has no raw peer {stage:?}")))
}

/// Throws a few pieces of garbage. That the peer is cut off in between is in order.
async fn throw(random: &mut Random, peer: &mut Box<dyn RawPeer>) -> Outcome {
    for _ in 0..=random.below(3) {
        let sent = within("the listener to read garbage or to cut it off", peer.send(&garbage(random))).await?;
        if sent.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    Ok(())
}

pub(crate) async fn garbage_before_the_handshake_harms_nobody(kit: Kit) -> Outcome {
    let limits = kit.limits();
    let mut listener = kit.bind(&kit.listen_options(&limits)).await?;
    let endpoint = listener.endpoint().clone();
    let mut random = kit.random(0);
    for round in 1..=ROUNDS {
        let mut peer = connect_raw(&kit, &endpoint, Stage::BeforeHandshake).await?;
        throw(&mut random, &mut peer).await?;
        drop(peer);
        if round % HONEST_EVERY == 0 {
            kit.honest_round_trip(&mut listener, &limits).await?;
        }
    }
    Ok(())
}

/// With a handshake timeout that is longer than any wait of the kit, so that only serving others meanwhile helps.
pub(crate) async fn a_silent_peer_at_the_door_holds_up_nobody(kit: Kit) -> Outcome {
    let limits = Limits { handshake_timeout: Duration::from_secs(3600), ..kit.limits() };
    let mut listener = kit.bind(&kit.listen_options(&limits)).await?;
    let endpoint = listener.endpoint().clone();
    let mut silent = Vec::new();
    for _ in 0..5 {
        silent.push(connect_raw(&kit, &endpoint, Stage::BeforeHandshake).await?);
        kit.honest_round_trip(&mut listener, &limits).await?;
    }
    Ok(())
}

/// The listener reports it or not; it must not count it for ever.
pub(crate) async fn a_handshake_has_a_deadline(kit: Kit) -> Outcome {
    let limits = Limits { handshake_timeout: Duration::from_millis(300), pending_max: 2, ..kit.limits() };
    let mut listener = kit.bind(&kit.listen_options(&limits)).await?;
    let endpoint = listener.endpoint().clone();
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(connect_raw(&kit, &endpoint, Stage::BeforeHandshake).await?);
    }
    let options = kit.connect_options(&limits);
    let (mut client, mut server) = within("a place among the pending", async {
        let connecting = connect_in_time(&kit, &endpoint, &options);
        tokio::try_join!(connecting, accept(&mut listener))
    })
    .await??;
    round_trip(&mut client, &mut server, kit.seed).await
}

pub(crate) async fn garbage_after_the_handshake_harms_nobody(kit: Kit) -> Outcome {
    let limits = kit.limits();
    let mut listener = kit.bind(&kit.listen_options(&limits)).await?;
    let endpoint = listener.endpoint().clone();
    let mut random = kit.random(0);
    for round in 1..=ROUNDS {
        let raw = connect_raw(&kit, &endpoint, Stage::AfterHandshake);
        let (mut peer, mut server) = tokio::try_join!(raw, accept(&mut listener))?;
        let throwing = async {
            throw(&mut random, &mut peer).await?;
            drop(peer);
            Ok(())
        };
        tokio::try_join!(throwing, drain(&mut server.receiver, limits.block_bytes_max))?;
        if round % HONEST_EVERY == 0 {
            kit.honest_round_trip(&mut listener, &limits).await?;
        }
    }
    Ok(())
}

/// Reads until the end. What is well formed by chance may come as blocks, within the limit.
async fn drain(receiver: &mut Box<dyn Receiver>, max: usize) -> Outcome {
    loop {
        match within("the end of a peer that sends garbage", receiver.recv()).await? {
            Ok(Some((_, bytes))) => {
                ensure!((1..=max).contains(&bytes.len()), "garbage came as a block of {} bytes", bytes.len())
            }
            Ok(None) | Err(Error::Protocol { .. } | Error::Lost { .. }) => return Ok(()),
            Err(other) => ensure!(false, "a peer that sends garbage gave {other:?}"),
        }
    }
}
