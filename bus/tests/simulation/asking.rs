//! Those who ask and those who answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sinew_bus::{Bus, Error, RequestOptions};
use sinew_session::Error as SessionError;
use sinew_testkit::random::Random;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::broken::{Broken, Invariant, Outcome};
use crate::stage::{Stage, pattern, subject};
use crate::sum::number_of;

/// A request may take so much longer than its deadline: a full outbox waits until the connection is given up.
const LATE: Duration = Duration::from_secs(60);
/// Requests at one time of one requester.
const AT_ONCE: u64 = 4;

/// Who was handed which request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked(Arc<Mutex<HashMap<u64, u64>>>);

impl Asked {
    fn note(&self, number: u64, responder: u64) -> Outcome<()> {
        let before = self.0.lock().expect("no panic while it is held").insert(number, responder);
        Invariant::Group.hold(before.is_none(), || {
            format!("request {number:x} went to responder {responder} and before to {before:?}")
        })
    }

    fn who(&self, number: u64) -> Option<u64> {
        self.0.lock().expect("no panic while it is held").get(&number).copied()
    }
}

/// Answers most requests until the world ends, and leaves now and then.
pub(crate) async fn respond(stage: Stage, id: u64, mut random: Random) -> Outcome<()> {
    let bus = stage.connect().await;
    while !stage.is_over() {
        let wished = pattern(["r.*", "r.1"][random.below(2)]);
        let until = random.millis(8_000);
        let serving = async {
            let mut responder = match bus.respond(&wished).await {
                Ok(responder) => responder,
                Err(error) if error.is_retryable() => return Ok(()),
                Err(error) => return Invariant::Ends.broken(format!("responder {id}: {error}")),
            };
            while let Some(asked) = responder.next().await {
                let number = number_of(&asked.message);
                stage.trace.note(|| format!("responder {id}: {number:x}"));
                stage.asked.note(number, id)?;
                if random.once_in(3) {
                    sleep(random.millis(400)).await;
                }
                let answer = [number.to_le_bytes(), id.to_le_bytes()].concat();
                match random.below(12) {
                    0 => drop(asked),
                    1 => asked.fail("it cannot be done"),
                    _ => drop(asked.answer(answer).await),
                }
            }
            Invariant::Ends.broken(format!("responder {id} ended: {:?}", responder.end()))
        };
        let served = tokio::select! {
            biased;
            () = stage.over() => return Ok(()),
            served = timeout(until, serving) => served,
        };
        served.unwrap_or(Ok(()))?;
        sleep(random.millis(300)).await;
    }
    Ok(())
}

/// Asks, several things at one time, until the world ends.
pub(crate) async fn ask(stage: Stage, id: u64, mut random: Random) -> Outcome<()> {
    let bus = stage.connect().await;
    let mut round = 0;
    while !stage.is_over() {
        let mut asking = JoinSet::new();
        for lane in 0..1 + random.below(AT_ONCE as usize) as u64 {
            // Each of those at one time counts as a publisher of its own, since they may overtake each other.
            let number = (1_000 + AT_ONCE * id + lane) << 32 | round;
            let deadline = Duration::from_millis(200 + random.below(5_000) as u64);
            let name = ["r.0", "r.1"][random.below(2)];
            asking.spawn(ask_once(stage.clone(), bus.clone(), name, number, deadline));
        }
        while let Some(asked) = asking.join_next().await {
            asked.map_err(|error| Broken { invariant: Invariant::Sound, what: error.to_string() })??;
        }
        round += 1;
        let pause = random.millis(400);
        tokio::select! { biased; () = stage.over() => {}, () = sleep(pause) => {} }
    }
    Ok(())
}

async fn ask_once(stage: Stage, bus: Bus, name: &str, number: u64, deadline: Duration) -> Outcome<()> {
    let options = RequestOptions { deadline, ..RequestOptions::default() };
    let body = number.to_le_bytes().to_vec();
    let Ok(answer) = timeout(deadline + LATE, bus.request_with(&subject(name), body, &options)).await else {
        return Invariant::Ends.broken(format!("request {number:x} does not end"));
    };
    stage.trace.note(|| format!("request {number:x}: {answer:?}"));
    match answer {
        Ok(answer) => {
            let who = answer.body.get(8..).and_then(|rest| rest.first_chunk()).map(|id| u64::from_le_bytes(*id));
            let right = number_of(&answer) == number && who.is_some() && who == stage.asked.who(number);
            Invariant::Answers.hold(right, || format!("request {number:x} was answered with {answer:?}"))
        }
        Err(Error::NoResponders { .. } | Error::ResponderLost { .. } | Error::ResponderFailed { .. }) => Ok(()),
        Err(Error::Session(
            SessionError::Timeout { .. } | SessionError::OutcomeUnknown | SessionError::Disconnected { .. },
        )) => Ok(()),
        Err(Error::Limit { .. }) => Ok(()),
        Err(error) => Invariant::Ends.broken(format!("request {number:x}: {error}")),
    }
}
