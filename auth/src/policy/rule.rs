//! One rule and one role: what is allowed or denied. Pure; their text is the whole of what a policy file says in one line.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::pattern;
use crate::authorize::Resource;
use crate::operation::{Operation, ResourceKind};

/// `OPERATION PATTERN`, as it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    text: String,
    operations: Operations,
    pattern: String,
    line: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operations {
    /// `*`
    All,
    /// `bus.*`
    Service(&'static str),
    One(Operation),
}

impl Rule {
    /// Reads a rule; the error says what is wrong and what is expected.
    pub(super) fn parse(text: &str, line: usize) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let (Some(operation), Some(pattern), None) = (words.next(), words.next(), words.next()) else {
            let shown = text.escape_debug();
            return Err(format!("`{shown}` is no rule; write OPERATION PATTERN, such as \"bus.publish orders.>\""));
        };
        let operations = Operations::parse(operation)?;
        if let Some(fault) = pattern::fault(pattern) {
            return Err(fault);
        }
        match operations.kind() {
            Some(kind) if !matches!(kind, ResourceKind::Subject | ResourceKind::Key) && pattern.contains('.') => {
                Err(format!("`{pattern}` matches no {kind}: its name is one token; write `*` for every {kind}"))
            }
            _ => Ok(Self { text: format!("{operation} {pattern}"), operations, pattern: pattern.into(), line }),
        }
    }

    /// Whether it speaks of this operation on all of the resource.
    fn covers(&self, operation: Operation, resource: Resource<'_>) -> bool {
        self.operations.include(operation)
            && match self.spoken_of(operation, resource) {
                Resource::Name(name) => pattern::matches(&self.pattern, name),
                Resource::Pattern(asked) => pattern::contains(&self.pattern, asked),
            }
    }

    /// The pattern that speaks of this operation as it is written, without the short form for whole buckets: `None` where it
    /// speaks of others only.
    pub(super) fn spoken(&self, operation: Operation) -> Option<Cow<'_, str>> {
        self.operations.include(operation).then(|| {
            let is_short = operation.kind() == ResourceKind::Key && !self.pattern.contains('.') && self.pattern != ">";
            if is_short { format!("{}.>", self.pattern).into() } else { self.pattern.as_str().into() }
        })
    }

    /// Whether it speaks of this operation on some of the resource.
    pub(super) fn touches(&self, operation: Operation, resource: Resource<'_>) -> bool {
        self.operations.include(operation)
            && match self.spoken_of(operation, resource) {
                Resource::Name(name) => pattern::matches(&self.pattern, name),
                Resource::Pattern(asked) => pattern::overlap(&self.pattern, asked),
            }
    }

    /// The part of a resource that decides. A rule of one token speaks of whole buckets, so of a key its bucket decides;
    /// any other speaks of the resource as it is.
    fn spoken_of<'a>(&self, operation: Operation, resource: Resource<'a>) -> Resource<'a> {
        if operation.kind() != ResourceKind::Key || self.pattern.contains('.') {
            return resource;
        }
        let first = |text: &'a str| text.split('.').next().unwrap_or(text);
        match resource {
            Resource::Name(name) => Resource::Name(first(name)),
            // The first token of what `>` matches is any token.
            Resource::Pattern(">") => Resource::Pattern("*"),
            Resource::Pattern(asked) => Resource::Pattern(first(asked)),
        }
    }
}

impl Operations {
    fn parse(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::All);
        }
        let Some(service) = text.strip_suffix(".*") else {
            return text.parse().map(Self::One).map_err(|error| format!("{error}, all of a service (`bus.*`) and `*`"));
        };
        let services: BTreeSet<&str> = Operation::ALL.iter().map(|operation| operation.service()).collect();
        services.get(service).map(|service| Self::Service(service)).ok_or_else(|| {
            let known: Vec<&str> = services.iter().copied().collect();
            format!("`{}` is no service; there are {}", service.escape_debug(), known.join(", "))
        })
    }

    fn include(self, operation: Operation) -> bool {
        match self {
            Self::All => true,
            Self::Service(service) => operation.service() == service,
            Self::One(one) => one == operation,
        }
    }

    /// The one kind of resource that all of them are about.
    fn kind(self) -> Option<ResourceKind> {
        let mut kinds = Operation::ALL.iter().filter(|operation| self.include(**operation)).map(|o| o.kind());
        let first = kinds.next()?;
        kinds.all(|kind| kind == first).then_some(first)
    }
}

/// What a peer of this role may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Role {
    pub(super) name: String,
    pub(super) allow: Vec<Rule>,
    pub(super) deny: Vec<Rule>,
}

/// A rule that decides, said in words.
pub(super) type Ground = String;

impl Role {
    /// The rule that denies it, if one does: one that speaks of any part of the resource.
    pub(super) fn denies(&self, operation: Operation, resource: Resource<'_>) -> Option<Ground> {
        let rule = self.deny.iter().find(|rule| rule.touches(operation, resource))?;
        Some(self.said("deny", rule))
    }

    /// The rule that allows it, if one does: one alone that speaks of all of the resource.
    pub(super) fn allows(&self, operation: Operation, resource: Resource<'_>) -> Option<Ground> {
        let rule = self.allow.iter().find(|rule| rule.covers(operation, resource))?;
        Some(self.said("allow", rule))
    }

    fn said(&self, list: &str, rule: &Rule) -> Ground {
        format!("rule `{}` in `{list}` of role `{}` (line {} of the policy)", rule.text, self.name, rule.line)
    }
}
