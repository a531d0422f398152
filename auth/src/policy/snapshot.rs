//! What a policy says at one moment, and the decision as a pure function of it. It is replaced whole, never changed.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::document::{Book, PolicyPeer};
use super::rule::Role;
use super::somewhere::allowed_somewhere;
use crate::allowlist::Table;
use crate::authorize::{Decision, Resource};
use crate::error::FileError;
use crate::key::PeerKey;
use crate::operation::Operation;

/// The role of peers that are listed and have none.
const DEFAULT_ROLE: &str = "default";

/// All lists together.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Snapshot {
    /// Who is let in, from all lists.
    pub(super) table: Table,
    /// `None` where there is no policy file.
    pub(super) book: Option<Book>,
    /// Index into the book's peers.
    named: HashMap<PeerKey, usize>,
    /// Keys of this account's own clients.
    own: HashSet<PeerKey>,
}

/// Where a key stands with a policy.
enum Standing<'a> {
    Stranger,
    /// Its word is enough; why.
    Everything(&'static str),
    Roles(Cow<'a, [Arc<Role>]>),
    /// Listed, but no rule speaks of it.
    Nothing,
}

impl Snapshot {
    /// Puts the lists together: names of the policy file win.
    ///
    /// # Errors
    /// [`FileError::SameCurveKey`] for two keys that are one to a CURVE peer.
    pub(super) fn new(
        path: &std::path::Path,
        book: Option<Book>,
        allowlist: Table,
        own: Table,
    ) -> Result<Self, FileError> {
        let mut snapshot = Self { own: own.keys().collect(), ..Self::default() };
        for (index, PolicyPeer { key, name, line, .. }) in book.iter().flat_map(|book| book.peers.iter().enumerate()) {
            snapshot.table.insert(*key, name, path, *line)?;
            snapshot.named.insert(*key, index);
        }
        snapshot.table.merge(allowlist)?;
        snapshot.table.merge(own)?;
        snapshot.book = book;
        Ok(snapshot)
    }

    pub(super) fn decide(&self, who: Option<&PeerKey>, operation: Operation, resource: Resource<'_>) -> Decision {
        let Some(key) = who else {
            return denied("an anonymous peer may do nothing under a policy", "connect with an identity");
        };
        match self.standing(key) {
            Standing::Stranger => denied("its key is not listed", "allow it first: `sinew auth allow KEY`"),
            Standing::Everything(because) => Decision::Allowed { because: because.into() },
            Standing::Nothing => denied(
                "the policy names neither its key nor a role `default`",
                "give it a role: `sinew auth allow KEY --role ROLE`",
            ),
            Standing::Roles(roles) => judge(&roles, operation, resource),
        }
    }

    /// Whether it is allowed to some name within the pattern.
    pub(super) fn permits_some(&self, who: Option<&PeerKey>, operation: Operation, pattern: &str) -> bool {
        who.is_some_and(|key| match self.standing(key) {
            Standing::Stranger | Standing::Nothing => false,
            Standing::Everything(_) => true,
            Standing::Roles(roles) => allowed_somewhere(&roles, operation, pattern),
        })
    }

    /// The names of the roles that a key has; `None` where none are asked for.
    pub(super) fn roles(&self, key: &PeerKey) -> Option<Vec<String>> {
        match self.standing(key) {
            Standing::Roles(roles) => Some(roles.iter().map(|role| role.name.clone()).collect()),
            Standing::Nothing => Some(Vec::new()),
            Standing::Stranger | Standing::Everything(_) => None,
        }
    }

    pub(super) fn is_named(&self, key: &PeerKey) -> bool {
        self.named.contains_key(key)
    }

    pub(super) fn is_own(&self, key: &PeerKey) -> bool {
        self.own.contains(key)
    }

    fn standing(&self, key: &PeerKey) -> Standing<'_> {
        if !self.table.has(key) {
            return Standing::Stranger;
        }
        let Some(book) = &self.book else {
            return Standing::Everything("there is no policy file, so every listed key may do everything");
        };
        if let Some(index) = self.named.get(key) {
            return Standing::Roles(Cow::Borrowed(&book.peers[*index].roles));
        }
        if self.own.contains(key) {
            return Standing::Everything("a key of this account's own clients, which the policy does not name");
        }
        match book.roles.get(DEFAULT_ROLE) {
            Some(role) => Standing::Roles(Cow::Owned(vec![role.clone()])),
            None => Standing::Nothing,
        }
    }
}

/// Deny wins, in whichever role; what no rule allows is denied.
fn judge(roles: &[Arc<Role>], operation: Operation, resource: Resource<'_>) -> Decision {
    if let Some(ground) = roles.iter().find_map(|role| role.denies(operation, resource)) {
        return denied(ground, "change the rule, or ask for less");
    }
    if let Some(ground) = roles.iter().find_map(|role| role.allows(operation, resource)) {
        return Decision::Allowed { because: ground.into() };
    }
    let names: Vec<String> = roles.iter().map(|role| format!("`{}`", role.name)).collect();
    let because = match &names[..] {
        [] => "it has no role".to_owned(),
        [name] => format!("no rule of role {name} allows it"),
        names => format!("no rule of the roles {} allows it", names.join(", ")),
    };
    denied(because, "add one to the policy, such as \"OPERATION PATTERN\" in `allow`")
}

fn denied(because: impl Into<Cow<'static, str>>, next: &'static str) -> Decision {
    Decision::Denied { because: because.into(), next: next.into() }
}
