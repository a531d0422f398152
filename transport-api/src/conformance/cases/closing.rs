//! How connections end: in order, abruptly, twice, at both ends, and with a peer that does not read.

use std::time::Duration;

use tokio::time::Instant;

use crate::conformance::kit::{Kit, Outcome, Pair, Role, Stop, ensure, within};
use crate::conformance::traffic::{Tally, block, send_all, send_what_fits, sizes};
use crate::{Connection, Error, Lane, LaneSet, Limits, Sender};

const BLOCKS: usize = 60;

/// Sends everything and closes.
async fn send_and_close(ours: &mut Connection, seed: u64, sizes: &[usize]) -> Outcome {
    send_all(&mut ours.sender, seed, Lane::CONTROL, sizes, 0..sizes.len()).await?;
    Ok(within("close", ours.sender.close()).await??)
}

pub(crate) async fn close_delivers_everything(kit: Kit) -> Outcome {
    let limits = kit.limits();
    for role in Role::BOTH {
        for lanes in [1, kit.can.lanes_max.min(4)] {
            let Pair { mut ours, mut theirs, .. } = kit.pair(role, &limits).await?;
            ours.sender.open_lanes(lanes)?;
            theirs.sender.open_lanes(lanes)?;
            let sizes = sizes(&mut kit.random(role as u64), BLOCKS, limits.block_bytes_max);
            let mut tally = Tally::new(kit.seed, lanes, &sizes);
            let sending = async {
                for lane in 1..lanes {
                    send_all(&mut ours.sender, kit.seed, Lane(lane), &sizes, 0..BLOCKS).await?;
                }
                send_and_close(&mut ours, kit.seed, &sizes).await
            };
            tokio::try_join!(sending, tally.receive_to_end(&mut theirs.receiver))?;
        }
    }
    Ok(())
}

pub(crate) async fn close_is_idempotent(kit: Kit) -> Outcome {
    for role in Role::BOTH {
        let Pair { mut ours, mut theirs, .. } = kit.pair(role, &kit.limits()).await?;
        let mut tally = Tally::new(kit.seed, 1, &[100; 3]);
        tokio::try_join!(send_and_close(&mut ours, kit.seed, &[100; 3]), tally.receive_to_end(&mut theirs.receiver))?;
        within("a second close", ours.sender.close()).await??;
        drop(theirs);
        within("a third close, the peer being gone", ours.sender.close()).await??;
    }
    Ok(())
}

pub(crate) async fn nothing_is_sent_after_close(kit: Kit) -> Outcome {
    for role in Role::BOTH {
        let Pair { mut ours, mut theirs, .. } = kit.pair(role, &kit.limits()).await?;
        let mut tally = Tally::new(kit.seed, 1, &[100; 3]);
        tokio::try_join!(send_and_close(&mut ours, kit.seed, &[100; 3]), tally.receive_to_end(&mut theirs.receiver))?;
        let mut late = block(kit.seed, Lane::CONTROL, 3, 100);
        let result = ours.sender.try_send(Lane::CONTROL, &mut late);
        ensure!(matches!(result, Err(Error::Closed)), "`try_send` after `close` gave {result:?} for `Closed`");
        ensure!(late.len() == 100, "`try_send` after `close` took the block");
        let result = within("ready", ours.sender.ready(LaneSet::from(Lane::CONTROL))).await?;
        ensure!(matches!(result, Err(Error::Closed)), "`ready` after `close` gave {result:?} for `Closed`");
    }
    Ok(())
}

pub(crate) async fn both_ends_close_at_once(kit: Kit) -> Outcome {
    let Pair { mut ours, mut theirs, .. } = kit.pair(Role::Client, &kit.limits()).await?;
    let sizes = sizes(&mut kit.random(0), BLOCKS, 4096);
    // Both have something under way when they close.
    let out = send_what_fits(&mut ours.sender, kit.seed, &sizes)?;
    let back = send_what_fits(&mut theirs.sender, !kit.seed, &sizes)?;
    ensure!(out > 0 && back > 0, "not one block was taken by an idle connection");
    let (mut there, mut here) = (Tally::new(kit.seed, 1, &sizes[..out]), Tally::new(!kit.seed, 1, &sizes[..back]));
    let close = async |sender: &mut Box<dyn Sender>| Ok::<_, Stop>(within("close", sender.close()).await??);
    tokio::try_join!(
        close(&mut ours.sender),
        close(&mut theirs.sender),
        there.receive_to_end(&mut theirs.receiver),
        here.receive_to_end(&mut ours.receiver),
    )?;
    Ok(())
}

pub(crate) async fn the_peer_of_a_closed_connection_learns_it(kit: Kit) -> Outcome {
    for role in Role::BOTH {
        let Pair { mut ours, mut theirs, .. } = kit.pair(role, &kit.limits()).await?;
        let mut tally = Tally::new(kit.seed, 1, &[100; 3]);
        tokio::try_join!(send_and_close(&mut ours, kit.seed, &[100; 3]), tally.receive_to_end(&mut theirs.receiver))?;
        learns_that_it_is_over(&mut theirs, kit.seed).await?;
        let again = within("recv after the end", theirs.receiver.recv()).await?;
        ensure!(!matches!(again, Ok(Some(_))), "a block came after the end");
        // What its close says does not matter any more, as long as it says it.
        let _ = within("close after the peer's close", theirs.sender.close()).await?;
        drop(theirs);
        match within("the end of the connection we closed", ours.receiver.recv()).await? {
            Ok(None) | Err(Error::Closed | Error::Lost { .. }) => {}
            other => ensure!(false, "our own `recv` after `close` gave {other:?}"),
        }
    }
    Ok(())
}

/// Sending fails, at the latest soon.
async fn learns_that_it_is_over(end: &mut Connection, seed: u64) -> Outcome {
    let failing = async {
        loop {
            let mut block = block(seed, Lane::CONTROL, 0, 1000);
            match end.sender.try_send(Lane::CONTROL, &mut block) {
                Ok(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                Err(error) => return error,
            }
        }
    };
    let error = within("sending to fail", failing).await?;
    let told = matches!(error, Error::Lost { .. } | Error::Closed);
    ensure!(told, "sending on a connection that is over gave {error:?}");
    let ready = within("ready", end.sender.ready(LaneSet::from(Lane::CONTROL))).await?;
    ensure!(ready.is_err(), "`ready` on a connection that is over gave {ready:?}");
    Ok(())
}

pub(crate) async fn an_abrupt_end_is_lost(kit: Kit) -> Outcome {
    let limits = kit.limits();
    for role in Role::BOTH {
        for read in [0, 5, BLOCKS] {
            let Pair { mut ours, mut theirs, listener } = kit.pair(role, &limits).await?;
            let sizes = [5000; BLOCKS];
            let mut tally = Tally::new(kit.seed, 1, &sizes);
            let first = send_all(&mut ours.sender, kit.seed, Lane::CONTROL, &sizes, 0..read);
            tokio::try_join!(first, tally.receive(&mut theirs.receiver, read))?;
            // And some that nobody has read, and that may or may not arrive.
            for (index, size) in sizes.iter().enumerate().skip(read) {
                if !ours.sender.try_send(Lane::CONTROL, &mut block(kit.seed, Lane::CONTROL, index, *size))? {
                    break;
                }
            }
            drop(ours);
            let error = tally.receive_until_lost(&mut theirs.receiver).await?;
            ensure!(matches!(error, Error::Lost { .. }), "the peer was told {error:?} for `Lost`");
            let again = within("recv after the loss", theirs.receiver.recv()).await?;
            ensure!(again.is_err(), "`recv` gave {again:?} after it had said that the connection was lost");
            learns_that_it_is_over(&mut theirs, kit.seed).await?;
            drop(listener);
        }
    }
    Ok(())
}

pub(crate) async fn close_ends_in_time_when_nobody_reads(kit: Kit) -> Outcome {
    let close_timeout = Duration::from_secs(1);
    let limits = Limits { close_timeout, ..kit.limits() };
    for role in Role::BOTH {
        for count in [0, 5, BLOCKS] {
            let Pair { mut ours, mut theirs, .. } = kit.pair(role, &limits).await?;
            let taken = send_what_fits(&mut ours.sender, kit.seed, &vec![50_000; count])?;
            let start = Instant::now();
            let closed = within("close with a peer that does not read", ours.sender.close()).await?;
            let elapsed = start.elapsed();
            ensure!(elapsed < close_timeout + Duration::from_secs(15), "close took {elapsed:?} for 1 s");
            match closed {
                Ok(()) => Tally::new(kit.seed, 1, &vec![50_000; taken]).receive_to_end(&mut theirs.receiver).await?,
                Err(Error::Timeout { .. } | Error::Lost { .. }) => {}
                Err(other) => ensure!(false, "close with a peer that does not read gave {other:?}"),
            }
        }
    }
    Ok(())
}
