//! Every operation, resource and identity: each cell of the table beside a model that is told apart from the code.
//!
//! An operation that is new does not compile here until somebody says which rule is its.

use std::path::Path;

use super::snapshot::Snapshot;
use super::{Table, document};
use crate::authorize::Resource::{self, Name, Pattern};
use crate::operation::{Operation, ResourceKind};
use crate::{Identity, PeerKey};

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Anonymous,
    Stranger,
    /// On the allowlist: role `default`, which may look at everything.
    Listed,
    /// One of this account's own clients.
    Own,
    /// Named, without a role.
    Idle,
    /// Named, with one rule for each operation: the one below.
    Narrow,
    /// Named, with `* >`.
    Wide,
    /// Named, with `* >` and everything of `narrow` denied.
    Fenced,
    /// Named, with `* $KV.>` and the like.
    Reserved,
}

const EVERYBODY: [Who; 9] = [
    Who::Anonymous,
    Who::Stranger,
    Who::Listed,
    Who::Own,
    Who::Idle,
    Who::Narrow,
    Who::Wide,
    Who::Fenced,
    Who::Reserved,
];

/// The pattern of the one rule that `narrow` has for an operation.
fn narrow(operation: Operation) -> &'static str {
    match operation {
        Operation::BusPublish | Operation::BusRequest | Operation::BusRetain => "lab.*",
        Operation::BusSubscribe | Operation::BusRespond | Operation::BusHold | Operation::BusInspect => "lab.>",
        Operation::TaskSubmit | Operation::TaskWork | Operation::TaskInspect | Operation::TaskManage => "mine",
        Operation::KvRead | Operation::KvManage => "mine",
        Operation::KvWrite => "mine.lab.*",
        Operation::LogAppend | Operation::LogRead | Operation::LogManage => "mine",
        Operation::ServerInspect | Operation::ServerManage => "mine",
    }
}

/// What is asked for, names and patterns, derived ones included.
fn resources(kind: ResourceKind) -> &'static [Resource<'static>] {
    match kind {
        ResourceKind::Subject => &[
            Name("lab.lamp"),
            Name("lab.lamp.red"),
            Name("lab"),
            Name("home.lamp"),
            Name("$KV.config.lamp"),
            Pattern("lab.lamp"),
            Pattern("lab.*"),
            Pattern("lab.>"),
            Pattern("*.lamp"),
            Pattern(">"),
            Pattern("$KV.config.*"),
            Pattern("$KV.>"),
        ],
        ResourceKind::Key => &[
            Name("mine.lamp"),
            Name("mine.lab.lamp"),
            Name("mine.lab.lamp.red"),
            Name("other.lab.lamp"),
            Name("$KV.lab.lamp"),
            Pattern("mine.>"),
            Pattern("mine.lab.lamp"),
            Pattern("mine.lab.*"),
            Pattern("mine.lab.>"),
            Pattern("*.lab.lamp"),
            Pattern(">"),
        ],
        ResourceKind::Queue | ResourceKind::Bucket | ResourceKind::Stream | ResourceKind::Server => {
            &[Name("mine"), Name("other"), Name("$KV"), Pattern("mine"), Pattern("*"), Pattern(">")]
        }
    }
}

fn text(resource: Resource<'static>) -> &'static str {
    match resource {
        Name(text) | Pattern(text) => text,
    }
}

/// All of it lies within the pattern of `narrow`: by hand.
fn inside(pattern: &str, resource: Resource<'static>) -> bool {
    match pattern {
        "lab.*" => ["lab.lamp", "lab.*"].contains(&text(resource)),
        "lab.>" => ["lab.lamp", "lab.lamp.red", "lab.*", "lab.>"].contains(&text(resource)),
        "mine" => text(resource).split('.').next() == Some("mine"),
        "mine.lab.*" => ["mine.lab.lamp", "mine.lab.*"].contains(&text(resource)),
        other => unreachable!("no rule has {other}"),
    }
}

/// Some of it does.
fn touched(pattern: &str, resource: Resource<'static>) -> bool {
    inside(pattern, resource)
        || match pattern {
            "lab.*" | "lab.>" => ["lab.>", "*.lamp", ">"].contains(&text(resource)),
            "mine.lab.*" => ["mine.>", "mine.lab.>", "*.lab.lamp", ">"].contains(&text(resource)),
            _ => ["*", ">", "*.lab.lamp"].contains(&text(resource)),
        }
}

fn expected(who: Who, operation: Operation, resource: Resource<'static>) -> bool {
    let pattern = narrow(operation);
    let reserved = text(resource).starts_with('$');
    match who {
        Who::Anonymous | Who::Stranger | Who::Idle => false,
        Who::Listed => !reserved && operation.name().ends_with(".inspect"),
        Who::Own => true,
        Who::Narrow => inside(pattern, resource),
        Who::Wide => !reserved,
        Who::Fenced => !reserved && !touched(pattern, resource),
        Who::Reserved => reserved && operation.kind() == ResourceKind::Subject,
    }
}

fn key(who: Who) -> Option<PeerKey> {
    let seed = [10 + who as u8; 32];
    (who != Who::Anonymous).then(|| Identity::from_seed(&seed).public_key().into())
}

fn snapshot() -> Snapshot {
    let all = |list: &str| {
        let rule = |operation: &Operation| format!("\"{operation} {}\"", narrow(*operation));
        format!("{list} = [{}]\n", Operation::ALL.iter().map(rule).collect::<Vec<_>>().join(","))
    };
    let looks = Operation::ALL.iter().filter(|operation| operation.name().ends_with(".inspect"));
    let looks: Vec<String> = looks.map(|operation| format!("\"{operation} >\"")).collect();
    let peer = |who: Who, role: &str| {
        let key = key(who).expect("not anonymous");
        format!("[peers.{who:?}]\nkey = \"{key}\"\nroles = [{role}]\n")
    };
    let text = [
        "version = 1\n".to_owned(),
        format!("[roles.default]\nallow = [{}]\n", looks.join(",")),
        format!("[roles.narrow]\n{}", all("allow")),
        format!("[roles.fence]\n{}", all("deny")),
        "[roles.wide]\nallow = [\"* >\"]\n".to_owned(),
        "[roles.reserved]\nallow = [\"bus.* $KV.>\"]\n".to_owned(),
        peer(Who::Idle, ""),
        peer(Who::Narrow, "\"narrow\""),
        peer(Who::Wide, "\"wide\""),
        peer(Who::Fenced, "\"wide\", \"fence\""),
        peer(Who::Reserved, "\"reserved\""),
    ]
    .concat();
    let path = Path::new("policy.toml");
    let book = document::parse(path, text.as_bytes()).unwrap();
    let listing = |who| {
        let mut table = Table::default();
        table.insert(key(who).expect("not anonymous"), "", path, 1).unwrap();
        table
    };
    Snapshot::new(path, Some(book), listing(Who::Listed), listing(Who::Own)).unwrap()
}

#[test]
fn every_operation_resource_and_identity_is_decided_as_the_model_says() {
    let snapshot = snapshot();
    let (mut cells, mut allowed) = (0, 0);
    for who in EVERYBODY {
        for operation in Operation::ALL {
            for resource in resources(operation.kind()) {
                let decision = snapshot.decide(key(who).as_ref(), *operation, *resource);
                let wanted = expected(who, *operation, *resource);
                assert_eq!(decision.is_allowed(), wanted, "{who:?} {operation} {resource:?}: {decision}");
                (cells, allowed) = (cells + 1, allowed + usize::from(wanted));
            }
        }
    }
    println!("{cells} cells, {allowed} of them allowed");
    assert!(
        allowed > cells / 5 && allowed < cells / 2,
        "{allowed} of {cells}: a table that says one thing shows nothing"
    );
}

/// Without a policy file every listed key may do everything, and nobody else anything.
#[test]
fn without_a_policy_file_being_listed_is_all() {
    let mut table = Table::default();
    table.insert(key(Who::Listed).expect("not anonymous"), "", Path::new("allowlist"), 1).unwrap();
    let snapshot = Snapshot::new(Path::new("policy.toml"), None, table, Table::default()).unwrap();
    for who in EVERYBODY {
        for operation in Operation::ALL {
            for resource in resources(operation.kind()) {
                let decision = snapshot.decide(key(who).as_ref(), *operation, *resource);
                assert_eq!(decision.is_allowed(), who == Who::Listed, "{who:?} {operation} {resource:?}: {decision}");
            }
        }
    }
}
