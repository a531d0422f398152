//! Back-pressure: a reader that does not read holds back its peer, its lane, and nothing else.

use std::time::Duration;

use crate::conformance::kit::{Kit, Outcome, Pair, Role, Stop, ensure, within};
use crate::conformance::traffic::{Tally, block, round_trip, send, send_all};
use crate::{Connection, Error, Lane, LaneSet, Limits, Sender};

/// How long nothing must move for a sender to count as held back. If a slow machine makes this too short, the case
/// sees less pressure, not a failure.
const QUIET: Duration = Duration::from_millis(250);

/// The size of the blocks.
const SIZE: usize = 32 * 1024;

/// Sends on `lane` until nothing moves any more, or `bound` bytes are taken; gives the number of blocks taken.
async fn fill(kit: &Kit, sender: &mut Box<dyn Sender>, lane: Lane, bound: usize) -> Outcome<usize> {
    let mut taken = 0;
    let mut next = block(kit.seed, lane, taken, SIZE);
    loop {
        while sender.try_send(lane, &mut next)? {
            taken += 1;
            ensure!(taken * SIZE <= bound, "{taken} blocks of {SIZE} bytes were taken, unread: {bound} bytes may wait");
            next = block(kit.seed, lane, taken, SIZE);
            // Gives a transport on the same thread its turn.
            tokio::task::yield_now().await;
        }
        let unchanged = next == block(kit.seed, lane, taken, SIZE);
        ensure!(unchanged, "`try_send` said that the lane is full and changed the block");
        match tokio::time::timeout(QUIET, sender.ready(LaneSet::from(lane))).await {
            Ok(room) => ensure!(room?.contains(lane), "`ready` said yes to no lane that was wanted"),
            Err(_quiet) => return Ok(taken),
        }
    }
}

/// What may wait between a sender and a reader that does not read: the transport's queue at each end, and what the
/// system buffers.
fn bound(kit: &Kit, limits: &Limits) -> usize {
    2 * limits.queue_bytes_max + kit.subject.slack_bytes()
}

pub(crate) async fn a_slow_reader_holds_its_peer_back(kit: Kit) -> Outcome {
    let limits = kit.limits();
    for role in Role::BOTH {
        let Pair { mut ours, mut theirs, .. } = kit.pair(role, &limits).await?;
        let taken = fill(&kit, &mut ours.sender, Lane::CONTROL, bound(&kit, &limits)).await?;
        ensure!(taken > 0, "not one block was taken by an idle connection");
        // Once the peer reads, the sender is ready again, and all arrives.
        let sizes = vec![SIZE; taken + 10];
        let mut tally = Tally::new(kit.seed, 1, &sizes);
        tokio::try_join!(
            send_all(&mut ours.sender, kit.seed, Lane::CONTROL, &sizes, taken..taken + 10),
            tally.receive_all(&mut theirs.receiver),
        )?;
    }
    Ok(())
}

pub(crate) async fn a_stuck_peer_holds_up_no_other(kit: Kit) -> Outcome {
    let limits = kit.limits();
    let mut listener = kit.bind(&kit.listen_options(&limits)).await?;
    let options = kit.connect_options(&limits);
    let (mut stuck, mut stuck_server) = kit.join(&mut listener, &options).await?;
    let (mut free, mut free_server) = kit.join(&mut listener, &options).await?;
    // Neither the stuck client nor the server's end of it is read.
    let out = fill(&kit, &mut stuck_server.sender, Lane::CONTROL, bound(&kit, &limits)).await?;
    let back = fill(&kit, &mut stuck.sender, Lane::CONTROL, bound(&kit, &limits)).await?;
    for number in 0..20 {
        round_trip(&mut free, &mut free_server, kit.seed.wrapping_add(number)).await?;
    }
    kit.honest_round_trip(&mut listener, &limits).await?;
    for (receiver, count) in [(&mut stuck.receiver, out), (&mut stuck_server.receiver, back)] {
        Tally::new(kit.seed, 1, &vec![SIZE; count]).receive_all(receiver).await?;
    }
    round_trip(&mut stuck, &mut stuck_server, kit.seed).await
}

pub(crate) async fn a_full_lane_holds_up_no_other(kit: Kit) -> Outcome {
    if !kit.can.independent_lanes || kit.can.lanes_max < 3 {
        return Err(Stop::Skip("the transport does not claim independent lanes".to_owned()));
    }
    let limits = kit.limits();
    for role in Role::BOTH {
        let Pair { mut ours, mut theirs, .. } = kit.pair(role, &limits).await?;
        ours.sender.open_lanes(3)?;
        theirs.sender.open_lanes(3)?;
        let taken = fill(&kit, &mut ours.sender, Lane(1), bound(&kit, &limits)).await?;
        let ready = within("another lane than the full one", ours.sender.ready(LaneSet::first(3))).await??;
        let known = ready.and(LaneSet::first(3)) == ready && !ready.is_empty();
        ensure!(known, "`ready` says {ready:?} where lanes 0 to 2 were wanted");
        for lane in [Lane::CONTROL, Lane(2)] {
            send(&mut ours.sender, lane, block(kit.seed, lane, 0, SIZE)).await?;
        }
        let mut seen = LaneSet::EMPTY;
        let mut tally = Tally::new(kit.seed, 3, &vec![SIZE; taken]);
        while !(seen.contains(Lane::CONTROL) && seen.contains(Lane(2)) && tally.count() == taken + 2) {
            let (lane, bytes) = crate::conformance::traffic::recv(&mut theirs.receiver).await?;
            tally.enter(lane, &bytes)?;
            seen.insert(lane);
        }
    }
    Ok(())
}

/// One waits for room, the other for a block, when the peer is gone all of a sudden.
pub(crate) async fn those_who_wait_learn_of_a_loss(kit: Kit) -> Outcome {
    let limits = kit.limits();
    for role in Role::BOTH {
        let Pair { ours, theirs, listener } = kit.pair(role, &limits).await?;
        let Connection { mut sender, mut receiver, .. } = ours;
        let taken = fill(&kit, &mut sender, Lane::CONTROL, bound(&kit, &limits)).await?;
        let sending = async {
            let mut block = block(kit.seed, Lane::CONTROL, taken, SIZE);
            loop {
                match within("a sender to learn of the loss", sender.ready(LaneSet::from(Lane::CONTROL))).await? {
                    Err(error) => return Ok::<_, Stop>(error),
                    // What the system had buffered may have made room once more.
                    Ok(_) => drop(sender.try_send(Lane::CONTROL, &mut block)),
                }
            }
        };
        let receiving = async { within("a receiver to learn of the loss", receiver.recv()).await };
        let leaving = async {
            // The others wait by now.
            tokio::task::yield_now().await;
            drop(theirs);
            Ok(())
        };
        let (error, received, ()) = tokio::try_join!(sending, receiving, leaving)?;
        ensure!(matches!(error, Error::Lost { .. }), "the waiting sender was told {error:?} for `Lost`");
        ensure!(matches!(received, Err(Error::Lost { .. })), "the waiting receiver was told {received:?} for `Lost`");
        drop(listener);
    }
    Ok(())
}

pub(crate) async fn flush_waits_and_loses_nothing(kit: Kit) -> Outcome {
    for role in Role::BOTH {
        let Pair { mut ours, mut theirs, listener } = kit.pair(role, &kit.limits()).await?;
        let sizes = [SIZE; 30];
        let mut tally = Tally::new(kit.seed, 1, &sizes);
        let sending = async {
            for index in 0..sizes.len() {
                send_all(&mut ours.sender, kit.seed, Lane::CONTROL, &sizes, index..index + 1).await?;
                within("flush", ours.sender.flush()).await??;
            }
            Ok::<_, Stop>(())
        };
        tokio::try_join!(sending, tally.receive_all(&mut theirs.receiver))?;
        drop(listener);
    }
    let Pair { mut ours, theirs: _theirs, .. } = kit.pair(Role::Client, &kit.limits()).await?;
    within("flush of nothing", ours.sender.flush()).await??;
    Ok(())
}
