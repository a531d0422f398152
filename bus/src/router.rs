//! Who hears what. Invariants:
//!
//! 1. A subscription has one pattern and one role, so a route names it at most once, in one place.
//! 2. Every change of what anybody hears changes the generation, and nothing else does but [`Router::invalidate`]. So
//!    a route that was made at the present generation is right, and a cache need not be told of changes.
//! 3. A route is in the order of its keys: the same subscriptions give the same route, whatever order they came in,
//!    and those of one connection stand together.
//! 4. A queue group is known by its name alone: whatever patterns its members have, it stands once on a route.
//!
//! How many subscriptions a connection may have is judged by the caller. What they cost is bounded here, by their tokens:
//! one takes about 120 bytes where no other pattern shares it, and a route may have to visit each of them once.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::trie::Node;
use crate::{Error, Pattern, Result, Subject};

/// How many tokens the patterns of one connection may have together unless told otherwise: ten thousand subscriptions of
/// ordinary length, while the worst that a peer can make of it is 9 MiB and some 6 ms for a single route that is in
/// no cache.
pub const TOKENS_PER_CONNECTION_MAX_DEFAULT: usize = 65_536;

/// Names a subscription at the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionKey {
    /// The connection, numbered by the server and never used again.
    pub connection: u64,
    /// The subscription's number on that connection, chosen by the client.
    pub number: u32,
}

/// What a subscription is to the messages that match it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Role {
    /// It hears every message.
    #[default]
    Hearer,
    /// It is one of the queue group of this name, which hears every message once, whatever its members' patterns.
    Member(Arc<str>),
    /// It answers requests and hears nothing else.
    Responder,
}

/// A subscription on a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target<T> {
    /// Which one.
    pub key: SubscriptionKey,
    /// What it is to the message.
    pub role: Role,
    /// What the caller gave with it: where the messages go, so that delivering needs no look-up.
    pub to: T,
}

/// Everybody who hears a subject. Hearers, the members of each group, and responders are in the order of their keys,
/// the groups in the order of their names.
#[derive(Debug)]
pub struct Route<T> {
    hearers: Vec<Target<T>>,
    groups: Vec<Rotation<T>>,
    responders: Rotation<T>,
}

impl<T> Route<T> {
    /// The subscriptions that hear every message, each once, those of one connection side by side.
    #[inline]
    pub fn hearers(&self) -> &[Target<T>] {
        &self.hearers
    }

    /// The queue groups: each hears every message once.
    #[inline]
    pub fn groups(&self) -> &[Rotation<T>] {
        &self.groups
    }

    /// Those who answer requests.
    pub fn responders(&self) -> &Rotation<T> {
        &self.responders
    }

    /// Whether no message with this subject is heard by anybody.
    pub fn is_silent(&self) -> bool {
        self.hearers.is_empty() && self.groups.is_empty()
    }

    fn of(targets: Vec<Target<T>>, first: usize) -> Self {
        let (mut hearers, mut responders, mut members) = (Vec::new(), Vec::new(), BTreeMap::<_, Vec<_>>::new());
        for target in targets {
            match &target.role {
                Role::Hearer => hearers.push(target),
                Role::Responder => responders.push(target),
                Role::Member(group) => members.entry(Arc::clone(group)).or_default().push(target),
            }
        }
        let groups = members.into_iter().map(|(name, members)| Rotation::new(Some(name), members, first)).collect();
        Self { hearers, groups, responders: Rotation::new(None, responders, first) }
    }
}

/// Subscriptions that take turns.
#[derive(Debug)]
pub struct Rotation<T> {
    name: Option<Arc<str>>,
    members: Vec<Target<T>>,
    next: AtomicUsize,
}

impl<T> Rotation<T> {
    fn new(name: Option<Arc<str>>, members: Vec<Target<T>>, first: usize) -> Self {
        Self { name, members, next: AtomicUsize::new(first) }
    }

    /// The group's name.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// All of them, in the order of their keys.
    pub fn members(&self) -> &[Target<T>] {
        &self.members
    }

    /// All of them, beginning with the one whose turn it is; the next call begins with the one behind it.
    pub fn turn(&self) -> impl Iterator<Item = &Target<T>> + Clone {
        let count = self.members.len();
        let first = if count > 1 { self.next.fetch_add(1, Ordering::Relaxed) % count } else { 0 };
        self.members[first..].iter().chain(&self.members[..first])
    }
}

/// All subscriptions of a server, and what they listen to. `T` is cloned into every route: an `Arc` or an index.
#[derive(Debug)]
pub struct Router<T = ()> {
    root: Node<T>,
    patterns: BTreeMap<SubscriptionKey, Pattern>,
    /// Tokens in all patterns of a connection; none of 0.
    tokens: BTreeMap<u64, usize>,
    tokens_per_connection_max: usize,
    generation: Arc<AtomicU64>,
    nobody: Arc<Route<T>>,
    /// Whose turn it is first on the next route that is made: else every new route would begin with the same member.
    turn: AtomicUsize,
}

impl<T> Default for Router<T> {
    fn default() -> Self {
        Self::with_tokens_per_connection_max(TOKENS_PER_CONNECTION_MAX_DEFAULT)
    }
}

impl<T> Router<T> {
    /// A router without subscriptions, in which the patterns of one connection have at most so many tokens together.
    pub fn with_tokens_per_connection_max(tokens: usize) -> Self {
        Self {
            root: Node::default(),
            patterns: BTreeMap::new(),
            tokens: BTreeMap::new(),
            tokens_per_connection_max: tokens,
            generation: Arc::new(AtomicU64::new(1)),
            nobody: Arc::new(Route::of(Vec::new(), 0)),
            turn: AtomicUsize::new(0),
        }
    }
}

impl<T: Clone> Router<T> {
    /// Adds a subscription. Fails with [`Error::SubscriptionInUse`] if there is one with this key, and with
    /// [`Error::TooManyTokens`] if the connection's patterns would grow beyond the limit; nothing is changed then.
    pub fn subscribe(&mut self, key: SubscriptionKey, pattern: Pattern, role: Role, to: T) -> Result<()> {
        let Entry::Vacant(vacant) = self.patterns.entry(key) else {
            return Err(Error::SubscriptionInUse { connection: key.connection, number: key.number });
        };
        let (before, max) = (self.tokens.get(&key.connection).copied().unwrap_or(0), self.tokens_per_connection_max);
        let tokens = before + pattern.tokens().count();
        if tokens > max {
            return Err(Error::TooManyTokens { connection: key.connection, tokens, max });
        }
        self.tokens.insert(key.connection, tokens);
        self.root.insert(pattern.tokens(), Target { key, role, to });
        vacant.insert(pattern);
        self.invalidate();
        Ok(())
    }

    /// Takes a subscription away; gives its pattern, or `None` if there is no such subscription.
    pub fn unsubscribe(&mut self, key: SubscriptionKey) -> Option<Pattern> {
        let pattern = self.patterns.remove(&key)?;
        self.root.remove(&mut pattern.tokens(), key);
        if let Entry::Occupied(mut tokens) = self.tokens.entry(key.connection) {
            *tokens.get_mut() -= pattern.tokens().count();
            if *tokens.get() == 0 {
                tokens.remove();
            }
        }
        self.invalidate();
        Some(pattern)
    }

    /// Takes all subscriptions of a connection away; gives their number. Costs as much as that many `unsubscribe`.
    pub fn remove_connection(&mut self, connection: u64) -> usize {
        let first = SubscriptionKey { connection, number: 0 };
        let last = SubscriptionKey { connection, number: u32::MAX };
        let keys: Vec<_> = self.patterns.range(first..=last).map(|(key, _)| *key).collect();
        keys.iter().filter(|key| self.unsubscribe(**key).is_some()).count()
    }

    /// Who hears the subject now. Visits only the patterns that begin as the subject does; allocates the route. On the
    /// hot path ask a [`RouteCache`](crate::RouteCache) first.
    pub fn route(&self, subject: &Subject) -> Arc<Route<T>> {
        let mut targets = Vec::new();
        self.root.collect(subject.as_bytes(), &mut targets);
        if targets.is_empty() {
            return Arc::clone(&self.nobody);
        }
        targets.sort_unstable_by_key(|target| target.key);
        Arc::new(Route::of(targets, self.turn.fetch_add(1, Ordering::Relaxed)))
    }

    /// Whether a subscription stands for some subject that begins with these tokens and has more. A walk over them.
    pub fn is_heard_below(&self, prefix: &Subject) -> bool {
        self.root.reaches_below(prefix.as_bytes())
    }

    /// The pattern of a subscription.
    pub fn pattern(&self, key: SubscriptionKey) -> Option<&Pattern> {
        self.patterns.get(&key)
    }

    /// How many subscriptions there are.
    pub fn len(&self) -> usize {
        self.patterns.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// The present generation: a number that no earlier state of this router had. Never 0.
    pub fn generation(&self) -> u64 {
        // Only this router writes it, and whoever calls this has the router.
        self.generation.load(Ordering::Relaxed)
    }

    /// A reader of the generation for those who do not hold the router's lock.
    pub fn generation_watch(&self) -> GenerationWatch {
        GenerationWatch(Arc::clone(&self.generation))
    }

    /// Makes every cached route stale without changing who hears what: for when something else changed that routes
    /// depend on, such as the policy.
    pub fn invalidate(&mut self) {
        self.generation.fetch_add(1, Ordering::Release);
    }
}

/// Reads a router's generation without its lock. A publisher that sees a generation here sees at least the
/// subscriptions that were confirmed to anybody before.
#[derive(Debug, Clone)]
pub struct GenerationWatch(Arc<AtomicU64>);

impl GenerationWatch {
    /// The generation. Costs one load.
    #[inline]
    pub fn now(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(connection: u64, number: u32) -> SubscriptionKey {
        SubscriptionKey { connection, number }
    }

    fn pattern(text: &str) -> Pattern {
        Pattern::try_from(text).expect("a pattern of this test")
    }

    #[test]
    fn nothing_is_left_of_what_was_removed() {
        let mut router = Router::<()>::default();
        for number in 0..100 {
            let texts = ["a.b.c".into(), "a.*.c".into(), "a.>".into(), format!("x.{number}.y"), "*.b".into()];
            for (text, connection) in texts.iter().zip(1..) {
                router.subscribe(key(connection, number), pattern(text), Role::Hearer, ()).expect("a new key");
            }
        }
        assert_eq!(router.root.count(), 1 + 5 + 1 + 200 + 2, "root, a.b.c and a.*.c, x, its two hundred, *.b");
        assert!((1..=5).all(|connection| router.remove_connection(connection) == 100));
        assert!(router.is_empty() && router.root.is_empty() && router.tokens.is_empty());
        assert_eq!(router.root.count(), 1);
    }

    #[test]
    fn what_is_heard_below_a_prefix_is_known_without_a_subject() {
        let heard = |text: &str, prefix: &str| {
            let mut router = Router::<()>::default();
            router.subscribe(key(1, 1), pattern(text), Role::Hearer, ()).expect("a new key");
            router.is_heard_below(&Subject::try_from(prefix).expect("a subject of this test"))
        };
        for text in ["$a.b.c", "$a.b.>", "$a.>", "$a.*.c", "$a.b.*.d", "$a.*.>"] {
            assert!(heard(text, "$a.b"), "{text}");
        }
        for text in ["$a.b", "$a.c.d", "$a.*", ">", "*.b.c", "*.>", "$b.>", "$a"] {
            assert!(!heard(text, "$a.b"), "{text}");
        }
        assert!(heard(">", "a.b") && heard("*.b.c", "a.b") && !heard("*.c.>", "a.b"));
    }

    #[test]
    fn the_tokens_of_a_connection_are_limited() {
        let mut router = Router::with_tokens_per_connection_max(5);
        let mut subscribe =
            |number, text| router.subscribe(key(1, number), pattern(text), Role::Hearer, ()).map(|()| number);
        assert!(subscribe(1, "a.*.>").is_ok());
        let refused = subscribe(2, "a.b.c").expect_err("six");
        assert!(matches!(refused, Error::TooManyTokens { connection: 1, tokens: 6, max: 5 }), "{refused}");
        assert!(subscribe(2, "a.b").is_ok());
        assert!(subscribe(3, "a").is_err());
        router.subscribe(key(2, 1), pattern("a"), Role::Hearer, ()).expect("another connection has its own");
        router.unsubscribe(key(1, 2)).expect("there");
        router.subscribe(key(1, 3), pattern("x.y"), Role::Hearer, ()).expect("room again");
        assert_eq!(router.root.count(), 1 + 2 + 2, "a.*, x.y");
    }

    #[test]
    fn a_node_is_small() {
        assert!(size_of::<Node<()>>() <= 88, "{}", size_of::<Node<()>>());
    }

    #[test]
    fn every_change_and_only_a_change_gives_a_new_generation() {
        let mut router = Router::<()>::default();
        let watch = router.generation_watch();
        let mut last = router.generation();
        let mut changed = |router: &Router<()>| {
            assert_eq!(watch.now(), router.generation());
            std::mem::replace(&mut last, router.generation()) != router.generation()
        };
        router.subscribe(key(1, 1), pattern("a"), Role::Hearer, ()).expect("a new key");
        assert!(changed(&router));
        assert!(matches!(
            router.subscribe(key(1, 1), pattern("b"), Role::Hearer, ()),
            Err(Error::SubscriptionInUse { connection: 1, number: 1 })
        ));
        assert!(router.unsubscribe(key(1, 2)).is_none());
        assert_eq!(router.remove_connection(2), 0);
        assert!(!changed(&router));
        assert_eq!(router.unsubscribe(key(1, 1)), Some(pattern("a")));
        assert!(changed(&router));
    }
}
