//! Checks that the tests named in `docs/bounds.md` exist. The page lists bounds of scripts,
//! statements and structures, and the test of each bound.

use std::{fs, path::Path};

/// Returns the text of every Rust source in a folder.
fn text_of(folder: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            text.push_str(&text_of(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
    text
}

/// Returns the names of tests in a cell: words in backticks.
fn names(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[test]
fn every_bound_names_a_test_that_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let sources: String =
        ["ruts/src", "tests"].iter().map(|folder| text_of(&root.join(folder))).collect();
    let page = fs::read_to_string(root.join("docs/bounds.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| ---"));
    let mut found = 0;
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [_, _, _, test] = cells[..] else { panic!("the row should have four columns: {row}") };
        let is_named = matches!(test, "test" | "none") || names(test).next().is_some();
        assert!(is_named, "the last column should name a test or `none`: {row}");
        for name in names(test) {
            assert!(sources.contains(&format!("fn {name}")), "the test {name} should exist");
            found += 1;
        }
    }
    assert!(found > 20, "the page should have more than 20 bounds");
}
