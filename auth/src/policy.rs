//! The policy: who may do what, read from a file and looked at again when it changes. The file's text is in
//! `policy/document.rs`, rules in `policy/rule.rs`, the decision in `policy/snapshot.rs`, writing in `policy/edit.rs`.
//!
//! What must hold:
//! 1. A decision looks at one snapshot, which is replaced whole: it never sees half of a change, and waits for no file.
//! 2. A change that cannot be read changes nothing: not who comes in, not what they may do.
//! 3. The snapshot is in force before the generation changes, so that whoever judges anew after a change of generation
//!    judges by it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use crate::admit::{Admit, Candidate, Refusal};
use crate::allowlist::{Table, load};
use crate::authorize::{Authorize, Decision, Resource};
use crate::disk::{self, Stamp};
use crate::error::FileError;
use crate::key::PeerKey;
use crate::operation::Operation;

mod document;
mod pattern;
mod rule;
pub use document::{POLICY_BYTES_MAX, POLICY_PEER_ROLES_MAX, POLICY_PEERS_MAX, POLICY_ROLES_MAX, POLICY_RULES_MAX};
mod snapshot;
mod somewhere;
use snapshot::Snapshot;
mod edit;

/// Where a policy and its lists stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyFiles {
    /// The policy file, which need not be there.
    pub policy: PathBuf,
    /// Lists of keys, as [`Allowlist::open`](crate::Allowlist::open) takes them.
    pub allowlist: Vec<PathBuf>,
    /// The same for the keys of this account's own clients.
    pub own: Vec<PathBuf>,
}

/// Who comes in and what they may do, on every transport: a policy file beside an [`Allowlist`](crate::Allowlist).
///
/// ```toml
/// version = 1
///
/// [roles.sensor]
/// allow = ["bus.publish sensors.>", "bus.subscribe commands.*"]
/// deny = ["bus.publish sensors.private.>"]
///
/// [roles.operator]
/// allow = ["* >"]
///
/// [peers.thermometer]
/// key = "mfrggzdfmztwq2lknnwg23tpobyxe43uov3ho6dzpiydcmrtgq2q"
/// roles = ["sensor"]
/// ```
/// A rule is an [`Operation`] (or all of a service, `bus.*`, or `*`) and a pattern of names (`*` one token, `>` one or
/// more at the end; neither matches a first token that begins with `$`, which a rule must write out).
///
/// - Keys of the key-value store are named with their bucket, `kv.read config.lights.*`; a bucket alone, `kv.read config`,
///   stands for all of its keys. `kv.manage` takes the bucket alone. Copies of changes on the bus, below `$KV.`, are heard by
///   whoever may `kv.read` what they are of; `bus.subscribe` does not speak of them.
/// - What no rule allows is denied, and a rule in `deny`, of any role of the peer, wins.
/// - A pattern that is asked for (a subscription) must lie within one rule that allows, and touch none that denies.
/// - A list of buckets, streams or queues shows those in which a peer may do something, be it to one key of a bucket.
/// - A key that the file names comes in and has its roles.
/// - A key on the allowlist that the file does not name has the role `default`, if there is one, and else may do nothing.
/// - A key of this account's own clients that the file does not name may do everything: who holds it could write the file.
/// - Without a policy file every listed key may do everything.
///
/// The files are looked at when somebody knocks and whenever [`refresh`](Authorize::refresh) is called. One that has
/// become bad, or a policy file that is gone, keeps everything as it was and says so in the log: `sinew::audit`.
#[derive(Debug)]
pub struct Policy {
    files: PolicyFiles,
    loader: Mutex<Loader>,
    current: RwLock<Arc<Snapshot>>,
    generation: AtomicU64,
}

/// What was read when.
#[derive(Debug)]
struct Loader {
    stamps: Vec<(PathBuf, Stamp)>,
    /// What is wrong with the files as they are now.
    problem: Option<String>,
}

/// A key that is let in, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedPeer {
    /// Its key.
    pub key: PeerKey,
    /// Its name; may be empty.
    pub name: String,
    /// What lists it.
    pub listed: ListedBy,
    /// The roles it has; `None` where it may do everything.
    pub roles: Option<Vec<String>>,
}

/// What lists a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListedBy {
    /// The policy file.
    Policy,
    /// An allowlist.
    Allowlist,
    /// The directory of this account's own clients.
    Own,
}

impl Policy {
    /// Reads the files.
    ///
    /// # Errors
    /// Those of [`Allowlist::open`](crate::Allowlist::open); for the policy file [`FileError::Unsafe`] if everybody can
    /// write to it, [`FileError::Line`] and [`FileError::Key`] with file and line, [`FileError::TooLarge`].
    pub fn open(files: PolicyFiles) -> Result<Self, FileError> {
        let (snapshot, stamps) = read(&files);
        Ok(Self {
            files,
            loader: Mutex::new(Loader { stamps, problem: None }),
            current: RwLock::new(Arc::new(snapshot?)),
            generation: AtomicU64::new(0),
        })
    }

    /// Whether there is a policy file.
    pub fn has_rules(&self) -> bool {
        self.now().book.is_some()
    }

    /// The roles of the policy file, by name.
    pub fn roles(&self) -> Vec<String> {
        self.now().book.iter().flat_map(|book| book.roles.keys().cloned()).collect()
    }

    /// Who is let in, sorted by name and key.
    pub fn peers(&self) -> Vec<ListedPeer> {
        let snapshot = self.now();
        let listed = |key: &PeerKey| match () {
            () if snapshot.is_named(key) => ListedBy::Policy,
            () if snapshot.is_own(key) => ListedBy::Own,
            () => ListedBy::Allowlist,
        };
        let mut peers: Vec<ListedPeer> = snapshot
            .table
            .keys()
            .map(|key| ListedPeer {
                key,
                name: snapshot.table.name(&key).unwrap_or_default().to_owned(),
                listed: listed(&key),
                roles: snapshot.roles(&key),
            })
            .collect();
        peers.sort_by(|a, b| (&a.name, a.key).cmp(&(&b.name, b.key)));
        peers
    }

    /// What is wrong with the files as they are now; `None` where what they say is in force.
    pub fn problem(&self) -> Option<String> {
        self.loader().problem.clone()
    }

    fn now(&self) -> Arc<Snapshot> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn loader(&self) -> MutexGuard<'_, Loader> {
        self.loader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reload(&self, loader: &mut Loader) {
        let (read, stamps) = read(&self.files);
        loader.stamps = stamps;
        let old = self.now();
        let read = read.and_then(|new| match (&old.book, &new.book) {
            // Gone for the moment that an editor takes, or for good: neither may open the door to everything.
            (Some(_), None) => Err(FileError::Missing { path: self.files.policy.clone() }),
            _ => Ok(new),
        });
        match read {
            Ok(new) => {
                loader.problem = None;
                if new != *old {
                    self.put_in_force(new);
                }
            }
            Err(error) => {
                let problem = chain(&error);
                if loader.problem.as_ref() != Some(&problem) {
                    tracing::warn!(target: "sinew::audit", %problem, "the policy changed and cannot be read; everything stays as it was before");
                    loader.problem = Some(problem);
                }
            }
        }
    }

    fn put_in_force(&self, new: Snapshot) {
        let peers = new.table.len();
        let roles = new.book.as_ref().map_or(0, |book| book.roles.len());
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        let generation = self.generation.fetch_add(1, Ordering::AcqRel) + 1;
        tracing::info!(target: "sinew::audit", generation, peers, roles, "the policy changed and is in force");
    }
}

impl Authorize for Policy {
    fn decide(&self, who: Option<&PeerKey>, operation: Operation, resource: Resource<'_>) -> Decision {
        self.now().decide(who, operation, resource)
    }

    fn permits_some(&self, who: Option<&PeerKey>, operation: Operation, pattern: &str) -> bool {
        self.now().permits_some(who, operation, pattern)
    }

    fn admits(&self, who: Option<&PeerKey>) -> bool {
        who.is_some_and(|key| self.now().table.has(key))
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    fn refresh(&self) {
        let mut loader = self.loader();
        if !loader.stamps.iter().all(|(path, stamp)| stamp.is_current(path)) {
            self.reload(&mut loader);
        }
    }

    fn name(&self, who: &PeerKey) -> Option<String> {
        self.now().table.name(who).map(str::to_owned)
    }
}

impl Admit for Policy {
    fn admit(&self, candidate: &Candidate<'_>) -> Result<Option<PeerKey>, Refusal> {
        self.refresh();
        self.now().table.admit(candidate)
    }
}

fn read(files: &PolicyFiles) -> (Result<Snapshot, FileError>, Vec<(PathBuf, Stamp)>) {
    let mut stamps = vec![(files.policy.clone(), Stamp::of(&files.policy))];
    let (allowlist, listed) = load(&files.allowlist);
    let (own, owned) = load(&files.own);
    stamps.extend(listed.into_iter().chain(owned));
    let snapshot = |allowlist: Table, own: Table| Snapshot::new(&files.policy, read_book(files)?, allowlist, own);
    (allowlist.and_then(|allowlist| snapshot(allowlist, own?)), stamps)
}

fn read_book(files: &PolicyFiles) -> Result<Option<document::Book>, FileError> {
    match disk::read(&files.policy, POLICY_BYTES_MAX) {
        Ok(contents) => {
            disk::check_list(&files.policy)?;
            document::parse(&files.policy, &contents).map(Some)
        }
        Err(FileError::Missing { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// An error and what caused it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod matrix;
#[cfg(test)]
mod tests;
