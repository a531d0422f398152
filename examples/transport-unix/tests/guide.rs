//! `docs/PLUGINS.md` shows this example as it is, and the kit as it is.

use sinew_transport_api::conformance::cases;

const GUIDE: &str = include_str!("../../../docs/PLUGINS.md");

const SOURCES: [&str; 5] = [
    include_str!("../src/lib.rs"),
    include_str!("../src/frames.rs"),
    include_str!("../src/connection.rs"),
    include_str!("conformance.rs"),
    include_str!("registry.rs"),
];

#[test]
fn every_piece_of_code_is_taken_from_the_example() {
    let pieces: Vec<&str> = GUIDE.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(pieces.len() > 10, "the guide has {} pieces of code", pieces.len());
    for piece in pieces {
        assert!(SOURCES.iter().any(|source| source.contains(piece)), "not in the example any more:\n{piece}");
    }
}

#[test]
fn the_table_names_every_case_of_the_kit() {
    for case in cases() {
        let row = format!("| {} | `{}` |", case.promise(), case.name());
        assert!(GUIDE.contains(&row), "docs/PLUGINS.md lacks the row\n{row}");
    }
    let rows = GUIDE.lines().skip_while(|line| *line != "|---|---|").filter(|line| line.ends_with("` |")).count();
    assert_eq!(rows, cases().len(), "docs/PLUGINS.md names cases that are gone");
}
