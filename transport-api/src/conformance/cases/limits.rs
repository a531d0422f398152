//! Limits: on a block, at the sender and at the receiver, on lanes, on connections.

use crate::conformance::kit::{Kit, Outcome, Pair, Role, accept, connect_in_time, ensure, within};
use crate::conformance::traffic::{Tally, block, round_trip, send_all};
use crate::{Block, Error, Lane, LaneSet, Limits};

pub(crate) async fn the_largest_block_passes_and_no_larger(kit: Kit) -> Outcome {
    let limits = kit.limits();
    let max = limits.block_bytes_max;
    for role in Role::BOTH {
        let Pair { mut ours, mut theirs, .. } = kit.pair(role, &limits).await?;
        let mut tally = Tally::new(kit.seed, 1, &[max, max]);
        send_all(&mut ours.sender, kit.seed, Lane::CONTROL, &[max, max], 0..1).await?;
        tally.receive(&mut theirs.receiver, 1).await?;
        let mut over = block(kit.seed, Lane::CONTROL, 9, max + 1);
        let before = over.clone();
        match ours.sender.try_send(Lane::CONTROL, &mut over) {
            Err(Error::BlockSize { bytes, max: told }) if bytes == max + 1 && told == max => {}
            other => ensure!(false, "one byte above the maximum of {max} gave {other:?} for `BlockSize`"),
        }
        ensure!(over == before, "a refused block was changed");
        send_all(&mut ours.sender, kit.seed, Lane::CONTROL, &[max, max], 1..2).await?;
        tally.receive_all(&mut theirs.receiver).await?;
        round_trip(&mut ours, &mut theirs, kit.seed).await?;
    }
    Ok(())
}

pub(crate) async fn an_empty_block_is_refused(kit: Kit) -> Outcome {
    for role in Role::BOTH {
        let Pair { mut ours, mut theirs, .. } = kit.pair(role, &kit.limits()).await?;
        let result = ours.sender.try_send(Lane::CONTROL, &mut Block::default());
        ensure!(matches!(result, Err(Error::BlockSize { bytes: 0, .. })), "an empty block gave {result:?}");
        round_trip(&mut ours, &mut theirs, kit.seed).await?;
    }
    Ok(())
}

pub(crate) async fn an_unknown_lane_is_refused(kit: Kit) -> Outcome {
    for role in Role::BOTH {
        let Pair { mut ours, mut theirs, .. } = kit.pair(role, &kit.limits()).await?;
        // Before `open_lanes` there is only the control lane; afterwards those that were agreed.
        let agreed = kit.can.lanes_max.min(2);
        for count in [1, agreed] {
            if count > 1 {
                ours.sender.open_lanes(count)?;
                theirs.sender.open_lanes(count)?;
            }
            for lane in [count, 31, 32, 255].map(Lane).into_iter().filter(|lane| lane.0 >= count) {
                let mut block = block(kit.seed, lane, 0, 10);
                let before = block.clone();
                let result = ours.sender.try_send(lane, &mut block);
                ensure!(matches!(result, Err(Error::UnknownLane { .. })), "{lane:?} of {count} gave {result:?}");
                ensure!(block == before, "a refused block was changed");
            }
            let ready = within("ready", ours.sender.ready(LaneSet::from(Lane(count)))).await?;
            ensure!(
                matches!(ready, Err(Error::UnknownLane { .. })),
                "ready for lane {count} of {count} gave {ready:?}"
            );
        }
        round_trip(&mut ours, &mut theirs, kit.seed).await?;
    }
    Ok(())
}

/// The sender has a larger limit than the receiver: to the receiver it is a peer that breaks the rules.
pub(crate) async fn an_oversize_block_ends_its_sender(kit: Kit) -> Outcome {
    let small = Limits { block_bytes_max: 8 * 1024, ..kit.limits() };
    let large = kit.limits();
    for role in Role::BOTH {
        let (ours, theirs) = if role == Role::Client { (&large, &small) } else { (&small, &large) };
        let mut listener = kit.bind(&kit.listen_options(theirs)).await?;
        let (client, server) = kit.join(&mut listener, &kit.connect_options(ours)).await?;
        let (mut sending, mut receiving) = if role == Role::Client { (client, server) } else { (server, client) };
        let sizes = [100, small.block_bytes_max, small.block_bytes_max + 1];
        let mut tally = Tally::new(kit.seed, 1, &sizes[..2]);
        let sending_all = send_all(&mut sending.sender, kit.seed, Lane::CONTROL, &sizes, 0..3);
        let ((), error) = tokio::try_join!(sending_all, tally.receive_until_lost(&mut receiving.receiver))?;
        ensure!(matches!(error, Error::Protocol { .. } | Error::Lost { .. }), "the receiver was told {error:?}");
        let error = Tally::new(kit.seed, 1, &[]).receive_until_lost(&mut sending.receiver).await?;
        ensure!(matches!(error, Error::Protocol { .. } | Error::Lost { .. }), "the sender was told {error:?}");
        kit.honest_round_trip(&mut listener, &small).await?;
    }
    Ok(())
}

pub(crate) async fn connections_max_is_kept(kit: Kit) -> Outcome {
    const MAX: usize = 3;
    let limits = Limits { connections_max: MAX, ..kit.limits() };
    let mut listener = kit.bind(&kit.listen_options(&limits)).await?;
    let options = kit.connect_options(&limits);
    let mut pairs = Vec::new();
    for _ in 0..MAX {
        pairs.push(kit.join(&mut listener, &options).await?);
    }
    let endpoint = listener.endpoint().clone();
    let impatient = crate::ConnectOptions { connect_timeout: std::time::Duration::from_secs(2), ..options.clone() };
    tokio::select! {
        one_more = kit.try_connect(&endpoint, &impatient) => match one_more? {
            Err(error) => ensure!(error.is_retryable(), "one connection too many gave {error:?}, which is final"),
            Ok(_) => ensure!(false, "connection {} of at most {MAX} was made", MAX + 1),
        },
        accepted = accept(&mut listener) => ensure!(accepted.is_err(), "the listener gave one connection too many"),
    }
    for (client, server) in &mut pairs {
        round_trip(client, server, kit.seed).await?;
    }
    let (client, mut server) = pairs.remove(0);
    drop(client);
    Tally::new(kit.seed, 1, &[]).receive_until_lost(&mut server.receiver).await?;
    drop(server);
    let connecting = connect_in_time(&kit, &endpoint, &options);
    let (mut client, mut server) = tokio::try_join!(connecting, accept(&mut listener))?;
    round_trip(&mut client, &mut server, kit.seed).await
}
