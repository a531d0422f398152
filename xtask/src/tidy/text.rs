//! Rules for every text file: nothing that only one machine knows, no host that packages come from.

use super::{File, Problem};

/// Beginnings of paths that exist on one machine only. In pieces, so that this file passes its own rule.
const MACHINE_PATHS: &[&str] =
    &[concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/")];

/// Hosts that packages come from: mirrors differ, and cargo knows them. In pieces for the same reason.
const REGISTRY_HOSTS: &[&str] = &[
    concat!("index.crates", ".io"),
    concat!("static.crates", ".io"),
    concat!("crates.io", "-index"),
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("registry.npmjs", ".org"),
    concat!("deb.debian", ".org"),
    concat!("proxy.golang", ".org"),
];

/// Written by cargo, which names the registry in it.
const LOCK_FILE: &str = "Cargo.lock";

/// Every rule over one file.
pub(super) fn check(file: &File) -> Vec<Problem> {
    let mut problems = Vec::new();
    for path in MACHINE_PATHS {
        let found = file.text.match_indices(path).filter(|(at, _)| begins_a_path(&file.text, *at));
        let advice = format!("`{path}…` exists on one machine only: make it relative, or take it from an option");
        problems.extend(found.map(|(at, _)| Problem::at(file, at, advice.clone())));
    }
    if !file.path.ends_with(LOCK_FILE) {
        for host in REGISTRY_HOSTS {
            let advice = format!("`{host}` is a registry's host: cargo and its settings know it, leave it out");
            problems.extend(file.text.match_indices(host).map(|(at, _)| Problem::at(file, at, advice.clone())));
        }
    }
    problems
}

/// Not in the midst of a longer path or address.
fn begins_a_path(text: &str, at: usize) -> bool {
    !text[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || "_.-~*}>)]%$".contains(c))
}

#[cfg(test)]
mod tests {
    use super::{File, MACHINE_PATHS, REGISTRY_HOSTS};

    #[track_caller]
    fn check(path: &str, text: &str, count: usize) {
        assert_eq!(super::check(&File { path: path.into(), text: text.into() }).len(), count, "{text}");
    }

    #[test]
    fn machine_paths_and_registry_hosts_are_found() {
        for machine in MACHINE_PATHS {
            check("README.md", &format!("see {machine}x and `{machine}y`\n"), 2);
            check("README.md", &format!("see docs{machine}x\n"), 0);
        }
        for host in REGISTRY_HOSTS {
            check("README.md", &format!("from {host}\n"), 1);
            check("Cargo.lock", &format!("from {host}\n"), 0);
        }
    }
}
