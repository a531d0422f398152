//! The text of a policy file: from TOML to roles and peers, or to an error with its line. Writing is in `edit.rs`.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use toml_edit::{Document, Item, TableLike};

use super::rule::{Role, Rule};
use crate::error::FileError;
use crate::key::PeerKey;

/// Bytes of a policy file: ten times the largest that the other limits leave room for in practice.
pub const POLICY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Peers of a policy file, as many as an allowlist has lines.
pub const POLICY_PEERS_MAX: usize = 10_000;
/// Roles of a policy file: more than anybody keeps apart.
pub const POLICY_ROLES_MAX: usize = 1_000;
/// Rules of one role. A decision looks at each rule of a peer's roles, in well under a microsecond.
pub const POLICY_RULES_MAX: usize = 1_000;
/// Roles of one peer.
pub const POLICY_PEER_ROLES_MAX: usize = 16;
/// The longest name of a peer or a role in bytes.
pub(super) const NAME_BYTES_MAX: usize = 128;

/// What a policy file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Book {
    pub(super) roles: BTreeMap<String, Arc<Role>>,
    pub(super) peers: Vec<PolicyPeer>,
}

/// A peer that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PolicyPeer {
    pub(super) key: PeerKey,
    pub(super) name: String,
    pub(super) roles: Vec<Arc<Role>>,
    pub(super) line: usize,
}

/// Reads a policy file's contents; `path` is for its errors.
pub(super) fn parse(path: &Path, contents: &[u8]) -> Result<Book, FileError> {
    let reader = Reader { path, contents };
    let text = std::str::from_utf8(contents)
        .map_err(|error| reader.refused(Some(error.valid_up_to()..0), "it is not UTF-8 text; save it as UTF-8"))?;
    let document = Document::parse(text).map_err(|error| {
        let why = error.message().lines().collect::<Vec<_>>().join(", ");
        reader.refused(error.span(), format!("it is no TOML: {why}"))
    })?;
    reader.book(document.as_table())
}

struct Reader<'a> {
    path: &'a Path,
    contents: &'a [u8],
}

impl Reader<'_> {
    fn book(&self, top: &dyn TableLike) -> Result<Book, FileError> {
        self.known(top, &["version", "roles", "peers"], "the policy file")?;
        match top.get("version").map(|version| (version.as_integer(), version.span())) {
            Some((Some(1), _)) => {}
            None => return Err(self.refused(None, "it has no version; begin it with `version = 1`")),
            Some((_, span)) => {
                return Err(self.refused(span, "this program reads policy files of `version = 1` alone; write that, or use the program that wrote it"));
            }
        }
        let mut book = Book::default();
        for (name, item) in self.entries(top, "roles", POLICY_ROLES_MAX)? {
            book.roles.insert(name.clone(), Arc::new(self.role(name, item)?));
        }
        let mut keys = HashSet::new();
        for (name, item) in self.entries(top, "peers", POLICY_PEERS_MAX)? {
            let peer = self.peer(name, item, &book.roles)?;
            if !keys.insert(peer.key) {
                let why = format!("`{}` has the key of another peer above; name each key once", peer.name);
                return Err(self.refused(item.span(), why));
            }
            book.peers.push(peer);
        }
        Ok(book)
    }

    /// The named entries of one of the two tables.
    fn entries<'t>(
        &self,
        top: &'t dyn TableLike,
        what: &str,
        max: usize,
    ) -> Result<Vec<(String, &'t Item)>, FileError> {
        let Some(item) = top.get(what) else { return Ok(Vec::new()) };
        let table = self.table(item, what)?;
        if table.len() > max {
            return Err(
                self.refused(item.span(), format!("there are {} {what} and may be {max}; remove some", table.len()))
            );
        }
        table.iter().map(|(name, item)| Ok((self.name(name, item)?, item))).collect()
    }

    fn role(&self, name: String, item: &Item) -> Result<Role, FileError> {
        let table = self.table(item, "a role")?;
        self.known(table, &["allow", "deny"], &format!("role `{name}`"))?;
        let (allow, deny) = (self.rules(table, "allow")?, self.rules(table, "deny")?);
        if allow.len() + deny.len() > POLICY_RULES_MAX {
            let why = format!(
                "role `{name}` has {} rules and may have {POLICY_RULES_MAX}; split it",
                allow.len() + deny.len()
            );
            return Err(self.refused(item.span(), why));
        }
        Ok(Role { name, allow, deny })
    }

    fn rules(&self, role: &dyn TableLike, list: &str) -> Result<Vec<Rule>, FileError> {
        let rule = |(text, line): (String, usize)| Rule::parse(&text, line).map_err(|why| self.at(line, why));
        self.texts(role, list)?.into_iter().map(rule).collect()
    }

    fn peer(&self, name: String, item: &Item, roles: &BTreeMap<String, Arc<Role>>) -> Result<PolicyPeer, FileError> {
        let table = self.table(item, "a peer")?;
        self.known(table, &["key", "roles"], &format!("peer `{name}`"))?;
        let key = table.get("key").and_then(|key| Some((key.as_str()?, self.line(key.span()))));
        let Some((key, line)) = key else {
            let why = format!("peer `{name}` has no key; write `key = \"…\"`, as `sinew keys show` prints it there");
            return Err(self.refused(item.span(), why));
        };
        let key = key.parse().map_err(|cause| FileError::Key { path: self.path.into(), line, cause })?;
        let named = self.texts(table, "roles")?;
        if named.len() > POLICY_PEER_ROLES_MAX {
            let why =
                format!("peer `{name}` has {} roles and may have {POLICY_PEER_ROLES_MAX}; merge some", named.len());
            return Err(self.refused(item.span(), why));
        }
        let role = |(role, line): (String, usize)| {
            roles.get(&role).cloned().ok_or_else(|| {
                let shown = role.escape_debug();
                self.at(line, format!("there is no role `{shown}`; write it as `[roles.{shown}]`, or name another"))
            })
        };
        let roles = named.into_iter().map(role).collect::<Result<_, _>>()?;
        Ok(PolicyPeer { key, name, roles, line })
    }

    /// A list of texts with their lines; none where it is missing.
    fn texts(&self, table: &dyn TableLike, name: &str) -> Result<Vec<(String, usize)>, FileError> {
        let Some(item) = table.get(name) else { return Ok(Vec::new()) };
        let wanted = |span| self.refused(span, format!("`{name}` must be a list of texts: `{name} = [\"…\"]`"));
        let array = item.as_array().ok_or_else(|| wanted(item.span()))?;
        let text = |value: &toml_edit::Value| {
            let text = value.as_str().ok_or_else(|| wanted(value.span()))?;
            Ok((text.to_owned(), self.line(value.span())))
        };
        array.iter().map(text).collect()
    }

    fn table<'t>(&self, item: &'t Item, what: &str) -> Result<&'t dyn TableLike, FileError> {
        item.as_table_like().ok_or_else(|| self.refused(item.span(), format!("{what} must be a table")))
    }

    fn name(&self, name: &str, item: &Item) -> Result<String, FileError> {
        match name_fault(name) {
            Some(why) => Err(self.refused(item.span(), why)),
            None => Ok(name.to_owned()),
        }
    }

    /// A word that nobody reads is a mistake: one left out of a policy could let somebody do too much.
    fn known(&self, table: &dyn TableLike, words: &[&str], what: &str) -> Result<(), FileError> {
        match table.iter().find(|(word, _)| !words.contains(word)) {
            None => Ok(()),
            Some((word, item)) => {
                let span = table.key(word).and_then(toml_edit::Key::span).or_else(|| item.span());
                let why = format!("{what} has no `{}`; it takes {}", word.escape_debug(), words.join(", "));
                Err(self.refused(span, why))
            }
        }
    }

    fn refused(&self, span: Option<Range<usize>>, why: impl Into<String>) -> FileError {
        self.at(self.line(span), why.into())
    }

    fn at(&self, line: usize, why: String) -> FileError {
        FileError::Line { path: self.path.into(), line, why }
    }

    fn line(&self, span: Option<Range<usize>>) -> usize {
        let before = &self.contents[..span.map_or(0, |span| span.start).min(self.contents.len())];
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }
}

/// Why `name` cannot be the name of a peer or a role.
pub(super) fn name_fault(name: &str) -> Option<String> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Some(format!("a name has 1 to {NAME_BYTES_MAX} bytes, this one {}", name.len()));
    }
    let odd = name.chars().find(|c| c.is_control())?;
    Some(format!("the name `{}` contains {odd:?}; names are plain text", name.escape_debug()))
}
