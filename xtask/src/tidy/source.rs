//! Rules for a Rust file: its first line, its name, its length, and what must not be left in it.

use super::code::code_only;
use super::{File, Problem};

/// Names that say nothing about what is inside.
const NAMES_BANNED: &[&str] = &["common", "util", "utils", "helper", "helpers", "misc", "types"];

/// Longer than this, and a reader no longer has the file in view.
const LINES_MAX: usize = 600;

/// Files that may be longer, each with its reason.
const LONG_FILES: &[(&str, &str)] = &[];

/// What must not be left in code, and what to do instead.
const LEFT_OVERS: &[(&str, &str)] = &[
    (
        "#[ignore",
        "a test that does not run is no test: mend it or remove it; a long one asks for SINEW_LONG in its body",
    ),
    ("todo!", "write it, or leave the item out until its issue comes"),
    ("unimplemented!", "write it, or leave the item out until its issue comes"),
    ("dbg!", "remove it, or use `tracing`"),
];

/// Every rule over one file.
pub(super) fn check(file: &File) -> Vec<Problem> {
    let code = code_only(&file.text);
    [first_line(file), length(file), names(file, &code), left_overs(file, &code)].concat()
}

fn first_line(file: &File) -> Vec<Problem> {
    if file.text.starts_with("//! ") {
        return Vec::new();
    }
    vec![Problem::at(file, 0, "begin the file with `//!` and one sentence that says what this room is for")]
}

fn length(file: &File) -> Vec<Problem> {
    let lines = file.text.lines().count();
    let listed = LONG_FILES.iter().any(|(path, _)| *path == file.path);
    match lines > LINES_MAX {
        true if !listed => {
            let advice = format!(
                "{lines} lines, {LINES_MAX} at most: split it by what changes together, or list it with its reason \
                 in LONG_FILES of xtask/src/tidy/source.rs"
            );
            vec![Problem::new(&file.path, advice)]
        }
        false if listed => vec![Problem::new(&file.path, "it is short again: remove it from LONG_FILES")],
        _ => Vec::new(),
    }
}

fn names(file: &File, code: &str) -> Vec<Problem> {
    let path = file.path.strip_suffix(".rs").unwrap_or(&file.path);
    let in_path = path.split('/').filter(|part| NAMES_BANNED.contains(part)).map(|_| 0);
    let inline = words_after(code, "mod ").filter(|(_, name)| NAMES_BANNED.contains(name)).map(|(at, _)| at);
    let advice = format!(
        "`{}` say nothing: name the room for what is in it; if it has no better name, it belongs to its one user",
        NAMES_BANNED.join("`, `")
    );
    in_path.chain(inline).map(|at| Problem::at(file, at, advice.clone())).collect()
}

fn left_overs(file: &File, code: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (word, advice) in LEFT_OVERS {
        let found = code.match_indices(word).filter(|(at, _)| !is_in_word(code, *at));
        problems.extend(found.map(|(at, _)| Problem::at(file, at, format!("`{word}` is left over: {advice}"))));
    }
    problems
}

/// Where `word` stands by itself, and the identifier behind it.
fn words_after<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
    code.match_indices(word).filter(|(at, _)| !is_in_word(code, *at)).map(move |(at, _)| {
        let rest = code[at + word.len()..].trim_start();
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        (at, &rest[..end])
    })
}

fn is_in_word(code: &str, at: usize) -> bool {
    code[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::{File, LINES_MAX};

    #[track_caller]
    fn check(path: &str, text: &str, places: &[&str]) {
        let file = File { path: path.into(), text: text.into() };
        let found: Vec<_> = super::check(&file).into_iter().map(|problem| problem.place).collect();
        assert_eq!(found, places);
    }

    #[test]
    fn a_good_file_passes() {
        check(
            "bus/src/router.rs",
            "//! Who hears what: never `todo!()`.\nfn a() { b(\"dbg!\") }\nmod common_case;\n",
            &[],
        );
    }

    #[test]
    fn each_rule_finds_its_fault() {
        check("a.rs", "fn a() {}\n", &["a.rs:1"]);
        check("src/util.rs", "//! A.\n", &["src/util.rs:1"]);
        check("tests/common/mod.rs", "//! A.\n", &["tests/common/mod.rs:1"]);
        check("a.rs", "//! A.\n\nmod helpers {}\n", &["a.rs:3"]);
        check("a.rs", "//! A.\n#[test]\n#[ignore]\nfn a() {\n todo!() }\n", &["a.rs:3", "a.rs:5"]);
        check("a.rs", &format!("//! A.\n{}", "\n".repeat(LINES_MAX)), &["a.rs"]);
    }
}
