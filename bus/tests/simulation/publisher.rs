//! Somebody who publishes: small and large, in bursts, and flushes now and then.

use sinew_bus::{Bus, Error};
use sinew_session::Error as SessionError;
use sinew_testkit::random::Random;
use tokio::time::sleep;

use crate::broken::{Invariant, Outcome};
use crate::history::History;
use crate::stage::{SUBJECTS, Stage, subject};

/// A publisher that has had its say.
pub(crate) struct Published {
    bus: Bus,
    id: u64,
    sent: u64,
}

/// Publishes until the world ends. Every message says in its first eight bytes whose it is, and the how manieth.
pub(crate) async fn publish(stage: Stage, id: u64, mut random: Random) -> Outcome<Published> {
    let bus = stage.connect().await;
    let mut sent = 0;
    while !stage.is_over() {
        for _ in 0..random.below(20) {
            let size = [16, 16, 16, 200, 3_000, 9_000, 140_000][random.below(7).min(random.below(7))];
            let mut body = vec![0; size];
            body[..8].copy_from_slice(&(id << 32 | sent).to_le_bytes());
            let result = bus.publish(&subject(SUBJECTS[random.below(SUBJECTS.len())]), body).await;
            stage.trace.note(|| format!("publisher {id}: {sent} of {size} bytes: {result:?}"));
            match result {
                Ok(()) => sent += 1,
                Err(Error::Session(SessionError::Disconnected { .. })) => break,
                Err(error) => return Invariant::Ends.broken(format!("publisher {id}: {error}")),
            }
        }
        if random.once_in(6) {
            match bus.flush().await {
                Ok(()) | Err(Error::Session(SessionError::Lost { .. } | SessionError::Timeout { .. })) => {}
                Err(error) => return Invariant::Ends.broken(format!("publisher {id}: {error}")),
            }
        }
        let pause = random.millis(120);
        tokio::select! { biased; () = stage.over() => {}, () = sleep(pause) => {} }
    }
    Ok(Published { bus, id, sent })
}

impl Published {
    /// In fair weather: everything that was said arrives.
    pub(crate) async fn flush(&self) -> Outcome<()> {
        for _ in 0..2 {
            match self.bus.flush().await {
                Ok(()) | Err(Error::Session(SessionError::Lost { .. })) => {}
                Err(error) => return Invariant::Ends.broken(format!("in fair weather: {error}")),
            }
        }
        Ok(())
    }

    /// What it sent has arrived or was told as lost: exactly while a server lives.
    pub(crate) fn check(&self, history: &History, restarts: bool) -> Outcome<()> {
        let (sent, losses, arrived) = (self.sent, self.bus.session().losses(), history.arrived(self.id));
        let (lost, unknown) = (losses.lost, losses.unknown);
        let bounds = arrived + lost <= sent && arrived + lost + unknown >= sent;
        let exact = restarts || (unknown == 0 && arrived + lost == sent);
        Invariant::Told.hold(bounds && exact, || {
            format!("publisher {}: {sent} sent, {arrived} arrived, {lost} lost, {unknown} unknown", self.id)
        })
    }
}
