//! The README's table of URL schemes against the plug-ins that the root package's features link.

use std::collections::BTreeMap;

use super::{File, Problem};
use crate::Result;
use crate::metadata::Metadata;

const README: &str = "README.md";

/// Always there, whatever the features.
const SCHEME_WITHOUT_FEATURE: &str = "mem";

/// A feature of the root package that links a transport, and where that transport lies.
struct Linked {
    feature: String,
    /// Relative to the root, with `/` at the end.
    folder: String,
}

/// Compares both ways: every scheme has its row with its feature, every row's scheme exists.
pub(super) fn check(metadata: &Metadata, files: &[File]) -> Result<Vec<Problem>> {
    let mut schemes = BTreeMap::new();
    let mut problems = Vec::new();
    for Linked { feature, folder } in linked(metadata)? {
        let sources = files.iter().filter(|file| file.path.starts_with(&format!("{folder}src/")));
        let found: Vec<_> = sources.flat_map(|file| literal_schemes(&file.text)).collect();
        if found.is_empty() {
            let advice = "no `schemes: &[\"…\"]` in its source: submit a `Plugin` with its schemes as a literal list";
            problems.push(Problem::new(folder, advice));
        }
        schemes.extend(found.into_iter().map(|scheme| (scheme, feature.clone())));
    }
    let readme = files.iter().find(|file| file.path == README);
    problems.extend(compare(readme.map(|file| file.text.as_str()), &schemes));
    Ok(problems)
}

/// Features that turn on exactly a transport: `zmq = ["dep:sinew-transport-zmq"]`.
fn linked(metadata: &Metadata) -> Result<Vec<Linked>> {
    let facade = metadata.facade()?;
    let folder_of = |name: &str| {
        let package = metadata.packages.iter().find(|package| package.name == name)?;
        Some(super::relative(facade.folder(), package.folder()) + "/")
    };
    let linked = facade.features.iter().filter_map(|(feature, brings)| {
        let mut names = brings.iter().filter_map(|text| text.strip_prefix("dep:"));
        let name = names.find(|name| name.starts_with("sinew-transport-"))?;
        Some(Linked { feature: feature.clone(), folder: folder_of(name)? })
    });
    Ok(linked.collect())
}

/// The strings in `schemes: &[…]`.
fn literal_schemes(source: &str) -> Vec<String> {
    let lists =
        source.match_indices("schemes: &[").filter_map(|(at, mark)| source[at + mark.len()..].split(']').next());
    let strings = lists.flat_map(|list| list.split('"').skip(1).step_by(2));
    strings.filter(|text| !text.is_empty()).map(str::to_owned).collect()
}

fn compare(readme: Option<&str>, schemes: &BTreeMap<String, String>) -> Vec<Problem> {
    let Some(readme) = readme else {
        return vec![Problem::new(README, "it is missing: write it, with a table of URL schemes and their features")];
    };
    let rows = rows(readme);
    if rows.is_empty() {
        let advice = "it has no table of schemes: add one whose heading says `Feature` and whose rows hold `scheme://…` \
                      and the feature, both in backticks";
        return vec![Problem::new(README, advice)];
    }
    let mut problems = Vec::new();
    for (scheme, feature) in schemes {
        let row = rows.iter().find(|row| row.schemes().any(|found| found == scheme));
        match row {
            None => problems.push(format!("the table lacks `{scheme}://`, which feature `{feature}` brings: add it")),
            Some(row) if !row.words.contains(feature) => {
                problems.push(format!("the row of `{scheme}://` does not name its feature: write `{feature}` in it"));
            }
            Some(_) => {}
        }
    }
    for scheme in rows.iter().flat_map(Row::schemes) {
        if scheme != SCHEME_WITHOUT_FEATURE && !schemes.contains_key(scheme) {
            problems.push(format!("the table names `{scheme}://`, which no feature brings: remove it or correct it"));
        }
    }
    problems.into_iter().map(|advice| Problem::new(README, advice)).collect()
}

/// What stands in backticks in one row.
struct Row {
    words: Vec<String>,
}

impl Row {
    fn schemes(&self) -> impl Iterator<Item = &str> {
        self.words.iter().filter_map(|word| word.split_once("://")).map(|(scheme, _)| scheme)
    }
}

/// Rows of those tables whose heading speaks of features, where they hold a URL.
fn rows(text: &str) -> Vec<Row> {
    let (mut rows, mut before, mut wanted) = (Vec::new(), "", false);
    for line in text.lines().map(str::trim) {
        if line.starts_with('|') && !before.starts_with('|') {
            wanted = line.to_lowercase().contains("feature");
        } else if line.starts_with('|') && wanted {
            let row = Row { words: line.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
            if row.schemes().next().is_some() {
                rows.push(row);
            }
        }
        before = line;
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::{compare, literal_schemes};

    const GOOD: &str = "# S\n\n| URL | Feature |\n|---|---|\n| `mem://name` | always |\n\
                        | `zmq://host:port`, `zmq+ipc:///path` | `zmq` |\n| `quic://host:port` | `quic` |\n";

    #[track_caller]
    fn check(readme: Option<&str>, parts: &[&str]) {
        let schemes = [("zmq", "zmq"), ("zmq+ipc", "zmq"), ("quic", "quic")];
        let schemes = schemes.map(|(scheme, feature)| (scheme.to_owned(), feature.to_owned())).into();
        let found: Vec<_> = compare(readme, &schemes).iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), parts.len(), "{found:?}");
        assert!(found.iter().zip(parts).all(|(found, part)| found.contains(part)), "{found:?}");
    }

    #[test]
    fn the_table_is_compared_both_ways() {
        check(Some(GOOD), &[]);
        check(None, &["missing"]);
        check(Some("# S\n"), &["no table"]);
        check(Some(&GOOD.replace(", `zmq+ipc:///path`", "")), &["lacks `zmq+ipc://`"]);
        check(Some(&GOOD.replace("`quic` |", "yes |")), &["does not name its feature"]);
        check(Some(&format!("{GOOD}| `carrier://pigeon` | `air` |\n")), &["no feature brings"]);
    }

    #[test]
    fn schemes_are_read_from_the_source() {
        assert_eq!(literal_schemes("Plugin { schemes: &[\"zmq\", \"zmq+ipc\"], build }"), ["zmq", "zmq+ipc"]);
        assert!(literal_schemes("pub schemes: &'static [&'static str],").is_empty());
    }
}
