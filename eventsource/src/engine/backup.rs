//! Copies of one stream: made beside its appends and readers, and made a stream again.

use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::path::Path;

use sinew_hosting::{Folder, GoOn, locked};
use sinew_journal::{Error as JournalError, Files, JournalReader, OpenMode};
use sinew_session::from_value;

use super::folder::{CURSORS, EVENTS, LAYOUT};
use super::stored_stream::StoredStream;
use super::{Host, storage};
use crate::{BackedUp, Error, Progress, Result, StreamConfig};

const PIECE_BYTES: usize = 1 << 20;

fn refused(path: &Path, why: impl Into<String>) -> Error {
    Error::Backup { path: path.display().to_string(), why: why.into() }
}

/// Copies a stream: cursors first, so that none points behind the events; the configuration last, so that a copy that was
/// cut off is none.
pub(super) fn backup(stream: &StoredStream, target: &Path, go_on: GoOn<'_>) -> Result<BackedUp> {
    let host = &stream.host;
    check_empty(host.files(), target)?;
    // Nothing is removed under it.
    let _one = locked(&stream.upkeep);
    let (reader, cursors) = (stream.reader(), stream.cursors.reader());
    let bytes = |reader: &JournalReader| reader.segments().iter().map(|segment| segment.bytes).sum::<u64>();
    let of_cursors = cursors.as_ref().map_or(0, |(reader, _)| bytes(reader));
    let mut progress = Progress { done: 0, total: bytes(&reader) + of_cursors };
    let mut copy = |reader: &JournalReader, name: &str| {
        let before = progress.done;
        let copied = reader.copy_to(target.join(name), u64::MAX, &mut |of| {
            progress.done = before + of.bytes_done;
            progress.total = progress.total.max(progress.done);
            if go_on(progress) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        copied.map_err(stream.storage())
    };
    let of_cursors = cursors.map(|(reader, _kept)| copy(&reader, CURSORS)).transpose()?;
    let copied = copy(&reader, EVENTS)?;
    let config = sinew_session::to_value(&*stream.config()).expect("numbers and names can be written");
    host.directory.write_whole(target.join(LAYOUT.config), &config).map_err(stream.storage())?;
    let bytes = copied.bytes + of_cursors.map_or(0, |copied| copied.bytes);
    Ok(BackedUp { first: copied.first, next: copied.next, bytes })
}

fn check_empty(files: &dyn Files, target: &Path) -> Result<()> {
    match files.list(target) {
        Ok(names) if names.is_empty() => Ok(()),
        Ok(_) => Err(refused(target, "is not empty; name a new directory")),
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(()),
        Err(cause) => Err(refused(target, format!("cannot be listed: {cause}"))),
    }
}

/// Copies a backup's files into a stream's folder, and gives its configuration.
pub(super) fn restore(host: &Host, folder: &Folder, source: &Path, go_on: GoOn<'_>) -> Result<StreamConfig> {
    let failed = storage(folder.name());
    let config =
        host.directory.read_whole(source.join(LAYOUT.config)).map_err(|error| refused(source, error.to_string()))?;
    let config = config.ok_or_else(|| refused(source, "holds no backup of a stream, or one that was cut off"))?;
    let config: StreamConfig = from_value(&config).map_err(|error| refused(source, error.why))?;
    let files = host.files();
    let mut all = Vec::new();
    for part in [EVENTS, CURSORS] {
        let names = match files.list(&source.join(part)) {
            Err(cause) if cause.kind() == ErrorKind::NotFound && part == CURSORS => continue,
            listed => listed.map_err(|cause| refused(source, format!("cannot be read: {cause}")))?,
        };
        // Files that were being written when their writer ended are nobody's.
        all.extend(names.into_iter().filter(|name| !name.starts_with('.')).map(|name| (part, name)));
        files.create_dir_all(&folder.join(part)).map_err(io("create", &folder.join(part))).map_err(&failed)?;
    }
    let mut progress = Progress::default();
    for (part, name) in &all {
        let file = files.open(&source.join(part).join(name), OpenMode::Read);
        let length = file.and_then(|file| file.len());
        progress.total +=
            length.map_err(|cause| refused(source, format!("`{part}/{name}` cannot be read: {cause}")))?;
    }
    for (part, name) in &all {
        let (from, to) = (source.join(part).join(name), folder.join(part).join(name));
        copy_file(files, &from, &to, &mut progress, go_on).map_err(&failed)?;
    }
    for part in [EVENTS, CURSORS].iter().filter(|part| all.iter().any(|(of, _)| of == *part)) {
        let path = folder.join(part);
        files.sync_dir(&path).map_err(io("sync", &path)).map_err(&failed)?;
    }
    Ok(config)
}

fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> JournalError {
    let path = path.to_owned();
    move |cause| match cause.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => JournalError::NoSpace { what, path },
        _ => JournalError::Io { what, path, cause: cause.into() },
    }
}

fn copy_file(
    files: &dyn Files,
    from: &Path,
    to: &Path,
    progress: &mut Progress,
    go_on: GoOn<'_>,
) -> Result<(), JournalError> {
    let source = files.open(from, OpenMode::Read).map_err(io("open", from))?;
    let target = files.create_new(to).map_err(io("create", to))?;
    let (mut piece, mut at) = (vec![0; PIECE_BYTES], 0);
    loop {
        let count = match source.read_at(&mut piece, at) {
            Ok(0) => break,
            Err(cause) if cause.kind() == ErrorKind::Interrupted => continue,
            count => count.map_err(io("read", from))?,
        };
        let mut written = 0;
        while written < count {
            match target.write_at(&piece[written..count], at + written as u64) {
                Ok(0) => return Err(io("write", to)(ErrorKind::WriteZero.into())),
                Err(cause) if cause.kind() == ErrorKind::Interrupted => {}
                more => written += more.map_err(io("write", to))?,
            }
        }
        at += count as u64;
        progress.done += count as u64;
        if !go_on(*progress) {
            return Err(JournalError::Cancelled);
        }
    }
    target.sync_data().map_err(io("sync", to))
}
