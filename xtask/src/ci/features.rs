//! Features of the root package: each transport alone, chosen pairs, every set, and what a feature that is off leaves out.

use xshell::{Shell, cmd};

use crate::Result;
use crate::metadata::{self, Metadata};

/// A transport that users choose by feature.
pub(crate) struct Transport {
    /// The root package's feature.
    pub(crate) feature: &'static str,
    /// Packages that come with it and with nothing else.
    brings: &'static [&'static str],
}

/// The transports; what one brings is absent while it is off.
pub(crate) const TRANSPORTS: &[Transport] = &[
    Transport {
        feature: "zmq",
        brings: &["sinew-transport-zmq", "zmq", "zmq-sys", "zeromq-src", "libsodium-sys-stable"],
    },
    Transport {
        feature: "quic",
        brings: &["sinew-transport-quic", "quinn", "quinn-proto", "quinn-udp", "rustls", "ring"],
    },
];

/// Sets that clippy reads besides the default one: nothing at all, and the pairs that a user is likely to write.
const LINT_SETS: &[&[&str]] = &[&[], &["bus"], &["bus", "zmq"], &["bus", "quic"], &["cli", "zmq"], &["cli", "quic"]];

/// More features than this, and the powerset is cut down to each alone, each pair, and all but one.
const POWERSET_FEATURES_MAX: usize = 6;

/// Arguments that choose `transport` and the bus.
pub(crate) fn alone(transport: &Transport) -> String {
    format!("-p sinew --no-default-features --features bus,{}", transport.feature)
}

/// Name and command for each of the chosen sets.
pub(crate) fn lint_sets() -> Vec<(String, String)> {
    LINT_SETS.iter().map(|set| lint(set)).collect()
}

/// Name and command for each set of the root package's features, or for those that find most where there are too many.
pub(crate) fn powerset() -> Result<Vec<(String, String)>> {
    let metadata = Metadata::own(&metadata::root())?;
    let features: Vec<&str> =
        metadata.facade()?.features.keys().map(String::as_str).filter(|name| *name != "default").collect();
    let sets = sets(&features).into_iter().filter(|set| !LINT_SETS.iter().any(|known| same(known, set)));
    Ok(sets.map(|set| lint(&set)).collect())
}

/// Shows with `cargo tree` that a transport that is off brings nothing, and that the same look finds it when it is on.
pub(crate) fn tree(shell: &Shell) -> Result<String> {
    let mut faults = Vec::new();
    for on in TRANSPORTS {
        let packages = packages(shell, on)?;
        let has = |name: &&&str| packages.iter().any(|package| package == **name);
        for name in on.brings.iter().filter(|name| !has(name)) {
            faults.push(format!("`{name}` is expected with feature {} and is not there: correct `brings`", on.feature));
        }
        for off in TRANSPORTS.iter().filter(|off| off.feature != on.feature) {
            for name in off.brings.iter().filter(has) {
                faults.push(format!(
                    "`{name}` is in the tree with bus,{} alone: put it behind {}",
                    on.feature, off.feature
                ));
            }
        }
        println!("    bus,{}: {} packages", on.feature, packages.len());
    }
    faults.extend(planted(shell)?);
    if faults.is_empty() { Ok(String::new()) } else { Err(faults.join("\n  ").into()) }
}

/// Bugs on purpose are for one test: no program has them, whatever its features, and no build of the workspace either.
fn planted(shell: &Shell) -> Result<Option<String>> {
    let has = |feature: &str, selection: &str, edges: &str| -> Result<bool> {
        let selection = selection.split(' ');
        let command = cmd!(shell, "cargo tree {selection...} -e features,{edges} --prefix none").quiet();
        Ok(command.read()?.contains(feature))
    };
    // Which package has them, and whose tests ask for them.
    for (package, tests) in [("sinew-session", "sinew-bus"), ("sinew-journal", "sinew-journal")] {
        let feature = format!("{package} feature \"planted\"");
        if has(&feature, "-p sinew --all-features", "normal,build")? || has(&feature, "--workspace", "normal,build")? {
            let what =
                format!("`planted` of {package} is on in what users build: only the tests of {tests} may ask for it");
            return Ok(Some(what));
        }
        if !has(&feature, &format!("-p {tests}"), "dev")? {
            let what = format!(
                "`planted` of {package} is expected in the tests of {tests} and is not there: correct this look"
            );
            return Ok(Some(what));
        }
    }
    Ok(None)
}

fn packages(shell: &Shell, transport: &Transport) -> Result<Vec<String>> {
    let features = format!("bus,{}", transport.feature);
    let command = cmd!(shell, "cargo tree -p sinew --no-default-features --features {features} -e normal,build");
    let text = command.args(["--prefix", "none", "--format", "{p}"]).read()?;
    let mut names: Vec<_> = text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
    names.sort();
    names.dedup();
    Ok(names)
}

fn lint(set: &[&str]) -> (String, String) {
    let (name, features) = match set {
        [] => ("features-none".into(), String::new()),
        _ => (format!("features-{}", set.join("-")), format!("--features {}", set.join(","))),
    };
    (name, format!("cargo clippy -p sinew --no-default-features {features} -- -D warnings"))
}

fn sets<'a>(features: &[&'a str]) -> Vec<Vec<&'a str>> {
    let count = features.len();
    let pick = |chosen: &dyn Fn(usize) -> bool| (0..count).filter(|i| chosen(*i)).map(|i| features[i]).collect();
    if count <= POWERSET_FEATURES_MAX {
        return (0..1_usize << count).map(|bits| pick(&|i| bits >> i & 1 == 1)).collect();
    }
    let alone_and_pairs = (0..count).flat_map(|a| (a..count).map(move |b| (a, b)));
    let mut sets: Vec<Vec<&str>> = alone_and_pairs.map(|(a, b)| pick(&|i| i == a || i == b)).collect();
    sets.extend((0..count).map(|off| pick(&|i| i != off)));
    sets.push(features.to_vec());
    sets
}

fn same(left: &[&str], right: &[&str]) -> bool {
    left.len() == right.len() && left.iter().all(|name| right.contains(name))
}

#[cfg(test)]
mod tests {
    use super::{same, sets};

    #[test]
    fn few_features_give_every_set_and_many_give_the_telling_ones() {
        assert_eq!(sets(&["a", "b", "c"]).len(), 8);
        let many = sets(&["a", "b", "c", "d", "e", "f", "g"]);
        assert_eq!(many.len(), 7 + 21 + 7 + 1);
        assert!(many.contains(&vec!["c"]) && many.contains(&vec!["a", "g"]));
        assert!(same(&["a", "b"], &["b", "a"]) && !same(&["a"], &["a", "b"]));
    }
}
