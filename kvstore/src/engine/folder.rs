//! Where a bucket stands on disk, in a folder as [`Folder`] has it.
//!
//! ```text
//! kv/<name>/bucket        its configuration, and which life of the name it is
//! kv/<name>/first         from which revision on all changes are kept, once some were removed
//! kv/<name>/journal/      the journal of its changes
//! ```

use serde::{Deserialize, Serialize};
use sinew_hosting::{Folder, Layout};
use sinew_session::ResourceName;

use super::Host;
use crate::BucketConfig;

/// The journal of changes.
pub(super) const JOURNAL: &str = "journal";
/// From which revision on all changes are kept.
pub(super) const FIRST: &str = "first";
/// All of it.
pub(super) static LAYOUT: Layout = Layout { root: "kv", config: "bucket", journals: &[JOURNAL] };

/// What stands in `bucket`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    /// Which life of the name it is, random: what a table of another one has is not this one's.
    pub(super) incarnation: u64,
    pub(super) config: BucketConfig,
}

pub(super) fn folder(host: &Host, name: &ResourceName) -> Folder {
    Folder::new(&host.directory, &LAYOUT, name)
}
