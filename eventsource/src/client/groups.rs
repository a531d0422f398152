//! Consumer groups: joining them, looking at them, managing them.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use sinew_session::{Error as SessionError, Request, ResourceName, Restore, to_cbor};

use super::{CALL, Log};
use crate::member::Desk;
use crate::protocol::{GroupAct, GroupAsk, GroupPage, Held, Join, Joined, Leave, Position, SERVICE, error_of, verb};
use crate::{GroupInfo, GroupSettings, Member, Redelivery, Result};

/// How a group is joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupOptions {
    /// How the group works: the first member makes it so, and those that join later must want the same.
    pub settings: GroupSettings,
    /// Events that this member has at one time. Default 256; the server's limit bounds it.
    pub in_flight_max: u32,
    /// Their bytes; one event goes whatever its size. Default 8 MiB.
    pub in_flight_bytes_max: usize,
}

impl Default for GroupOptions {
    fn default() -> Self {
        Self { settings: GroupSettings::default(), in_flight_max: 256, in_flight_bytes_max: 8 << 20 }
    }
}

impl Log {
    /// Joins a consumer group, and makes it where there is none. Resolves when the server has registered it. One round
    /// trip. It comes back by itself after a cut.
    ///
    /// # Errors
    /// `UnknownStream`, `GroupExists` where it works in another way, `OutOfRange` where it would begin outside of the
    /// stream, `Denied`, `Limit`; `Session` if the server cannot be asked.
    pub async fn join(&self, stream: &ResourceName, group: &ResourceName, options: GroupOptions) -> Result<Member> {
        let opened = self.session.open_stream(|number| {
            let desk = Arc::new(Desk::new(number, stream.clone(), group.clone(), options.clone()));
            self.shared.members.enter(number, &desk);
            let body = to_cbor(&wish(&desk, None));
            let request = Request::new(SERVICE, verb::JOIN, stream.as_str().as_bytes(), body, CALL);
            let member = Member::new(self.clone(), desk.clone());
            (member, request, move |joined: &Joined| desk.confirm(joined))
        });
        opened.await.map_err(error_of)
    }

    /// Leaves without waiting.
    pub(crate) fn leave(&self, desk: &Desk) {
        if self.shared.members.leave(desk.number) {
            self.session.cast(leave_request(desk), |_| ());
        }
    }

    pub(crate) async fn leave_surely(&self, desk: &Desk) -> Result<()> {
        self.shared.members.leave(desk.number);
        match self.session.call(leave_request(desk)).await {
            // The server has let it go, or will when nobody comes back.
            Ok(_) | Err(SessionError::OutcomeUnknown) => Ok(()),
            Err(error) => Err(error_of(error)),
        }
    }

    /// The groups of a stream, in order.
    ///
    /// # Errors
    /// `UnknownStream`, `Denied`; `Session` if the server cannot be asked.
    pub async fn groups(&self, stream: &ResourceName) -> Result<Vec<String>> {
        let mut all: Vec<String> = Vec::new();
        loop {
            let page: GroupPage = self.ask_group(stream, GroupAct::List(all.last().cloned()), true).await?;
            let more = page.more && !page.groups.is_empty();
            all.extend(page.groups);
            if !more {
                return Ok(all);
            }
        }
    }

    /// How a group is doing: its place, its lag, its members.
    ///
    /// # Errors
    /// `UnknownStream`, `UnknownGroup`, `Denied`; `Session` if the server cannot be asked.
    pub async fn group(&self, stream: &ResourceName, group: &ResourceName) -> Result<GroupInfo> {
        self.ask_group(stream, GroupAct::Info(group.to_string()), true).await
    }

    /// Hands nothing out to the group's members any more; what they have they can acknowledge. Durable.
    ///
    /// # Errors
    /// `UnknownStream`, `UnknownGroup`, `Denied`, `NoSpace`; `Session` if the server cannot be asked.
    pub async fn pause_group(&self, stream: &ResourceName, group: &ResourceName) -> Result<GroupInfo> {
        self.ask_group(stream, GroupAct::Pause(group.to_string()), true).await
    }

    /// Goes on after [`pause_group`](Self::pause_group).
    ///
    /// # Errors
    /// As [`pause_group`](Self::pause_group).
    pub async fn resume_group(&self, stream: &ResourceName, group: &ResourceName) -> Result<GroupInfo> {
        self.ask_group(stream, GroupAct::Resume(group.to_string()), true).await
    }

    /// Lets a group begin anew at this place; what its members have does not count any more. Durable.
    ///
    /// # Errors
    /// As [`pause_group`](Self::pause_group), and `OutOfRange`; `Session`, with `OutcomeUnknown` where the answer did not
    /// come.
    pub async fn reset_group(&self, stream: &ResourceName, group: &ResourceName, to: Position) -> Result<GroupInfo> {
        self.ask_group(stream, GroupAct::Reset(group.to_string(), to), false).await
    }

    /// Alters how a group hands out again what was not acknowledged; what members have already comes back as it was to.
    /// Members stay; who joins later must want the new settings. Durable.
    ///
    /// # Errors
    /// As [`pause_group`](Self::pause_group).
    pub async fn alter_group(
        &self,
        stream: &ResourceName,
        group: &ResourceName,
        redelivery: Redelivery,
    ) -> Result<GroupInfo> {
        self.ask_group(stream, GroupAct::Alter(group.to_string(), redelivery), true).await
    }

    /// Removes a group. Its members are told.
    ///
    /// # Errors
    /// As [`reset_group`](Self::reset_group).
    pub async fn delete_group(&self, stream: &ResourceName, group: &ResourceName) -> Result<()> {
        self.ask_group(stream, GroupAct::Delete(group.to_string()), false).await
    }

    async fn ask_group<A: DeserializeOwned>(&self, stream: &ResourceName, act: GroupAct, surely: bool) -> Result<A> {
        let ask = GroupAsk { stream: stream.to_string(), act };
        if surely {
            self.ask_surely(verb::GROUP, stream, &ask).await
        } else {
            self.ask(verb::GROUP, stream, &ask).await
        }
    }
}

fn wish(desk: &Desk, held: Option<Held>) -> Join {
    let GroupOptions { settings, in_flight_max, in_flight_bytes_max } = desk.options.clone();
    let (stream, group) = (desk.stream.to_string(), desk.group.to_string());
    Join { stream, group, settings, in_flight_max, in_flight_bytes_max: in_flight_bytes_max as u64, held }
}

fn leave_request(desk: &Desk) -> Request<'_> {
    let body = to_cbor(&Leave { number: desk.number });
    Request::new(SERVICE, verb::LEAVE, desk.stream.as_str().as_bytes(), body, CALL)
}

/// After a cut: a member again, with what it has.
pub(super) fn restore(desk: &Arc<Desk>, restore: &mut Restore<'_>) {
    let Some(held) = desk.standing() else { return };
    let again = desk.clone();
    let body = to_cbor(&wish(desk, Some(held)));
    let key = desk.stream.as_str().as_bytes();
    let request = Request { number: Some(desk.number), ..Request::new(SERVICE, verb::JOIN, key, body, CALL) };
    restore.call(request, move |reply| match reply.and_then(|reply| reply.read::<Joined>()) {
        Ok(joined) => again.confirm(&joined),
        // Cut again: the next restore asks again. Any other word of the server is its last.
        Err(error) if error.is_retryable() => {}
        Err(error) => again.end(error_of(error)),
    });
}
