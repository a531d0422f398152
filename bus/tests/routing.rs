//! The router against a list of patterns, and the cache against the router, over random changes.

use std::collections::BTreeMap;

use proptest::prelude::*;
use sinew_bus::{Pattern, Role, Route, RouteCache, Router, Subject, SubscriptionKey};

#[derive(Debug, Clone)]
enum Operation {
    Subscribe(SubscriptionKey, Pattern),
    Unsubscribe(SubscriptionKey),
    RemoveConnection(u64),
    Invalidate,
    DropStale,
    Route(Subject),
}

fn key() -> impl Strategy<Value = SubscriptionKey> {
    (0_u64..4, 0_u32..12).prop_map(|(connection, number)| SubscriptionKey { connection, number })
}

/// Few tokens at each place, so that patterns and subjects meet; many at the first, so that nodes grow large.
fn subject() -> impl Strategy<Value = String> {
    ("[a-n]|\\$[ab]", proptest::collection::vec("[ab]|\\$a", 0..4))
        .prop_map(|(first, rest)| [vec![first], rest].concat().join("."))
}

fn pattern() -> impl Strategy<Value = Pattern> {
    ("[a-n]|\\$[ab]|\\*", proptest::collection::vec("[ab*]|\\$a", 0..4), prop::bool::weighted(0.3)).prop_map(
        |(first, rest, open)| {
            let tail = if open { vec![">".to_owned()] } else { vec![] };
            Pattern::try_from([vec![first], rest, tail].concat().join(".").as_str()).expect("a pattern by its making")
        },
    )
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => (key(), prop_oneof![pattern(), Just(Pattern::try_from(">").expect("a pattern"))])
            .prop_map(|(key, pattern)| Operation::Subscribe(key, pattern)),
        3 => key().prop_map(Operation::Unsubscribe),
        1 => (0_u64..4).prop_map(Operation::RemoveConnection),
        1 => Just(Operation::Invalidate),
        1 => Just(Operation::DropStale),
        12 => subject().prop_map(|text| Operation::Route(Subject::try_from(text).expect("a subject by its making"))),
    ]
}

/// A third of the subscriptions hear, a third are in two groups, a third answer.
fn role(key: SubscriptionKey) -> Role {
    match key.number % 3 {
        0 => Role::Hearer,
        1 => Role::Member(["left", "right"][key.connection as usize % 2].into()),
        _ => Role::Responder,
    }
}

/// All that are on a route, in the order of their keys, each in the place of its role.
fn everybody(route: &Route<u32>) -> Vec<(SubscriptionKey, u32)> {
    assert!(route.hearers().iter().all(|target| target.role == Role::Hearer));
    assert!(route.responders().members().iter().all(|target| target.role == Role::Responder));
    assert!(route.groups().iter().is_sorted_by(|a, b| a.name() < b.name()), "each group once");
    let mut all: Vec<_> = route.hearers().iter().chain(route.responders().members()).collect();
    for group in route.groups() {
        assert!(
            group
                .members()
                .iter()
                .all(|member| Some(&member.role) == group.name().map(|n| Role::Member(n.into())).as_ref())
        );
        let turns: Vec<_> = (0..group.members().len()).map(|_| group.turn().next().map(|member| member.key)).collect();
        assert_eq!(turns.iter().collect::<std::collections::BTreeSet<_>>().len(), turns.len(), "each has its turn");
        all.extend(group.members());
    }
    all.sort_by_key(|target| target.key);
    all.into_iter().map(|target| (target.key, target.to)).collect()
}

#[derive(Default)]
struct Pair {
    router: Router<u32>,
    list: BTreeMap<SubscriptionKey, (Pattern, u32)>,
    handle: u32,
}

impl Pair {
    fn change(&mut self, operation: Operation) {
        match operation {
            Operation::Subscribe(key, pattern) => {
                self.handle += 1;
                let result = self.router.subscribe(key, pattern.clone(), role(key), self.handle);
                assert_eq!(result.is_ok(), !self.list.contains_key(&key));
                self.list.entry(key).or_insert((pattern, self.handle));
            }
            Operation::Unsubscribe(key) => {
                assert_eq!(self.router.unsubscribe(key), self.list.remove(&key).map(|(pattern, _)| pattern));
            }
            Operation::RemoveConnection(connection) => {
                let before = self.list.len();
                self.list.retain(|key, _| key.connection != connection);
                assert_eq!(self.router.remove_connection(connection), before - self.list.len());
            }
            Operation::Invalidate => self.router.invalidate(),
            Operation::DropStale | Operation::Route(_) => {}
        }
        assert_eq!(self.router.len(), self.list.len());
    }

    fn expected(&self, subject: &Subject) -> Vec<(SubscriptionKey, u32)> {
        let hears = self.list.iter().filter(|(_, (pattern, _))| pattern.matches(subject));
        hears.map(|(key, (_, handle))| (*key, *handle)).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_router_the_cache_and_a_list_agree(operations in proptest::collection::vec(operation(), 1..150)) {
        let mut pair = Pair::default();
        // Sixteen places for more subjects, so that entries push each other out.
        let mut cache = RouteCache::<std::sync::Arc<Route<u32>>>::with_entries_max(1);
        for operation in operations {
            match operation {
                Operation::Route(subject) => {
                    let expected = pair.expected(&subject);
                    let fresh = pair.router.route(&subject);
                    let found = everybody(&fresh);
                    prop_assert_eq!(&found, &expected, "{}", subject);
                    let generation = pair.router.generation();
                    if let Some(cached) = cache.lookup(generation, subject.as_bytes()) {
                        prop_assert_eq!(&everybody(cached), &expected, "cached {}", subject);
                    }
                    cache.insert(generation, &subject, fresh);
                    prop_assert!(cache.lookup(generation, subject.as_bytes()).is_some());
                    prop_assert!(cache.lookup(generation + 1, subject.as_bytes()).is_none());
                }
                Operation::DropStale => cache.drop_stale(pair.router.generation()),
                change => pair.change(change),
            }
        }
    }
}

#[test]
fn the_deepest_names_and_the_widest_node() {
    let mut router = Router::default();
    let names: Vec<_> = ["a.", "*."].iter().map(|token| token.repeat(255) + ">").collect();
    for (number, name) in (0..).zip(&names) {
        let pattern = Pattern::try_from(name.as_str()).expect("a pattern");
        router.subscribe(SubscriptionKey { connection: 1, number }, pattern, Role::Hearer, ()).expect("a new key");
    }
    for number in 2..5_000 {
        let pattern = Pattern::try_from(format!("wide.{number}").as_str()).expect("a pattern");
        router.subscribe(SubscriptionKey { connection: 1, number }, pattern, Role::Hearer, ()).expect("a new key");
    }
    let deepest = Subject::try_from("a.".repeat(255) + "a").expect("a subject");
    assert_eq!(router.route(&deepest).hearers().len(), 2);
    let wide = Subject::try_from("wide.4321").expect("a subject");
    assert_eq!(router.route(&wide).hearers()[0].key.number, 4_321);
    assert_eq!(router.remove_connection(1), 5_000);
    assert!(router.route(&wide).hearers().is_empty());
}
