//! Renewing a worker's lease, three times in it, where the session runs: however busy the program is.

use std::sync::{Arc, Weak};
use std::time::Duration;

use sinew_session::{Session, State};
use tokio::task::AbortHandle;

use super::Desk;

/// How often it is renewed in each lease.
const RENEWALS: u32 = 3;

/// What renews a lease. Dropping it stops it.
#[derive(Debug)]
pub(super) struct Lease(AbortHandle);

impl Lease {
    pub(super) fn start(session: &Session, desk: &Arc<Desk>, lease: Duration) -> Self {
        Self(session.spawn(renew(Arc::downgrade(desk), (lease / RENEWALS).max(Duration::from_millis(1)))))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn renew(desk: Weak<Desk>, every: Duration) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // The first one is at once, and it has just joined.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let Some(desk) = desk.upgrade() else { return };
        let Some(session) = desk.session() else { return };
        let is_connected = matches!(&*session.state().borrow(), State::Connected);
        if is_connected {
            desk.renew();
        }
    }
}
