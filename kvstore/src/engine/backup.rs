//! Copies of one bucket: made beside its writes and readers, and made a bucket again.

use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::path::Path;

use sinew_hosting::{Folder, GoOn, locked};
use sinew_journal::{Error as JournalError, Files, OpenMode};
use sinew_session::from_value;

use super::folder::{FIRST, Identity, JOURNAL, LAYOUT};
use super::stored_bucket::StoredBucket;
use super::{Host, storage};
use crate::{BackedUp, BucketConfig, Error, Progress, Result};

const PIECE_BYTES: usize = 1 << 20;

fn refused(path: &Path, why: impl Into<String>) -> Error {
    Error::Backup { path: path.display().to_string(), why: why.into() }
}

/// Copies a bucket; the configuration last, so that a copy that was cut off is none. The table is not copied: it follows.
pub(super) fn backup(bucket: &StoredBucket, target: &Path, go_on: GoOn<'_>) -> Result<BackedUp> {
    let host = &bucket.host;
    check_empty(host.files(), target)?;
    let failed = |cause| refused(target, format!("cannot be made: {cause}"));
    host.files().create_dir_all(target).map_err(failed)?;
    // Nothing is removed under it.
    let _one = locked(&bucket.upkeep);
    let copied = bucket.reader().copy_to(target.join(JOURNAL), u64::MAX, &mut |of| {
        let progress = Progress { done: of.bytes_done, total: of.bytes_total.max(of.bytes_done) };
        if go_on(progress) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    let copied = copied.map_err(bucket.storage())?;
    let first = locked(&bucket.shown).first;
    host.directory.write_whole(target.join(FIRST), &first.to_le_bytes()).map_err(bucket.storage())?;
    let config = sinew_session::to_value(&bucket.config()).expect("numbers and names can be written");
    host.directory.write_whole(target.join(LAYOUT.config), &config).map_err(bucket.storage())?;
    Ok(BackedUp { revision: copied.next, bytes: copied.bytes })
}

fn check_empty(files: &dyn Files, target: &Path) -> Result<()> {
    match files.list(target) {
        Ok(names) if names.is_empty() => Ok(()),
        Ok(_) => Err(refused(target, "is not empty; name a new directory")),
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(()),
        Err(cause) => Err(refused(target, format!("cannot be listed: {cause}"))),
    }
}

/// Copies a backup's files into a bucket's folder, and gives what the bucket is to be: another than the one that was
/// copied, so that no table is taken for its own.
pub(super) fn restore(host: &Host, folder: &Folder, source: &Path, go_on: GoOn<'_>) -> Result<Identity> {
    let failed = storage(folder.name());
    let read =
        |name: &str| host.directory.read_whole(source.join(name)).map_err(|error| refused(source, error.to_string()));
    let config =
        read(LAYOUT.config)?.ok_or_else(|| refused(source, "holds no backup of a bucket, or one that was cut off"))?;
    let config: BucketConfig = from_value(&config).map_err(|error| refused(source, error.why))?;
    if let Some(first) = read(FIRST)? {
        host.directory.write_whole(folder.join(FIRST), &first).map_err(&failed)?;
    }
    let files = host.files();
    let (from, to) = (source.join(JOURNAL), folder.join(JOURNAL));
    let names = files.list(&from).map_err(|cause| refused(source, format!("cannot be read: {cause}")))?;
    // Files that were being written when their writer ended are nobody's.
    let names: Vec<_> = names.into_iter().filter(|name| !name.starts_with('.')).collect();
    files.create_dir_all(&to).map_err(io("create", &to)).map_err(&failed)?;
    let mut progress = Progress::default();
    for name in &names {
        let length = files.open(&from.join(name), OpenMode::Read).and_then(|file| file.len());
        progress.total += length.map_err(|cause| refused(source, format!("`{name}` cannot be read: {cause}")))?;
    }
    for name in &names {
        copy_file(files, &from.join(name), &to.join(name), &mut progress, go_on).map_err(&failed)?;
    }
    files.sync_dir(&to).map_err(io("sync", &to)).map_err(&failed)?;
    Ok(Identity { incarnation: files.random(), config })
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
