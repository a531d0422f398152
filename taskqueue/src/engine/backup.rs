//! Copies of one queue: made while its tasks come and go, and made a queue again.

use std::path::Path;

use sinew_hosting::{Folder, GoOn, locked};

use super::folder::JOURNAL;
use super::stored_queue::StoredQueue;
use crate::scheduler::check_config;
use crate::{BackedUp, Error, Level, Queue, QueueConfig, Result};

/// Copies a queue, as it is stored now: all that it has answered for.
pub(super) fn backup(queue: &StoredQueue, target: &Path, go_on: GoOn<'_>) -> Result<BackedUp> {
    let mut copy = queue.folder.copy_to(target, go_on)?;
    // Nothing is removed under it.
    let _one = locked(&queue.upkeep);
    let copied = copy.journal(JOURNAL, &queue.reader()?)?;
    copy.finish(&queue.shell.info().config)?;
    Ok(BackedUp { records: copied.next - copied.first, bytes: copied.bytes })
}

/// Copies a backup's files into a queue's folder, and gives its configuration.
pub(super) fn restore(folder: &Folder, source: &Path, go_on: GoOn<'_>) -> Result<QueueConfig> {
    let config: QueueConfig = folder.config_of_copy(source)?;
    check_config(folder.name().as_str(), &config)?;
    if config.level == Level::Memory {
        let why = "is of a queue in memory alone, and such a one has no backup".into();
        return Err(Error::Backup { path: source.display().to_string(), why });
    }
    folder.take_journals(source, go_on)?;
    Ok(config)
}
