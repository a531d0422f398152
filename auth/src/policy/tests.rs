//! The policy: decisions beside a model, the file's text with its errors, reloading, and writing.

use std::fs;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::{Allowlist, Claim, Identity, PublicKey};

/// A directory with a policy, an allowlist and own keys.
struct Desk {
    directory: TempDir,
}

impl Desk {
    fn new() -> Self {
        let desk = Self { directory: tempfile::tempdir().unwrap() };
        fs::write(desk.path("allowlist"), "").unwrap();
        fs::create_dir(desk.path("own")).unwrap();
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, text: &str) {
        fs::write(self.path("policy.toml"), text).unwrap();
    }

    fn text(&self) -> String {
        fs::read_to_string(self.path("policy.toml")).unwrap()
    }

    fn files(&self) -> PolicyFiles {
        let [policy, allowlist, own] = ["policy.toml", "allowlist", "own"].map(|name| self.path(name));
        PolicyFiles { policy, allowlist: vec![allowlist], own: vec![own] }
    }

    fn open(&self) -> Policy {
        Policy::open(self.files()).unwrap()
    }
}

fn key(seed: u8) -> PublicKey {
    Identity::from_seed(&[seed; 32]).public_key()
}

fn may(policy: &Policy, key: PublicKey, operation: Operation, resource: Resource<'_>) -> bool {
    policy.decide(Some(&key.into()), operation, resource).is_allowed()
}

fn publish(policy: &Policy, key: PublicKey, name: &str) -> bool {
    may(policy, key, Operation::BusPublish, Resource::Name(name))
}

fn sensor(key: PublicKey) -> String {
    format!(
        "version = 1\n# why\n[roles.sensor]\nallow = [\"bus.publish sensors.>\"]\ndeny = [\"bus.* sensors.private.>\"]\n\n\
         [peers.thermometer]\nkey = \"{key}\" # on the roof\nroles = [\"sensor\"]\n"
    )
}

#[test]
fn a_decision_says_what_it_rests_on() {
    let desk = Desk::new();
    desk.write(&sensor(key(1)));
    let policy = desk.open();
    let check = |who: u8, operation, resource, parts: &[&str]| {
        let decision = policy.decide(Some(&key(who).into()), operation, resource).to_string();
        assert!(parts.iter().all(|part| decision.contains(part)), "{decision}");
    };
    use Operation::{BusPublish, BusSubscribe};
    use Resource::{Name, Pattern};
    check(1, BusPublish, Name("sensors.roof"), &["allowed", "`bus.publish sensors.>`", "role `sensor`", "line 4"]);
    check(1, BusPublish, Name("sensors.private.x"), &["denied", "`bus.* sensors.private.>`", "`deny`", "line 5"]);
    check(1, BusPublish, Pattern("sensors.>"), &["denied", "sensors.private"]);
    check(1, BusPublish, Name("lamps"), &["denied", "no rule of role `sensor`", "add one"]);
    check(1, BusSubscribe, Pattern("sensors.*"), &["denied", "no rule"]);
    check(2, BusPublish, Name("sensors.roof"), &["denied", "not listed", "sinew auth allow"]);
    let anonymous = policy.decide(None, BusPublish, Name("sensors.roof")).to_string();
    assert!(anonymous.contains("denied: an anonymous peer"), "{anonymous}");
}

#[test]
fn who_the_file_does_not_name() {
    let desk = Desk::new();
    let (listed, own, stranger) = (key(1), key(2), key(3));
    Allowlist::append(desk.path("allowlist"), &listed.into(), "listed").unwrap();
    own.write(desk.path("own/client.pub"), "client").unwrap();
    let policy = desk.open();
    let publishes = |policy: &Policy| [listed, own, stranger].map(|key| publish(policy, key, "a"));
    assert_eq!(publishes(&policy), [true, true, false], "no policy file");
    desk.write("version = 1\n");
    policy.refresh();
    assert_eq!(publishes(&policy), [false, true, false], "no role `default`");
    desk.write("version = 1\nroles.default.allow = [\"bus.publish a\"]\n");
    policy.refresh();
    assert_eq!(publishes(&policy), [true, true, false]);
    assert!(!publish(&policy, listed, "b") && publish(&policy, own, "b"));
    desk.write(&format!("version = 1\nroles.default.allow = [\"* >\"]\npeers.me = {{ key = \"{own}\" }}\n"));
    policy.refresh();
    assert_eq!(publishes(&policy), [true, false, false], "named without a role");
    let admits = [listed, own, stranger].map(|key| policy.admits(Some(&key.into())));
    assert_eq!((admits, policy.admits(None)), ([true, true, false], false));
    let peers: Vec<_> = policy.peers().into_iter().map(|peer| (peer.name, peer.listed, peer.roles)).collect();
    let default = Some(vec!["default".to_owned()]);
    assert_eq!(peers, [("listed".into(), ListedBy::Allowlist, default), ("me".into(), ListedBy::Policy, Some(vec![]))]);
}

#[test]
fn names_with_a_dollar_need_a_rule_that_writes_it_out() {
    let desk = Desk::new();
    let text = format!(
        "version = 1\nroles.all.allow = [\"* >\"]\nroles.kv.allow = [\"bus.subscribe $KV.config.>\"]\n\
         peers.a = {{ key = \"{}\", roles = [\"all\"] }}\npeers.b = {{ key = \"{}\", roles = [\"kv\"] }}\n",
        key(1),
        key(2)
    );
    desk.write(&text);
    let policy = desk.open();
    let hears = |who, pattern| may(&policy, key(who), Operation::BusSubscribe, Resource::Pattern(pattern));
    assert!(hears(1, ">") && hears(1, "*.>") && !hears(1, "$KV.>") && !hears(1, "$KV.config.x"));
    assert!(hears(2, "$KV.config.>") && hears(2, "$KV.config.x") && !hears(2, "$KV.>") && !hears(2, ">"));
}

#[test]
fn a_bucket_stands_for_its_keys_and_a_pattern_for_those_that_it_matches() {
    let desk = Desk::new();
    let rules = [
        "kv.read config\", \"kv.write config.lights.*",
        "kv.* counters",
        "kv.read >\"]\nroles.c.deny = [\"kv.read config.secret.>\", \"kv.read closed",
        "kv.read *",
    ];
    let mut text = "version = 1\n".to_owned();
    for (number, (name, rule)) in ["a", "b", "c", "d"].iter().zip(rules).enumerate() {
        let key = key(number as u8 + 1);
        text +=
            &format!("roles.{name}.allow = [\"{rule}\"]\npeers.{name} = {{ key = \"{key}\", roles = [\"{name}\"] }}\n");
    }
    desk.write(&text);
    let policy = desk.open();
    let check = |who, operation, yes: &[Resource<'_>], no: &[Resource<'_>]| {
        for (wanted, resources) in [(true, yes), (false, no)] {
            for resource in resources {
                assert_eq!(may(&policy, key(who), operation, *resource), wanted, "{who} {operation} {resource:?}");
            }
        }
    };
    use Resource::{Name, Pattern};
    let all =
        [Name("config.a"), Name("config.lights.hall"), Pattern("config.>"), Pattern("config.*.x"), Name("config")];
    check(1, Operation::KvRead, &all, &[Name("configs.a"), Pattern("*.a"), Pattern(">"), Pattern("*.>")]);
    let lights = [Name("config.lights.hall"), Pattern("config.lights.*")];
    let more = [Name("config.lights.hall.x"), Pattern("config.lights.>"), Pattern("config.>"), Name("config.lights")];
    check(1, Operation::KvWrite, &lights, &more);
    check(1, Operation::KvManage, &[], &[Name("config"), Name("counters")]);
    check(2, Operation::KvManage, &[Name("counters")], &[Name("config")]);
    check(2, Operation::KvWrite, &[Name("counters.a.b"), Pattern("counters.>")], &[Name("config.a")]);
    let open = [Name("config.a"), Pattern("config.lights.>"), Name("x.y"), Pattern("x.>")];
    let secret = [Name("config.secret.x"), Pattern("config.>"), Pattern("*.a.>"), Name("closed.a"), Pattern(">")];
    check(3, Operation::KvRead, &open, &secret);
    check(4, Operation::KvRead, &[Name("a.b"), Pattern("a.>"), Pattern("*.b"), Pattern(">")], &[Name("$a.b")]);
}

#[test]
fn every_mistake_has_its_line_and_what_to_do() {
    let desk = Desk::new();
    let (a, b) = (key(1), key(2));
    let check = |text: &str, line: usize, word: &str| {
        desk.write(text);
        let error = Policy::open(desk.files()).map(drop).unwrap_err();
        let said = chain(&error);
        assert!(said.contains(&format!("policy.toml, line {line}:")) && said.contains(word), "{text}: {said}");
    };
    check("", 1, "version = 1");
    check("version = 2", 1, "version = 1");
    check("version = 1\nroles = [", 2, "no TOML");
    check("version = 1\n\npeer.a = {}", 3, "no `peer`; it takes version, roles, peers");
    check("version = 1\n[roles.a]\npermit = []", 3, "no `permit`");
    check("version = 1\n[roles.a]\nallow = \"bus.publish a\"", 3, "list of texts");
    check("version = 1\n[roles.a]\nallow = [\n\"bus.publish a\",\n\"bus.publish\"]", 5, "OPERATION PATTERN");
    check("version = 1\n[roles.a]\nallow = [\"bus.shout a\"]", 3, "there are bus.publish");
    check("version = 1\n[roles.a]\nallow = [\"tasks.* a\"]", 3, "no service");
    check("version = 1\n[roles.a]\ndeny = [\"bus.* a.>.b\"]", 3, "before its end");
    check("version = 1\n[roles.a]\nallow = [\"kv.manage a.b\"]", 3, "one token");
    check("version = 1\n[peers.a]\nroles = []", 2, "no key");
    check("version = 1\n[peers.a]\nkey = \"x\"", 3, "not a public key");
    check(&format!("version = 1\n[peers.a]\nkey = \"{a}\"\nroles = [\"b\"]"), 4, "[roles.b]");
    check(&format!("version = 1\n[peers.a]\nkey = \"{a}\"\n[peers.b]\nkey = \"{a}\""), 4, "name each key once");
    check(&format!("version = 1\n[peers.a]\nkey = \"{b}\"\nrole = 1"), 4, "no `role`");
    check("version = 1\n[peers.\"a\\u0007\"]\nkey = \"x\"", 2, "plain text");
    let many = format!("version = 1\n[roles.a]\nallow = [{}]", "\"* >\",".repeat(POLICY_RULES_MAX + 1));
    check(&many, 2, "1001 rules");
    desk.write(&" ".repeat(POLICY_BYTES_MAX + 1));
    assert!(matches!(Policy::open(desk.files()), Err(FileError::TooLarge { .. })));
}

#[test]
fn a_change_counts_at_once_and_a_bad_one_changes_nothing() {
    let desk = Desk::new();
    desk.write(&sensor(key(1)));
    let policy = desk.open();
    let state = |policy: &Policy| {
        policy.refresh();
        (policy.generation(), publish(policy, key(1), "sensors.a"), policy.problem().is_some())
    };
    assert_eq!(state(&policy), (0, true, false));
    desk.write("version = 1\n[peers");
    assert_eq!(state(&policy), (0, true, true));
    assert!(policy.problem().unwrap().contains("line 2"));
    fs::remove_file(desk.path("policy.toml")).unwrap();
    assert_eq!(state(&policy), (0, true, true), "gone is no leave for everything");
    assert!(!publish(&policy, key(1), "lamps"));
    desk.write(&sensor(key(1)));
    assert_eq!(state(&policy), (0, true, false), "the same again is no change");
    fs::write(desk.path("allowlist"), "no key").unwrap();
    assert_eq!(state(&policy), (0, true, true));
    fs::write(desk.path("allowlist"), "").unwrap();
    desk.write(&sensor(key(2)));
    assert_eq!(state(&policy), (1, false, false));
    assert!(policy.admits(Some(&key(2).into())) && !policy.admits(Some(&key(1).into())));
}

#[test]
fn an_unknown_key_makes_it_look_again_before_it_is_refused() {
    let desk = Desk::new();
    desk.write("version = 1\nroles.sensor = {}\n");
    let policy = desk.open();
    let ask = |key| policy.admit(&Candidate { claim: Claim::Ed25519(key), address: None, scheme: "test" });
    assert!(matches!(ask(key(1)), Err(Refusal::UnknownKey { .. })));
    Policy::give_roles(desk.path("policy.toml"), &key(1).into(), "new", &["sensor".into()]).unwrap();
    assert_eq!(ask(key(1)), Ok(Some(key(1).into())));
    Policy::forget(desk.path("policy.toml"), &key(1).into()).unwrap();
    assert!(ask(key(1)).is_err());
}

#[test]
fn writing_keeps_comments_and_never_writes_what_cannot_be_read() {
    let desk = Desk::new();
    let file = desk.path("policy.toml");
    let sensors = ["sensor".to_owned()];
    assert!(matches!(Policy::give_roles(&file, &key(2).into(), "a", &sensors), Err(FileError::Missing { .. })));
    assert!(!Policy::forget(&file, &key(2).into()).unwrap());
    desk.write(&sensor(key(1)));
    let before = desk.text();
    assert!(Policy::give_roles(&file, &key(2).into(), "a b", &sensors).unwrap());
    assert!(desk.text().contains("# why") && desk.text().contains("# on the roof"), "{}", desk.text());
    assert!(publish(&desk.open(), key(2), "sensors.a"));
    assert!(!Policy::give_roles(&file, &key(2).into(), "other", &sensors).unwrap());
    assert!(Policy::give_roles(&file, &key(2).into(), "other", &[]).unwrap());
    assert!(!publish(&desk.open(), key(2), "sensors.a") && desk.open().name(&key(2).into()) == Some("a b".into()));
    for (name, roles, word) in
        [("thermometer", &sensors[..], "another peer"), ("x", &["boss".to_owned()], "no role `boss`")]
    {
        let error = Policy::give_roles(&file, &key(3).into(), name, roles).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
    assert!(Policy::forget(&file, &key(2).into()).unwrap());
    assert_eq!(desk.text(), before);
    desk.write("version = 1\n[peers");
    assert!(Policy::forget(&file, &key(1).into()).is_err());
    assert_eq!(desk.text(), "version = 1\n[peers");
}

#[cfg(unix)]
#[test]
fn a_policy_that_everybody_can_write_is_refused() {
    use std::os::unix::fs::PermissionsExt;

    let desk = Desk::new();
    desk.write("version = 1\n");
    fs::set_permissions(desk.path("policy.toml"), fs::Permissions::from_mode(0o666)).unwrap();
    assert!(matches!(Policy::open(desk.files()), Err(FileError::Unsafe { .. })));
}

/// What the documentation of [`Policy`] says, in the slowest words: names are listed one by one.
mod model {
    use super::Operation;

    /// Two tokens that rules use, one that none does, one that is reserved.
    const TOKENS: [&str; 4] = ["a", "b", "other", "$s"];

    pub(super) fn matches(pattern: &[&str], name: &[&str], first: bool) -> bool {
        let hidden = first && name.first().is_some_and(|token| token.starts_with('$'));
        match (pattern, name) {
            ([], []) => true,
            ([">"], [_, ..]) => !hidden,
            (["*", pattern @ ..], [_, name @ ..]) => !hidden && matches(pattern, name, false),
            ([token, pattern @ ..], [of_name, name @ ..]) => token == of_name && matches(pattern, name, false),
            _ => false,
        }
    }

    pub(super) fn names() -> Vec<Vec<&'static str>> {
        let mut all = vec![Vec::new()];
        for from in [0, 1, 5, 21] {
            let longer: Vec<_> =
                all[from..].iter().flat_map(|n: &Vec<_>| TOKENS.map(|token| [&n[..], &[token]].concat())).collect();
            all.extend(longer);
        }
        all.split_off(1)
    }

    /// (operations, pattern) of allow and of deny, for each of a peer's roles.
    pub(super) type Rules = Vec<(String, String)>;

    pub(super) fn decide(allow: &Rules, deny: &Rules, operation: Operation, pattern: &str) -> bool {
        let split = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
        let hits = |(operations, of_rule): &(String, String), name: &[&str]| {
            let named = operations == "*"
                || operations == operation.name()
                || operations.strip_suffix("*").is_some_and(|start| operation.name().starts_with(start));
            let of_rule = split(of_rule);
            // A bucket stands for all of its keys.
            let name =
                if operation.kind() == crate::ResourceKind::Key && of_rule.len() == 1 { &name[..1] } else { name };
            named && matches(&of_rule.iter().map(String::as_str).collect::<Vec<_>>(), name, true)
        };
        let asked = split(pattern);
        let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
        let names: Vec<_> = names().into_iter().filter(|name| matches(&asked, name, true)).collect();
        let allowed = allow.iter().any(|rule| names.iter().all(|name| hits(rule, name)));
        allowed && !deny.iter().any(|rule| names.iter().any(|name| hits(rule, name)))
    }
}

fn any_pattern() -> impl Strategy<Value = String> {
    let tokens = proptest::collection::vec(proptest::sample::select(vec!["a", "b", "$s", "*"]), 0..3);
    (tokens, proptest::sample::select(vec!["a", "b", "*", ">"]))
        .prop_map(|(tokens, last)| [&tokens[..], &[last]].concat().join("."))
}

fn any_rules() -> impl Strategy<Value = model::Rules> {
    let operations = proptest::sample::select(vec!["*", "bus.*", "bus.publish", "bus.subscribe", "server.*"]);
    proptest::collection::vec((operations.prop_map(str::to_owned), any_pattern()), 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Two roles: what either allows, unless one of them denies it.
    #[test]
    fn a_decision_is_what_the_model_says(
        roles in proptest::collection::vec((any_rules(), any_rules()), 0..3),
        pattern in any_pattern(),
    ) {
        // A rule for a part of the server has one token; the model has no such rule.
        let fit = |rules: &model::Rules| -> model::Rules {
            rules.iter().filter(|(o, p)| !o.starts_with("server") || !p.contains('.')).cloned().collect()
        };
        let roles: Vec<(model::Rules, model::Rules)> = roles.iter().map(|(a, d)| (fit(a), fit(d))).collect();
        let list = |rules: &model::Rules| rules.iter().map(|(o, p)| format!("\"{o} {p}\"")).collect::<Vec<_>>().join(",");
        let mut text = "version = 1\n".to_owned();
        for (index, (allow, deny)) in roles.iter().enumerate() {
            text += &format!("[roles.r{index}]\nallow = [{}]\ndeny = [{}]\n", list(allow), list(deny));
        }
        let names: Vec<String> = (0..roles.len()).map(|index| format!("\"r{index}\"")).collect();
        text += &format!("[peers.p]\nkey = \"{}\"\nroles = [{}]\n", key(1), names.join(","));
        let book = document::parse("p".as_ref(), text.as_bytes()).unwrap();
        let snapshot = Snapshot::new("p".as_ref(), Some(book), Table::default(), Table::default()).unwrap();
        let all = |part: fn(&(model::Rules, model::Rules)) -> &model::Rules| -> model::Rules {
            roles.iter().flat_map(|role| part(role).clone()).collect()
        };
        let (allow, deny) = (all(|role| &role.0), all(|role| &role.1));
        for operation in [Operation::BusPublish, Operation::BusSubscribe, Operation::KvRead, Operation::ServerInspect] {
            let expected = model::decide(&allow, &deny, operation, &pattern);
            let asked = snapshot.decide(Some(&key(1).into()), operation, Resource::Pattern(&pattern));
            prop_assert_eq!(asked.is_allowed(), expected, "{} {}\n{}\n{}", operation, pattern, asked, text);
            if !pattern.contains(['*', '>']) {
                let asked = snapshot.decide(Some(&key(1).into()), operation, Resource::Name(&pattern));
                prop_assert_eq!(asked.is_allowed(), expected, "{} {}\n{}", operation, pattern, text);
            }
        }
    }

    #[test]
    fn any_text_is_a_policy_or_an_error(text in "\\PC{0,60}|version = 1\n(\\[?(roles|peers)?\\.?[a-z]?\\]?( = )?[\\[\\]\"{} a-z.*>$]{0,12}\n){0,6}") {
        let _ = document::parse("p".as_ref(), text.as_bytes());
    }

    #[test]
    fn any_bytes_are_a_policy_or_an_error(bytes: Vec<u8>) {
        let _ = document::parse("p".as_ref(), &bytes);
    }
}
