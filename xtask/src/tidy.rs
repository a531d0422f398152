//! `cargo xtask tidy`: what the compiler and clippy cannot check. Every message says what to do.
//!
//! The rules look at the folder, not at version control, so that they hold for a file before it is committed
//! and for a source archive too.

mod arrows;
mod code;
mod readme;
mod source;
mod text;

use std::fmt;
use std::path::{Path, PathBuf};

use crate::Result;
use crate::metadata::Metadata;

/// Folders that hold nothing of ours to read, wherever they are.
const FOLDERS_LEFT_OUT: &[&str] = &[".git", "target", "coverage", "corpus", "artifacts"];

/// Something to mend: where, what, and how.
#[derive(Clone)]
pub(crate) struct Problem {
    place: String,
    advice: String,
}

/// One text file of the project.
struct File {
    /// Relative to the root, with `/`.
    path: String,
    text: String,
}

/// Prints every problem; fails when there is one.
pub(crate) fn run(root: &Path) -> Result<()> {
    let problems = problems(root)?;
    problems.iter().for_each(|problem| eprintln!("    {problem}"));
    match problems.len() {
        0 => Ok(()),
        count => Err(format!("{count} to mend, listed above").into()),
    }
}

fn problems(root: &Path) -> Result<Vec<Problem>> {
    let (metadata, files) = (Metadata::own(root)?, files(root)?);
    let mut problems = arrows::check(&metadata);
    for file in &files {
        problems.extend(text::check(file));
        if file.path.ends_with(".rs") {
            problems.extend(source::check(file));
        }
    }
    problems.extend(readme::check(&metadata, &files)?);
    Ok(problems)
}

/// All text files, sorted; what is not UTF-8 is no text.
fn files(root: &Path) -> Result<Vec<File>> {
    let (mut files, mut folders) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            let (kind, path) = (entry.file_type()?, entry.path());
            // In a second work tree `.git` is a file.
            if FOLDERS_LEFT_OUT.iter().any(|name| entry.file_name() == **name) {
                continue;
            }
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file()
                && let Ok(text) = std::fs::read_to_string(&path)
            {
                files.push(File { path: relative(root, &path), text });
            }
        }
    }
    files.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(files)
}

fn relative(root: &Path, path: &Path) -> String {
    let path: PathBuf = path.strip_prefix(root).expect("it was found below the root").components().collect();
    path.to_string_lossy().replace('\\', "/")
}

impl Problem {
    fn new(place: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { place: place.into(), advice: advice.into() }
    }

    /// At a byte of a file.
    fn at(file: &File, byte: usize, advice: impl Into<String>) -> Self {
        let line = file.text[..byte].matches('\n').count() + 1;
        Self::new(format!("{}:{line}", file.path), advice)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.advice)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_workspace_is_tidy() {
        let problems = super::problems(&crate::metadata::root()).unwrap();
        let list: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert!(list.is_empty(), "to mend:\n{}", list.join("\n"));
    }
}
