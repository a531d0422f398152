//! Whether a peer may do something to some name within a pattern: what a list shows. Pure.
//!
//! What a rule allows within the pattern is one pattern again. Of the names that it matches, those are hidden least whose
//! free tokens stand in no rule: whatever denies such a name denies every other of the same length as well. So it is enough
//! to look at one name for each length, up to one token more than any rule that denies has.

use std::sync::Arc;

use super::pattern;
use super::rule::{Role, Rule};
use crate::authorize::Resource;
use crate::operation::Operation;

/// A token that no rule can write out: patterns have no control characters.
const FREE: &str = "\0";

/// Whether some name within the pattern is allowed by one of the roles and denied by none. Costs one look at each rule where
/// no rule denies anything within the pattern.
pub(super) fn allowed_somewhere(roles: &[Arc<Role>], operation: Operation, pattern: &str) -> bool {
    let denied: Vec<&Rule> = roles
        .iter()
        .flat_map(|role| &role.deny)
        .filter(|rule| rule.touches(operation, Resource::Pattern(pattern)))
        .collect();
    let tokens_max =
        denied.iter().filter_map(|rule| rule.spoken(operation)).map(|text| tokens(&text)).max().unwrap_or(0);
    roles
        .iter()
        .flat_map(|role| &role.allow)
        .filter_map(|rule| pattern::meeting(&rule.spoken(operation)?, pattern))
        .any(|met| {
            witnesses(&met, tokens_max)
                .any(|name| !denied.iter().any(|rule| rule.touches(operation, Resource::Name(&name))))
        })
}

fn tokens(pattern: &str) -> usize {
    pattern.split('.').count()
}

/// For each length the name within `met` that is hidden least.
fn witnesses(met: &str, tokens_max: usize) -> impl Iterator<Item = String> {
    let freed: Vec<&str> = met.split('.').map(|token| if matches!(token, "*" | ">") { FREE } else { token }).collect();
    let longest = if met.ends_with('>') { (tokens_max + 1).max(freed.len()) } else { freed.len() };
    let shortest = freed.join(".");
    (freed.len()..=longest).map(move |length| shortest.clone() + &format!(".{FREE}").repeat(length - freed.len()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::policy::document;

    /// Tokens of rules, and one that none has.
    const NAME_TOKENS: [&str; 4] = ["a", "b", "$s", "other"];

    fn role(allow: &[String], deny: &[String]) -> Vec<Arc<Role>> {
        let text = format!("version = 1\n[roles.some]\nallow = {allow:?}\ndeny = {deny:?}\n");
        let book = document::parse(Path::new("policy.toml"), text.as_bytes()).unwrap();
        book.roles.values().cloned().collect()
    }

    /// All names of two to `length_max` tokens: a bucket and a key.
    fn names(length_max: usize) -> Vec<String> {
        let mut ends: Vec<String> = NAME_TOKENS.map(str::to_owned).to_vec();
        let mut names = Vec::new();
        for _ in 1..length_max {
            ends = ends.iter().flat_map(|start| NAME_TOKENS.map(|token| format!("{start}.{token}"))).collect();
            names.extend(ends.iter().cloned());
        }
        names
    }

    fn check(allow: &[&str], deny: &[&str], buckets: &[&str]) {
        let rules = |texts: &[&str]| texts.iter().map(|text| format!("kv.read {text}")).collect::<Vec<_>>();
        let roles = role(&rules(allow), &rules(deny));
        let seen = ["a", "b"]
            .into_iter()
            .filter(|bucket| allowed_somewhere(&roles, Operation::KvRead, &format!("{bucket}.>")));
        assert_eq!(seen.collect::<Vec<_>>(), buckets, "{allow:?} without {deny:?}");
    }

    #[test]
    fn a_bucket_is_seen_by_whoever_may_something_of_it() {
        check(&["a"], &[], &["a"]);
        check(&["a.lights.*"], &[], &["a"]);
        check(&["*.lights"], &[], &["a", "b"]);
        check(&[">"], &["b.>"], &["a"]);
        check(&[">"], &["b"], &["a"]);
        check(&["*"], &["a.x"], &["a", "b"]);
        check(&["a.x", "b.>"], &["*.x"], &["b"]);
        check(&["a.>"], &["a.*"], &["a"]);
        check(&["a.>"], &["a.*.>"], &["a"]);
        check(&["a.>"], &["a.*", "a.*.>"], &[]);
        check(&["a.>"], &["a.*", "a.*.*", "a.*.*.*.>"], &["a"]);
        check(&["a.x.>"], &["a.x.>"], &[]);
        check(&[], &[], &[]);
    }

    fn any_pattern() -> impl Strategy<Value = String> {
        let tokens = proptest::collection::vec(proptest::sample::select(vec!["a", "b", "$s", "*"]), 0..3);
        let last = proptest::sample::select(vec!["a", "b", "*", ">"]);
        (tokens, last).prop_map(|(mut tokens, last)| {
            tokens.push(last);
            tokens.join(".")
        })
    }

    fn any_rules(count_max: usize) -> impl Strategy<Value = Vec<String>> {
        let operation = proptest::sample::select(vec!["kv.read", "kv.write", "*"]);
        let rule = (operation, any_pattern()).prop_map(|(operation, pattern)| format!("{operation} {pattern}"));
        proptest::collection::vec(rule, 0..=count_max)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        /// Names of one token more than the longest rule are enough: beyond that nothing is decided otherwise.
        #[test]
        fn it_is_what_looking_at_every_name_says(allow in any_rules(3), deny in any_rules(6)) {
            let roles = role(&allow, &deny);
            for bucket in NAME_TOKENS {
                let pattern = format!("{bucket}.>");
                let may = |name: &String| {
                    let name = Resource::Name(name);
                    pattern::matches(&pattern, match name { Resource::Name(name) | Resource::Pattern(name) => name })
                        && roles.iter().any(|role| role.allows(Operation::KvRead, name).is_some())
                        && !roles.iter().any(|role| role.denies(Operation::KvRead, name).is_some())
                };
                prop_assert_eq!(
                    allowed_somewhere(&roles, Operation::KvRead, &pattern),
                    names(4).iter().any(may),
                    "{}: {:?} without {:?}", pattern, allow, deny
                );
            }
        }
    }
}
