//! Which crate may name which. The table is the architecture; a new line in it is a change of design, made alone with its reason.

use super::Problem;
use crate::metadata::{Metadata, Package};

/// What stands below a service that keeps nothing on disk, and below one that does.
const BELOW_SERVICES: &[&str] = &["sinew-session", "sinew-transport-api", "sinew-auth"];
const BELOW_DURABLE: &[&str] =
    &["sinew-session", "sinew-transport-api", "sinew-auth", "sinew-journal", "sinew-hosting"];

/// Crates that users depend on, and which of ours each may name; `None` may name all that are in this list.
const ARROWS: &[(&str, Option<&[&str]>)] = &[
    ("sinew-auth", Some(&[])),
    ("sinew-journal", Some(&[])),
    ("sinew-transport-api", Some(&["sinew-auth"])),
    ("sinew-session", Some(&["sinew-transport-api", "sinew-auth"])),
    // Between the engines on disk and what they stand on: named things in folders. The journal knows no names, the session
    // no files.
    ("sinew-hosting", Some(&["sinew-session", "sinew-journal"])),
    ("sinew-transport-zmq", Some(&["sinew-transport-api", "sinew-auth", "zmq-sys"])),
    ("sinew-transport-quic", Some(&["sinew-transport-api", "sinew-auth"])),
    ("zmq-sys", Some(&[])),
    ("sinew-bus", Some(BELOW_SERVICES)),
    ("sinew-taskqueue", Some(BELOW_DURABLE)),
    ("sinew-kvstore", Some(BELOW_DURABLE)),
    ("sinew-eventsource", Some(BELOW_DURABLE)),
    // Above two services, since it moves what one has to the other. No service names it.
    ("sinew-connectors", Some(&["sinew-session", "sinew-bus", "sinew-eventsource"])),
    (
        "sinew-engine-nats",
        Some(&["sinew-auth", "sinew-session", "sinew-bus", "sinew-taskqueue", "sinew-kvstore", "sinew-eventsource"]),
    ),
    ("sinew", None),
];

/// Crates that stand outside: nothing above names them, but for tests of the root, and what they may name is here.
const OUTSIDE: &[(&str, Option<&[&str]>)] = &[
    // Written as an outsider would: the contract and nothing else.
    ("sinew-transport-unix", Some(&["sinew-transport-api"])),
    // What the tests of several crates share.
    (
        "sinew-testkit",
        Some(&[
            "sinew-auth",
            "sinew-transport-api",
            "sinew-session",
            "sinew-bus",
            "sinew-eventsource",
            "sinew-kvstore",
            "sinew-taskqueue",
        ]),
    ),
    // Measures everything beside everything.
    ("sinew-bench", None),
    ("xtask", Some(&[])),
];

/// The kit of shared tests, and who may use it for tests: the session and what stands on it.
/// Transports have the conformance kit instead, since they know no session.
const TESTKIT: (&str, &[&str]) = (
    "sinew-testkit",
    &[
        "sinew-session",
        "sinew-bus",
        "sinew-taskqueue",
        "sinew-kvstore",
        "sinew-eventsource",
        "sinew-connectors",
        "sinew",
    ],
);

/// Every arrow that the table does not have, every crate that it does not know, and manifests left half done.
pub(super) fn check(metadata: &Metadata) -> Vec<Problem> {
    metadata.packages.iter().flat_map(|package| [arrows(package), manifest(package)].concat()).collect()
}

fn arrows(package: &Package) -> Vec<Problem> {
    let own = package.dependencies.iter().filter(|dependency| dependency.path.is_some());
    let names = own.map(|dependency| (dependency.name.as_str(), dependency.kind.as_deref() == Some("dev")));
    judge(&package.name, &names.collect::<Vec<_>>())
}

/// `named`: crates of ours that `name` depends on, and whether for its tests only.
fn judge(name: &str, named: &[(&str, bool)]) -> Vec<Problem> {
    let Some((_, allowed)) = ARROWS.iter().chain(OUTSIDE).find(|(known, _)| *known == name) else {
        let advice =
            "this crate is not in the table of arrows: add it to xtask/src/tidy/arrows.rs with what it may name";
        return vec![Problem::new(name, advice)];
    };
    let in_table = |target: &str| ARROWS.iter().any(|(known, _)| *known == target);
    let outside = |target: &str| OUTSIDE.iter().any(|(known, _)| *known == target);
    let may = |target: &str, test: bool| match allowed {
        _ if target == name => true,
        _ if target == TESTKIT.0 => test && TESTKIT.1.contains(&name),
        Some(list) => list.contains(&target),
        None => in_table(target) || (test && outside(target)),
    };
    let wrong = named.iter().filter(|(target, test)| !may(target, *test));
    wrong.map(|(target, _)| Problem::new(name, reason(target))).collect()
}

fn reason(target: &str) -> String {
    format!(
        "it names `{target}`, and the arrows do not go that way: move the shared part down, or turn the call around \
         with a trait; if the design really changes, change xtask/src/tidy/arrows.rs and docs/ARCHITECTURE.md alone"
    )
}

fn manifest(package: &Package) -> Vec<Problem> {
    let mut problems = Vec::new();
    let place = format!("{} (Cargo.toml)", package.name);
    if package.description.as_deref().is_none_or(|text| text.trim().is_empty() || text.contains("TODO")) {
        problems.push(Problem::new(&place, "`description` is missing: say in one line what the crate is for"));
    }
    let text = std::fs::read_to_string(&package.manifest_path).unwrap_or_default();
    if !text.contains("[lints]\nworkspace = true") {
        problems.push(Problem::new(&place, "the workspace's lints are off: add `[lints]` with `workspace = true`"));
    }
    if !package.folder().join("src").is_dir() {
        problems.push(Problem::new(&place, "there is no folder `src` beside it: give the crate its code or remove it"));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::judge;

    #[track_caller]
    fn check(name: &str, named: &[(&str, bool)], wrong: usize) {
        assert_eq!(judge(name, named).len(), wrong);
    }

    #[test]
    fn arrows_of_the_design_pass() {
        check("sinew-auth", &[], 0);
        check("sinew-session", &[("sinew-auth", false), ("sinew-transport-api", false)], 0);
        check("sinew-transport-quic", &[("sinew-transport-api", true), ("sinew-transport-api", false)], 0);
        check("sinew-session", &[("sinew-testkit", true)], 0);
        check("sinew-connectors", &[("sinew-bus", false), ("sinew-eventsource", false), ("sinew-testkit", true)], 0);
        check("sinew", &[("sinew-bus", false), ("sinew-transport-zmq", false), ("sinew-transport-unix", true)], 0);
    }

    #[test]
    fn arrows_against_it_do_not() {
        check("sinew-auth", &[("sinew-session", false)], 1);
        check("sinew-bus", &[("sinew-transport-zmq", false)], 1);
        check("sinew-bus", &[("sinew-transport-zmq", true)], 1);
        check("sinew-bus", &[("sinew-connectors", false)], 1);
        check("sinew-transport-zmq", &[("sinew-session", false)], 1);
        check("sinew-transport-unix", &[("sinew-auth", false)], 1);
        check("sinew", &[("sinew-transport-unix", false)], 1);
        check("sinew-session", &[("sinew-testkit", false)], 1);
        check("sinew-transport-quic", &[("sinew-testkit", true)], 1);
        check("sinew-new", &[], 1);
    }
}
