//! Groups of all streams: loaded when somebody asks for them, and shown, paused, reset, removed.

use std::collections::HashMap;
use std::sync::Arc;

use sinew_session::{Failure, Lane, Record, ResourceName, from_cbor, read_call, to_cbor};
use tokio::task::AbortHandle;

use super::Shared;
use super::attachment::{LogAttachment, name};
use super::calls::Answer;
use super::running::Running;
use super::streams::{resolve, store};
use crate::group::{Group, GroupState, Window};
use crate::protocol::{Asks, GroupAct, GroupAsk, GroupPage, failure_of};
use crate::{Cursor, Error, GroupSettings, Result, Stream};

/// What stands before the name of a group's cursor; readers' cursors have another one.
const CURSOR_PREFIX: &str = "g/";
/// Names of groups on one page.
const NAMES_MAX: usize = 100;

/// The loaded groups. Dropping it ends their tasks.
#[derive(Debug, Default)]
pub(super) struct Groups(HashMap<(ResourceName, ResourceName), Loaded>);

#[derive(Debug)]
struct Loaded {
    running: Arc<Running>,
    task: AbortHandle,
}

impl Drop for Loaded {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn cursor_of(group: &ResourceName) -> String {
    format!("{CURSOR_PREFIX}{group}")
}

impl Shared {
    /// The group, loaded; made with these settings where there is none.
    pub(super) async fn group(
        &self,
        stream: &ResourceName,
        group: &ResourceName,
        settings: Option<&GroupSettings>,
    ) -> Result<Arc<Running>> {
        let mut groups = self.groups.lock().await;
        let key = (stream.clone(), group.clone());
        if groups.0.get(&key).is_some_and(|loaded| loaded.running.is_over().is_some()) {
            groups.0.remove(&key);
        }
        let exists = || Error::GroupExists { stream: stream.to_string(), group: group.to_string() };
        if let Some(Loaded { running, .. }) = groups.0.get(&key) {
            let fits = settings.is_none_or(|settings| running.has_settings(settings));
            return if fits { Ok(running.clone()) } else { Err(exists()) };
        }
        if groups.0.len() >= self.limits.groups_max {
            groups.0.retain(|_, loaded| loaded.running.is_over().is_none());
        }
        if groups.0.len() >= self.limits.groups_max {
            let reason = format!("{} groups are in use, the limit; raise `groups_max` at the server", groups.0.len());
            return Err(Error::Limit { reason });
        }
        let found = self.stream(stream).await?;
        let cursor_name = cursor_of(group);
        let (cursor, state) = match (found.cursor(&cursor_name).await?, settings) {
            (Some(cursor), _) => {
                let state: GroupState = from_cbor(&cursor.state).map_err(|error| Error::Storage {
                    stream: stream.to_string(),
                    why: format!("the state of group `{group}` cannot be read: {error}; delete the group"),
                })?;
                if settings.is_some_and(|settings| *settings != state.settings) {
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
        let rules = Group::new(&cursor, state, window);
        let running = Arc::new(Running::new(group.clone(), cursor_name, found, rules, cursor.offset));
        let task = tokio::spawn(running.clone().run()).abort_handle();
        groups.0.insert(key, Loaded { running: running.clone(), task });
        Ok(running)
    }

    async fn remove_group(&self, stream: &ResourceName, group: &ResourceName) -> Result<()> {
        let running = self.group(stream, group, None).await?;
        let mut groups = self.groups.lock().await;
        running.end(&Error::GroupEnded { stream: stream.to_string(), group: group.to_string() });
        groups.0.remove(&(stream.clone(), group.clone()));
        running.at_rest().await;
        store(&*running.stream, cursor_of(group), None).await.map(drop)
    }
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
            GroupAct::Pause(_) | GroupAct::Resume(_) | GroupAct::Reset(..) | GroupAct::Delete(_) => {
                Asks::ManageGroup(&ask.stream)
            }
        })?;
        let group = match &ask.act {
            GroupAct::List(after) => after.as_deref().map(name).transpose()?,
            GroupAct::Info(group)
            | GroupAct::Pause(group)
            | GroupAct::Resume(group)
            | GroupAct::Reset(group, _)
            | GroupAct::Delete(group) => Some(name(group)?),
        };
        let shared = self.shared.clone();
        self.call(lane, record, async move {
            act(&shared, &stream, group, ask.act).await.map_err(|error| failure_of(&error))
        })
    }
}

async fn act(shared: &Shared, stream: &ResourceName, group: Option<ResourceName>, act: GroupAct) -> Result<Answer> {
    let Some(group) = group.filter(|_| !matches!(act, GroupAct::List(_))) else {
        let GroupAct::List(after) = act else { return Ok(Answer::of(&GroupPage::default())) };
        return list(&*shared.stream(stream).await?, after).await;
    };
    if matches!(act, GroupAct::Delete(_)) {
        return shared.remove_group(stream, &group).await.map(|()| Answer::of(&()));
    }
    let running = shared.group(stream, &group, None).await?;
    match act {
        GroupAct::Pause(_) => running.pause(true),
        GroupAct::Resume(_) => running.pause(false),
        GroupAct::Reset(_, position) => running.reset(resolve(&*running.stream, position).await?),
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
