//! Groups of all streams: loaded when somebody asks for them, and shown, paused, reset, removed.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

use sinew_session::{Failure, Lane, Record, ResourceName, from_cbor, read_call, to_cbor};

use super::Shared;
use super::attachment::{LogAttachment, name};
use super::calls::Answer;
use super::loaded::{InHand, Loaded};
use super::running::{InUse, Running};
use super::streams::{resolve, store};
use crate::group::{Group, GroupState, Window};
use crate::protocol::{Asks, GroupAct, GroupAsk, GroupPage, failure_of};
use crate::{Cursor, Error, GroupSettings, Result, Stream};

/// What stands before the name of a group's cursor; readers' cursors have another one.
const CURSOR_PREFIX: &str = "g/";
/// Names of groups on one page.
const NAMES_MAX: usize = 100;

fn cursor_of(group: &ResourceName) -> String {
    format!("{CURSOR_PREFIX}{group}")
}

/// Who asks for a group, and how they think that it works.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wish<'a> {
    /// A manager: as it is.
    AsItIs,
    /// A new member: just so, and it is made so where there is none.
    New(&'a GroupSettings),
    /// A member that comes back after a cut: what could be altered meanwhile may be otherwise.
    Back(&'a GroupSettings),
}

impl<'a> Wish<'a> {
    fn fits(self, settings: &GroupSettings) -> bool {
        match self {
            Self::AsItIs => true,
            Self::New(wanted) => wanted == settings,
            Self::Back(wanted) => wanted.clone().with(settings.redelivery()) == *settings,
        }
    }

    fn settings(self) -> Option<&'a GroupSettings> {
        match self {
            Self::AsItIs => None,
            Self::New(settings) | Self::Back(settings) => Some(settings),
        }
    }
}

impl Shared {
    /// The group, loaded; made with the settings of a member where there is none. It is not unloaded while it is in use.
    pub(super) async fn group(
        self: &Arc<Self>,
        stream: &ResourceName,
        group: &ResourceName,
        wish: Wish<'_>,
    ) -> Result<InUse> {
        let cell = self.cell(stream, group).await?;
        let mut loaded = cell.lock().await;
        self.load(&mut loaded, stream, group, wish).await
    }

    async fn cell(&self, stream: &ResourceName, group: &ResourceName) -> Result<InHand<'_>> {
        let (key, max) = ((stream.clone(), group.clone()), self.limits.groups_max);
        if let Some(cell) = self.groups.take(&key, max) {
            return Ok(cell);
        }
        self.groups.let_go().await;
        self.groups.take(&key, max).ok_or_else(|| {
            let reason = format!("{max} groups are in use, the limit; raise `groups_max` at the server");
            Error::Limit { reason }
        })
    }

    async fn load(
        self: &Arc<Self>,
        loaded: &mut Option<Loaded>,
        stream: &ResourceName,
        group: &ResourceName,
        wish: Wish<'_>,
    ) -> Result<InUse> {
        let exists = || Error::GroupExists { stream: stream.to_string(), group: group.to_string() };
        if let Some(running) = loaded.as_ref().and_then(Loaded::hold) {
            return if wish.fits(&running.settings()) { Ok(running) } else { Err(exists()) };
        }
        if let Some(over) = loaded.take() {
            over.end().await;
        }
        let found = self.stream(stream).await?;
        let cursor_name = cursor_of(group);
        let (cursor, state) = match (found.cursor(&cursor_name).await?, wish.settings()) {
            (Some(cursor), _) => {
                let state: GroupState = from_cbor(&cursor.state).map_err(|error| Error::Storage {
                    stream: stream.to_string(),
                    why: format!("the state of group `{group}` cannot be read: {error}; delete the group"),
                })?;
                if !wish.fits(&state.settings) {
                    return Err(exists());
                }
                (cursor, state)
            }
            (None, None) => {
                return Err(Error::UnknownGroup { stream: stream.to_string(), group: group.to_string() });
            }
            (None, Some(settings)) => begin(&*found, &cursor_name, settings).await?,
        };
        let limits = &self.limits;
        let window = Window { events_max: limits.group_events_max, bytes_max: limits.group_bytes_max };
        let rules = Group::new(&cursor, state, window, new_era());
        let running = Arc::new(Running::new(group.clone(), cursor_name, found, rules, cursor.offset));
        let in_use = running.hold().expect("nobody else has it yet");
        let key = (stream.clone(), group.clone());
        *loaded = Some(Loaded::start(self, key, running, limits.group_idle));
        Ok(in_use)
    }

    /// Whoever joins it meanwhile waits, and makes it anew.
    async fn remove_group(self: &Arc<Self>, stream: &ResourceName, group: &ResourceName) -> Result<()> {
        let cell = self.cell(stream, group).await?;
        let mut loaded = cell.lock().await;
        let cursor = cursor_of(group);
        let found = match loaded.as_ref().and_then(Loaded::hold) {
            Some(running) => {
                running.end(&Error::GroupEnded { stream: stream.to_string(), group: group.to_string() });
                running.at_rest().await;
                running.stream.clone()
            }
            // It need not be one that can be loaded.
            None => {
                let found = self.stream(stream).await?;
                if found.cursor(&cursor).await?.is_none() {
                    return Err(Error::UnknownGroup { stream: stream.to_string(), group: group.to_string() });
                }
                found
            }
        };
        store(&*found, cursor, None).await?;
        *loaded = None;
        Ok(())
    }
}

/// A number that no settlement of an earlier life of the group has.
fn new_era() -> u32 {
    RandomState::new().build_hasher().finish() as u32
}

/// Where a new group begins, stored.
async fn begin(stream: &dyn Stream, name: &str, settings: &GroupSettings) -> Result<(Cursor, GroupState)> {
    let state = GroupState { settings: settings.clone(), ..GroupState::default() };
    let offset = resolve(stream, settings.start).await?;
    let cursor = Cursor { offset, above: Vec::new(), state: to_cbor(&state) };
    store(stream, name.to_owned(), Some(cursor.clone())).await?;
    Ok((cursor, state))
}

impl LogAttachment {
    pub(super) fn group(&mut self, lane: Lane, record: &Record<'_>) -> std::result::Result<(), Failure> {
        let (_, ask): (_, GroupAsk) = read_call(record)?;
        let stream = name(&ask.stream)?;
        self.check(match &ask.act {
            GroupAct::List(_) | GroupAct::Info(_) => Asks::Groups(&ask.stream),
            GroupAct::Pause(_)
            | GroupAct::Resume(_)
            | GroupAct::Reset(..)
            | GroupAct::Alter(..)
            | GroupAct::Delete(_) => Asks::ManageGroup(&ask.stream),
        })?;
        let group = match &ask.act {
            GroupAct::List(after) => after.as_deref().map(name).transpose()?,
            GroupAct::Info(group)
            | GroupAct::Pause(group)
            | GroupAct::Resume(group)
            | GroupAct::Reset(group, _)
            | GroupAct::Alter(group, _)
            | GroupAct::Delete(group) => Some(name(group)?),
        };
        let shared = self.shared.clone();
        self.call(lane, record, async move {
            act(&shared, &stream, group, ask.act).await.map_err(|error| failure_of(&error))
        })
    }
}

async fn act(
    shared: &Arc<Shared>,
    stream: &ResourceName,
    group: Option<ResourceName>,
    act: GroupAct,
) -> Result<Answer> {
    let Some(group) = group.filter(|_| !matches!(act, GroupAct::List(_))) else {
        let GroupAct::List(after) = act else { return Ok(Answer::of(&GroupPage::default())) };
        return list(&*shared.stream(stream).await?, after).await;
    };
    if matches!(act, GroupAct::Delete(_)) {
        return shared.remove_group(stream, &group).await.map(|()| Answer::of(&()));
    }
    let running = shared.group(stream, &group, Wish::AsItIs).await?;
    match act {
        GroupAct::Pause(_) => running.pause(true),
        GroupAct::Resume(_) => running.pause(false),
        GroupAct::Reset(_, position) => running.reset(resolve(&*running.stream, position).await?),
        GroupAct::Alter(_, redelivery) => running.alter(redelivery),
        GroupAct::Info(_) | GroupAct::List(_) | GroupAct::Delete(_) => return Ok(Answer::of(&running.info())),
    }
    running.stored().await?;
    Ok(Answer::of(&running.info()))
}

async fn list(stream: &dyn Stream, after: Option<String>) -> Result<Answer> {
    let after = after.map_or_else(|| CURSOR_PREFIX.to_owned(), |after| format!("{CURSOR_PREFIX}{after}"));
    let found = stream.cursors(Some(&after), NAMES_MAX).await?;
    let names = found.iter().map_while(|(name, _)| Some(name.strip_prefix(CURSOR_PREFIX)?.to_owned()));
    let groups: Vec<_> = names.collect();
    Ok(Answer::of(&GroupPage { more: groups.len() == NAMES_MAX, groups }))
}
