//! Memberships of a session: begun, taken up again after a cut, settled, ended.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use sinew_session::{Failure, Header, Lane, Record, ResourceName, read_call};

use super::attachment::{LogAttachment, name};
use super::groups::Wish;
use super::running::{Answer, Member, Running};
use crate::group::{MemberKey, Share};
use crate::protocol::{Asks, Join, Leave, failure_of, read_settle_head, read_settlements, verb, violation};

/// A membership as the session sees it. Dropping it leaves the group.
#[derive(Debug)]
pub(super) struct Membership {
    key: MemberKey,
    stream: ResourceName,
    place: Arc<Mutex<Place>>,
}

#[derive(Debug)]
enum Place {
    /// The group is being loaded.
    Joining,
    /// It does not keep the group loaded, in which it may have been forgotten.
    In(Weak<Running>),
    /// Left or cut before it was in, or refused.
    Out,
}

impl Membership {
    pub(super) fn stream(&self) -> &str {
        self.stream.as_str()
    }

    pub(super) fn is_out(&self) -> bool {
        matches!(*self.place(), Place::Out)
    }

    fn place(&self) -> std::sync::MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn running(&self) -> Option<Arc<Running>> {
        match &*self.place() {
            Place::In(running) => running.upgrade(),
            Place::Joining | Place::Out => None,
        }
    }

    fn take(&self) -> Option<Arc<Running>> {
        match std::mem::replace(&mut *self.place(), Place::Out) {
            Place::In(running) => running.upgrade(),
            Place::Joining | Place::Out => None,
        }
    }

    /// The connection is gone: it may come back for so long. One that was not in yet has not been told that it is, and
    /// asks again.
    pub(super) fn cut(&self, window: std::time::Duration) {
        let mut place = self.place();
        if matches!(*place, Place::Joining) {
            *place = Place::Out;
        }
        drop(place);
        if let Some(running) = self.running() {
            running.cut(self.key, window);
        }
    }

    /// Leaves in order: what it has costs no attempt.
    fn leave(self) {
        if let Some(running) = self.take() {
            running.leave(self.key, false);
        }
    }

    /// It is told why it is no member any more.
    pub(super) fn dismiss(self, failure: &Failure) {
        if let Some(running) = self.take() {
            running.dismiss(self.key, failure);
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        if let Some(running) = self.take() {
            running.leave(self.key, true);
        }
    }
}

impl LogAttachment {
    pub(super) fn join(&mut self, lane: Lane, record: &Record<'_>) -> Result<(), Failure> {
        let (_, ask): (_, Join) = read_call(record)?;
        let (stream, group) = (name(&ask.stream)?, name(&ask.group)?);
        self.check(Asks::Join(&ask.stream))?;
        let number = record.header.call;
        let member = Member { link: self.link.clone(), lane, number };
        let limits = &self.shared.limits;
        let bound = |wish: u64, max: usize| usize::try_from(wish).unwrap_or(max).clamp(1, max);
        let share = Share {
            events_max: bound(ask.in_flight_max.into(), limits.in_flight_max),
            bytes_max: bound(ask.in_flight_bytes_max, limits.window_bytes_max),
        };
        let is_back = ask.held.is_some();
        let held = ask.held.unwrap_or_default();
        if let Some(membership) = self.members.get(&number)
            && let Some(running) = membership.running()
            && running.rejoin(membership.key, member.clone(), share, &held, &record.header)
        {
            return Ok(());
        }
        self.members.remove(&number);
        self.members.retain(|_, membership| !membership.is_out());
        if self.members.len() >= limits.follows_max {
            let max = limits.follows_max;
            let reason = format!("this session is in {max} groups, the limit; leave some, or raise `follows_max`");
            return Err(Failure::new("limit", reason));
        }
        let key = (self.connection, number);
        let place = Arc::new(Mutex::new(Place::Joining));
        self.members.insert(number, Membership { key, stream: stream.clone(), place: place.clone() });
        let (shared, header) = (self.shared.clone(), record.header);
        tokio::spawn(async move {
            let wish = if is_back { Wish::Back(&ask.settings) } else { Wish::New(&ask.settings) };
            let found = shared.group(&stream, &group, wish).await;
            let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
            if !matches!(*place, Place::Joining) {
                return;
            }
            let link = member.link.clone();
            // With the place locked, so that it cannot leave before it has joined.
            let joined = found.and_then(|running| {
                running.join(key, member, share, &header)?;
                Ok(Arc::downgrade(&running))
            });
            *place = match joined {
                Ok(running) => Place::In(running),
                Err(error) => {
                    link.fail(lane, &header, &failure_of(&error));
                    Place::Out
                }
            };
        });
        Ok(())
    }

    pub(super) fn leave(&mut self, lane: Lane, record: &Record<'_>) -> Result<(), Failure> {
        let (_, ask): (_, Leave) = read_call(record)?;
        self.check(Asks::Leave)?;
        if let Some(membership) = self.members.remove(&ask.number) {
            membership.leave();
        }
        self.link.reply(lane, &record.header, &());
        Ok(())
    }

    pub(super) fn settle(&mut self, lane: Lane, record: &Record<'_>) -> Result<(), Failure> {
        self.check(Asks::Settle)?;
        let head = read_settle_head(record.head());
        let (number, era) = head.ok_or_else(|| violation("a settlement without its membership or its era"))?;
        let settlements = read_settlements(record.body());
        let running = self.members.get(&number).and_then(|membership| Some((membership.key, membership.running()?)));
        let Some((key, running)) = running else {
            // Whatever it settles comes too late.
            let late = (settlements.count() as u32).to_le_bytes();
            let header = Header { verb: verb::SETTLE, flags: sinew_session::REPLY, ..record.header };
            self.link.pack().push(lane, header, &[&late], &bytes::Bytes::new());
            return Ok(());
        };
        let answer = Answer { link: self.link.clone(), lane, header: record.header, late: 0 };
        running.settle(key, era, settlements, answer);
        Ok(())
    }
}
