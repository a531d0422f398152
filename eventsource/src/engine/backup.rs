//! Copies of one stream: made beside its appends and readers, and made a stream again.

use std::path::Path;

use sinew_hosting::{Folder, GoOn, locked};
use sinew_journal::JournalReader;

use super::folder::{CURSORS, EVENTS};
use super::stored_stream::StoredStream;
use crate::{BackedUp, Result, StreamConfig};

/// Copies a stream: cursors first, so that none points behind the events.
pub(super) fn backup(stream: &StoredStream, target: &Path, go_on: GoOn<'_>) -> Result<BackedUp> {
    let mut copy = stream.folder.copy_to(target, go_on)?;
    // Nothing is removed under it.
    let _one = locked(&stream.upkeep);
    let (reader, cursors) = (stream.reader(), stream.cursors.reader());
    let bytes = |reader: &JournalReader| reader.segments().iter().map(|segment| segment.bytes).sum::<u64>();
    copy.expect(bytes(&reader) + cursors.as_ref().map_or(0, |(reader, _)| bytes(reader)));
    let of_cursors = cursors.map(|(reader, _kept)| copy.journal(CURSORS, &reader)).transpose()?;
    let copied = copy.journal(EVENTS, &reader)?;
    copy.finish(&*stream.config())?;
    let bytes = copied.bytes + of_cursors.map_or(0, |copied| copied.bytes);
    Ok(BackedUp { first: copied.first, next: copied.next, bytes })
}

/// Copies a backup's files into a stream's folder, and gives its configuration.
pub(super) fn restore(folder: &Folder, source: &Path, go_on: GoOn<'_>) -> Result<StreamConfig> {
    let config = folder.config_of_copy(source)?;
    folder.take_journals(source, go_on)?;
    Ok(config)
}
