//! Listeners: where they are, that they are alone there, and how they close.

use std::time::Duration;

use tokio::time::Instant;

use crate::conformance::kit::{Kit, Outcome, Pair, Role, Stop, accept, ensure, within};
use crate::conformance::traffic::round_trip;
use crate::{ConnectOptions, Error};

pub(crate) async fn a_listener_says_where_it_listens(kit: Kit) -> Outcome {
    let limits = kit.limits();
    let asked = kit.subject.endpoint();
    let options = kit.listen_options(&limits);
    let mut listener = within("bind", kit.transport.bind(&asked, &options)).await??;
    let told = listener.endpoint().clone();
    ensure!(told.scheme() == asked.scheme(), "asked for {asked}, told {told}: another scheme");
    ensure!(told.port() != Some(0), "the endpoint {told} has port 0");
    let again: Result<crate::Endpoint, _> = told.to_string().parse();
    ensure!(again.as_ref() == Ok(&told), "the endpoint `{told}` does not read back as itself: {again:?}");
    kit.honest_round_trip(&mut listener, &limits).await
}

pub(crate) async fn a_second_bind_is_refused(kit: Kit) -> Outcome {
    let limits = kit.limits();
    let options = kit.listen_options(&limits);
    let mut listener = kit.bind(&options).await?;
    let second = within("a second bind", kit.transport.bind(listener.endpoint(), &options)).await?;
    ensure!(matches!(second, Err(Error::AddressInUse { .. })), "a second bind gave {second:?} for `AddressInUse`");
    kit.honest_round_trip(&mut listener, &limits).await
}

pub(crate) async fn a_closed_listener_takes_nobody(kit: Kit) -> Outcome {
    let limits = kit.limits();
    let Pair { mut ours, mut theirs, mut listener } = kit.pair(Role::Client, &limits).await?;
    within("close of the listener", listener.close()).await??;
    within("a second close of the listener", listener.close()).await??;
    let options = ConnectOptions { connect_timeout: Duration::from_secs(2), ..kit.connect_options(&limits) };
    let late = kit.try_connect(&listener.endpoint().clone(), &options).await?;
    ensure!(late.is_err(), "a closed listener let somebody in");
    round_trip(&mut ours, &mut theirs, kit.seed).await?;
    let endpoint = listener.endpoint().clone();
    drop(listener);
    round_trip(&mut ours, &mut theirs, kit.seed).await?;
    drop((ours, theirs));
    // The address is free at the latest when the connections have ended.
    let options = kit.listen_options(&limits);
    let mut listener = within("the address to be free again", async {
        loop {
            match kit.transport.bind(&endpoint, &options).await {
                Err(Error::AddressInUse { .. }) => tokio::time::sleep(Duration::from_millis(20)).await,
                result => return result,
            }
        }
    })
    .await??;
    kit.honest_round_trip(&mut listener, &limits).await
}

/// Whatever point the handshake has reached when the listener closes: nobody is left in the belief to be connected.
pub(crate) async fn whoever_is_not_accepted_yet_is_lost(kit: Kit) -> Outcome {
    let limits = kit.limits();
    let options = kit.connect_options(&limits);
    for steps in 0..20 {
        let mut listener = kit.bind(&kit.listen_options(&limits)).await?;
        let (transport, endpoint) = (kit.transport.clone(), listener.endpoint().clone());
        let connecting = tokio::spawn({
            let options = options.clone();
            async move { transport.connect(&endpoint, &options).await }
        });
        for _ in 0..steps {
            tokio::task::yield_now().await;
        }
        within("close of the listener", listener.close()).await??;
        drop(listener);
        if let Ok(mut client) = within("connect", connecting).await?.map_err(Stop::fail)? {
            let heard = within("the loss of a connection nobody accepted", client.receiver.recv()).await?;
            ensure!(matches!(heard, Err(Error::Lost { .. })), "a client that was not accepted was told {heard:?}");
        }
    }
    Ok(())
}

pub(crate) async fn connecting_to_nobody_fails_in_time(kit: Kit) -> Outcome {
    let limits = kit.limits();
    let mut listener = kit.bind(&kit.listen_options(&limits)).await?;
    let endpoint = listener.endpoint().clone();
    listener.close().await?;
    drop(listener);
    let timeout = Duration::from_secs(1);
    let options = ConnectOptions { connect_timeout: timeout, ..kit.connect_options(&limits) };
    let start = Instant::now();
    let result = kit.try_connect(&endpoint, &options).await?;
    let elapsed = start.elapsed();
    let told = matches!(result, Err(Error::Unreachable { .. } | Error::Timeout { .. }));
    ensure!(told, "connecting to nobody gave {result:?} for `Unreachable` or `Timeout`");
    ensure!(elapsed < timeout + Duration::from_secs(15), "connecting to nobody took {elapsed:?} for {timeout:?}");
    // And somebody who comes later is found.
    let mut listener = within("bind", kit.transport.bind(&endpoint, &kit.listen_options(&limits))).await??;
    let endpoint = listener.endpoint().clone();
    let options = kit.connect_options(&limits);
    let (client, server) = tokio::join!(kit.try_connect(&endpoint, &options), accept(&mut listener));
    round_trip(&mut client??, &mut server?, kit.seed).await
}
