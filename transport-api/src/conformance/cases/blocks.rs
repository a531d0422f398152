//! Blocks arrive: whole, once, in order, on every lane, both ways, on many connections.

use crate::conformance::kit::{Kit, Outcome, Pair, Role, Stop, accept};
use crate::conformance::traffic::{Tally, block, round_trip, send, send_all, sizes};
use crate::{Lane, Limits, Sender};

/// How many blocks a case sends: enough for every size class many times over.
const BLOCKS: usize = 400;

pub(crate) async fn blocks_arrive_whole_and_in_order(kit: Kit) -> Outcome {
    let limits = kit.limits();
    for role in Role::BOTH {
        let Pair { mut ours, mut theirs, .. } = kit.pair(role, &limits).await?;
        let sizes = sizes(&mut kit.random(role as u64), BLOCKS, limits.block_bytes_max);
        let mut tally = Tally::new(kit.seed, 1, &sizes);
        tokio::try_join!(
            send_all(&mut ours.sender, kit.seed, Lane::CONTROL, &sizes, 0..BLOCKS),
            tally.receive_all(&mut theirs.receiver),
        )?;
    }
    Ok(())
}

pub(crate) async fn both_directions_flow_at_once(kit: Kit) -> Outcome {
    let limits = kit.limits();
    let Pair { mut ours, mut theirs, .. } = kit.pair(Role::Client, &limits).await?;
    let (seed, back) = (kit.seed, kit.seed ^ 1);
    let sizes = sizes(&mut kit.random(0), BLOCKS, limits.block_bytes_max);
    let (mut there, mut here) = (Tally::new(seed, 1, &sizes), Tally::new(back, 1, &sizes));
    tokio::try_join!(
        send_all(&mut ours.sender, seed, Lane::CONTROL, &sizes, 0..BLOCKS),
        send_all(&mut theirs.sender, back, Lane::CONTROL, &sizes, 0..BLOCKS),
        there.receive_all(&mut theirs.receiver),
        here.receive_all(&mut ours.receiver),
    )?;
    Ok(())
}

pub(crate) async fn each_lane_keeps_its_order(kit: Kit) -> Outcome {
    let lanes = kit.can.lanes_max.min(8);
    if lanes < 2 {
        return Err(Stop::Skip("the transport has one lane".to_owned()));
    }
    // So that many blocks may wait in each lane.
    let limits = Limits { queue_bytes_max: 4 * 1024 * 1024, ..kit.limits() };
    for role in Role::BOTH {
        let Pair { mut ours, mut theirs, .. } = kit.pair(role, &limits).await?;
        ours.sender.open_lanes(lanes)?;
        theirs.sender.open_lanes(lanes)?;
        let sizes = sizes(&mut kit.random(role as u64), BLOCKS / usize::from(lanes), limits.block_bytes_max);
        let mut tally = Tally::new(kit.seed, lanes, &sizes);
        tokio::try_join!(
            send_on_lanes(&kit, &mut ours.sender, lanes, &sizes),
            tally.receive_all(&mut theirs.receiver)
        )?;
    }
    Ok(())
}

pub(crate) async fn a_lane_may_carry_blocks_before_the_peer_opens_it(kit: Kit) -> Outcome {
    let lanes = kit.can.lanes_max.min(4);
    if lanes < 2 {
        return Err(Stop::Skip("the transport has one lane".to_owned()));
    }
    for role in Role::BOTH {
        let Pair { mut ours, mut theirs, .. } = kit.pair(role, &kit.limits()).await?;
        ours.sender.open_lanes(lanes)?;
        let sizes = [500; 3];
        let mut tally = Tally::new(kit.seed, lanes, &sizes);
        let sending = send_on_lanes(&kit, &mut ours.sender, lanes, &sizes);
        tokio::try_join!(sending, tally.receive_all(&mut theirs.receiver))?;
        theirs.sender.open_lanes(lanes)?;
        let mut tally = Tally::new(kit.seed, lanes, &sizes);
        let sending = send_on_lanes(&kit, &mut theirs.sender, lanes, &sizes);
        tokio::try_join!(sending, tally.receive_all(&mut ours.receiver))?;
    }
    Ok(())
}

/// Sends all blocks of all lanes, the lanes mixed at random.
async fn send_on_lanes(kit: &Kit, sender: &mut Box<dyn Sender>, lanes: u8, sizes: &[usize]) -> Outcome {
    let mut random = kit.random(99);
    let mut next = vec![0; usize::from(lanes)];
    while let Some(open) = (0..lanes).filter(|lane| next[usize::from(*lane)] < sizes.len()).max() {
        let lane = Lane(random.below(usize::from(open) + 1) as u8);
        let index = next[usize::from(lane.0)];
        if index < sizes.len() {
            next[usize::from(lane.0)] += 1;
            send(sender, lane, block(kit.seed, lane, index, sizes[index])).await?;
        }
    }
    Ok(())
}

pub(crate) async fn two_hundred_connections_echo(kit: Kit) -> Outcome {
    const CONNECTIONS: usize = 200;
    let limits = kit.limits();
    let mut listener = kit.bind(&kit.listen_options(&limits)).await?;
    let endpoint = listener.endpoint().clone();
    let options = kit.connect_options(&limits);
    let mut connecting = tokio::task::JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (transport, endpoint, options) = (kit.transport.clone(), endpoint.clone(), options.clone());
        connecting.spawn(async move { transport.connect(&endpoint, &options).await });
    }
    let mut servers = Vec::new();
    while servers.len() < CONNECTIONS {
        servers.push(accept(&mut listener).await?);
    }
    let mut echoes = tokio::task::JoinSet::new();
    for mut server in servers {
        echoes.spawn(async move {
            let (lane, bytes) = crate::conformance::traffic::recv(&mut server.receiver).await?;
            send(&mut server.sender, lane, bytes.into()).await?;
            Ok::<_, Stop>(server)
        });
    }
    // All stand at once; each says its own, and hears its own.
    let mut clients = Vec::new();
    while let Some(connected) = connecting.join_next().await {
        clients.push(connected.map_err(Stop::fail)??);
    }
    for (index, client) in clients.iter_mut().enumerate() {
        send_all(&mut client.sender, kit.seed ^ index as u64, Lane::CONTROL, &[999], 0..1).await?;
    }
    for (index, client) in clients.iter_mut().enumerate() {
        Tally::new(kit.seed ^ index as u64, 1, &[999]).receive_all(&mut client.receiver).await?;
    }
    let mut servers = Vec::new();
    while let Some(server) = echoes.join_next().await {
        servers.push(server.map_err(Stop::fail)??);
    }
    // The last pair is as good as new after all this.
    let Pair { mut ours, mut theirs, .. } = kit.pair(Role::Client, &limits).await?;
    round_trip(&mut ours, &mut theirs, kit.seed).await
}
