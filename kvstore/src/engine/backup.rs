//! Copies of one bucket: made beside its writes and readers, and made a bucket again.

use std::path::Path;

use sinew_hosting::{Folder, GoOn, locked};

use super::Host;
use super::folder::{FIRST, Identity, JOURNAL};
use super::stored_bucket::StoredBucket;
use crate::{BackedUp, Result};

/// Copies a bucket. The table is not copied: it follows.
pub(super) fn backup(bucket: &StoredBucket, target: &Path, go_on: GoOn<'_>) -> Result<BackedUp> {
    let mut copy = bucket.folder.copy_to(target, go_on)?;
    // Nothing is removed under it.
    let _one = locked(&bucket.upkeep);
    let copied = copy.journal(JOURNAL, &bucket.reader())?;
    copy.number(FIRST, locked(&bucket.shown).first)?;
    copy.finish(&bucket.config())?;
    Ok(BackedUp { revision: copied.next, bytes: copied.bytes })
}

/// Copies a backup's files into a bucket's folder, and gives what the bucket is to be: another than the one that was
/// copied, so that no table is taken for its own.
pub(super) fn restore(host: &Host, folder: &Folder, source: &Path, go_on: GoOn<'_>) -> Result<Identity> {
    let config = folder.config_of_copy(source)?;
    folder.take_file(source, FIRST)?;
    folder.take_journals(source, go_on)?;
    Ok(Identity { incarnation: host.files().random(), config })
}
