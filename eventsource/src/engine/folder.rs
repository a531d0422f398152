//! Where a stream stands on disk, in a folder as [`Folder`] has it.
//!
//! ```text
//! log/<name>/stream        its configuration
//! log/<name>/compacted     up to where it was compacted
//! log/<name>/events/       the journal of its events and producers
//! log/<name>/cursors/      the journal of its cursors, once there is one
//! ```

use sinew_hosting::{Folder, Layout};
use sinew_session::ResourceName;

use super::Host;

/// The journal of events.
pub(crate) const EVENTS: &str = "events";
/// The journal of cursors.
pub(crate) const CURSORS: &str = "cursors";
/// Up to which offset it was compacted.
pub(super) const COMPACTED: &str = "compacted";
/// All of it.
pub(super) static LAYOUT: Layout = Layout { root: "log", config: "stream", journals: &[EVENTS, CURSORS] };

pub(super) fn folder(host: &Host, name: &ResourceName) -> Folder {
    Folder::new(&host.directory, &LAYOUT, name)
}
