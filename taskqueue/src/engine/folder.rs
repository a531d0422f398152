//! Where a queue stands on disk, in a folder as [`Folder`] has it.
//!
//! ```text
//! queues/<name>/queue       its configuration
//! queues/<name>/journal/    the journal of what changed; none where the queue is in memory
//! ```

use sinew_hosting::{Folder, Layout};
use sinew_session::ResourceName;

use super::Host;

/// The journal of what changed.
pub(super) const JOURNAL: &str = "journal";
/// All of it.
pub(super) static LAYOUT: Layout = Layout { root: "queues", config: "queue", journals: &[JOURNAL] };

pub(super) fn folder(host: &Host, name: &ResourceName) -> Folder {
    Folder::new(&host.directory, &LAYOUT, name)
}
