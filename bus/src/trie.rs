//! Patterns by token: a tree in which each step from the root is one token of a pattern, so that the patterns that
//! match a subject are found together.
//!
//! A node exists only while a pattern goes through it. Looking a subject up visits each node at most once, and goes no
//! deeper than a name has tokens (256, as a name has at most 512 bytes), so the recursion is bounded.

use std::collections::HashMap;

use sinew_session::{PatternToken, is_reserved, split_token};

use crate::{SubscriptionKey, Target};

/// Up to so many literal tokens of one node are searched one by one: faster than hashing, and most nodes have one.
const FEW_MAX: usize = 8;

#[derive(Debug)]
pub(crate) struct Node<T> {
    literals: Literals<T>,
    /// Where `*` leads.
    one: Option<Box<Self>>,
    /// Whose pattern ends here, by key.
    here: Vec<Target<T>>,
    /// Whose pattern goes on with `>`, by key.
    below: Vec<Target<T>>,
}

/// The literal tokens that go on from a node. The map is the standard one with its keyed hash, since peers choose the
/// tokens and there may be many.
#[derive(Debug)]
enum Literals<T> {
    Few(Vec<(Box<[u8]>, Node<T>)>),
    #[allow(clippy::box_collection, reason = "half the size of a node, of which most have few children")]
    Many(Box<HashMap<Box<[u8]>, Node<T>>>),
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { literals: Literals::Few(Vec::new()), one: None, here: Vec::new(), below: Vec::new() }
    }
}

impl<T> Node<T> {
    /// Adds a target at the end of the pattern whose tokens are left.
    pub(crate) fn insert<'a>(&mut self, tokens: impl Iterator<Item = PatternToken<'a>>, target: Target<T>) {
        let mut node = self;
        for token in tokens {
            node = match token {
                PatternToken::Literal(token) => node.literals.or_insert(token),
                PatternToken::One => node.one.get_or_insert_default(),
                PatternToken::Rest => return insert_by_key(&mut node.below, target),
            };
        }
        insert_by_key(&mut node.here, target);
    }

    /// Takes a target from the end of the pattern whose tokens are left, and every node that it leaves empty.
    pub(crate) fn remove<'a>(&mut self, tokens: &mut dyn Iterator<Item = PatternToken<'a>>, key: SubscriptionKey) {
        match tokens.next() {
            None => remove_by_key(&mut self.here, key),
            Some(PatternToken::Rest) => remove_by_key(&mut self.below, key),
            Some(PatternToken::One) => {
                if let Some(one) = &mut self.one {
                    one.remove(tokens, key);
                    self.one.take_if(|one| one.is_empty());
                }
            }
            Some(PatternToken::Literal(token)) => {
                if let Some(child) = self.literals.child_mut(token) {
                    child.remove(tokens, key);
                    if child.is_empty() {
                        self.literals.remove(token);
                    }
                }
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.literals.is_empty() && self.one.is_none() && self.here.is_empty() && self.below.is_empty()
    }

    /// At the root: whether some pattern stands for a subject that begins with these tokens and has more.
    pub(crate) fn reaches_below(&self, prefix: &[u8]) -> bool {
        self.reaches(Some(prefix), !is_reserved(prefix))
    }

    fn reaches(&self, left: Option<&[u8]>, wildcards: bool) -> bool {
        if wildcards && !self.below.is_empty() {
            return true;
        }
        let Some(left) = left else { return !self.literals.is_empty() || self.one.is_some() };
        let (token, rest) = split_token(left);
        self.literals.child(token).is_some_and(|child| child.reaches(rest, true))
            || (wildcards && self.one.as_ref().is_some_and(|one| one.reaches(rest, true)))
    }

    /// How many nodes there are, this one included.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        let literals: usize = match &self.literals {
            Literals::Few(few) => few.iter().map(|(_, child)| child.count()).sum(),
            Literals::Many(many) => many.values().map(Self::count).sum(),
        };
        1 + literals + self.one.as_ref().map_or(0, |one| one.count())
    }
}

impl<T: Clone> Node<T> {
    /// At the root: adds everybody whose pattern matches the subject, which must be valid.
    pub(crate) fn collect(&self, subject: &[u8], out: &mut Vec<Target<T>>) {
        self.descend(subject, !is_reserved(subject), out);
    }

    fn descend(&self, left: &[u8], wildcards: bool, out: &mut Vec<Target<T>>) {
        let (token, rest) = split_token(left);
        if let Some(child) = self.literals.child(token) {
            child.arrive(rest, out);
        }
        if wildcards {
            out.extend_from_slice(&self.below);
            if let Some(one) = &self.one {
                one.arrive(rest, out);
            }
        }
    }

    fn arrive(&self, rest: Option<&[u8]>, out: &mut Vec<Target<T>>) {
        match rest {
            None => out.extend_from_slice(&self.here),
            Some(left) => self.descend(left, true, out),
        }
    }
}

impl<T> Literals<T> {
    fn is_empty(&self) -> bool {
        match self {
            Self::Few(few) => few.is_empty(),
            Self::Many(many) => many.is_empty(),
        }
    }

    fn child(&self, token: &[u8]) -> Option<&Node<T>> {
        match self {
            Self::Few(few) => few.iter().find(|(name, _)| **name == *token).map(|(_, child)| child),
            Self::Many(many) => many.get(token),
        }
    }

    fn child_mut(&mut self, token: &[u8]) -> Option<&mut Node<T>> {
        match self {
            Self::Few(few) => few.iter_mut().find(|(name, _)| **name == *token).map(|(_, child)| child),
            Self::Many(many) => many.get_mut(token),
        }
    }

    fn or_insert(&mut self, token: &[u8]) -> &mut Node<T> {
        if let Self::Few(few) = self
            && few.len() == FEW_MAX
            && !few.iter().any(|(name, _)| **name == *token)
        {
            *self = Self::Many(Box::new(std::mem::take(few).into_iter().collect()));
        }
        match self {
            Self::Few(few) => {
                let index = few.iter().position(|(name, _)| **name == *token).unwrap_or_else(|| {
                    // Exactly one more: a chain of nodes with one child each is what costs memory.
                    few.reserve_exact(1);
                    few.push((token.into(), Node::default()));
                    few.len() - 1
                });
                &mut few[index].1
            }
            Self::Many(many) => many.entry(token.into()).or_default(),
        }
    }

    fn remove(&mut self, token: &[u8]) {
        match self {
            Self::Few(few) => few.retain(|(name, _)| **name != *token),
            Self::Many(many) => {
                many.remove(token);
                if many.len() < many.capacity() / 4 {
                    many.shrink_to(many.len() * 2);
                }
                if many.is_empty() {
                    *self = Self::Few(Vec::new());
                }
            }
        }
    }
}

fn insert_by_key<T>(targets: &mut Vec<Target<T>>, target: Target<T>) {
    match targets.binary_search_by_key(&target.key, |target| target.key) {
        Ok(index) => targets[index] = target,
        Err(index) => targets.insert(index, target),
    }
}

fn remove_by_key<T>(targets: &mut Vec<Target<T>>, key: SubscriptionKey) {
    if let Ok(index) = targets.binary_search_by_key(&key, |target| target.key) {
        targets.remove(index);
        if targets.len() < targets.capacity() / 4 {
            targets.shrink_to(targets.len() * 2);
        }
    }
}
