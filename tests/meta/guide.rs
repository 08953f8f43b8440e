//! Checks the guide in `docs/guide`: its links, and its lists of log lines and metrics.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns all files with the extension `kind` below a folder.
fn files(folder: &Path, kind: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| match path.is_dir() {
            true => files(&path, kind),
            false => vec![path],
        })
        .filter(|path| path.extension().is_some_and(|found| found == kind))
        .collect()
}

/// Returns the labels and targets of link definitions: lines such as `[label]: target`.
fn definitions(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(|line| line.strip_prefix('[')?.split_once("]: "))
}

/// Returns the targets of links within a text: `[text](target)`.
fn inline_links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next())
}

#[test]
fn links_between_files_lead_somewhere() {
    let mut pages = files(&root().join("docs"), "md");
    pages.extend(
        ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "SECURITY.md"]
            .map(|page| root().join(page)),
    );
    let mut dead = Vec::new();
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        let targets = inline_links(&text).chain(definitions(&text).map(|(_, target)| target));
        for target in targets {
            let path = target.split('#').next().unwrap();
            let is_elsewhere = target.contains("://") || path.is_empty();
            if !is_elsewhere && !page.parent().unwrap().join(path).exists() {
                dead.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(dead.is_empty(), "no link should be dead:\n{}", dead.join("\n"));
}

#[test]
fn every_link_of_the_guide_leads_to_an_item_in_rustdoc() {
    let links = read("ruts/src/guide_links.md");
    let known: BTreeSet<&str> = definitions(&links).map(|(label, _)| label).collect();
    let mut used = BTreeSet::new();
    let pages = files(&root().join("docs/guide"), "md");
    for page in pages.into_iter().chain([root().join("README.md")]) {
        let text = fs::read_to_string(&page).unwrap();
        for (label, _) in definitions(&text) {
            assert!(
                known.contains(label),
                "{}: guide_links.md should define `{label}`",
                page.display()
            );
            used.insert(label.to_owned());
        }
        for label in text.split("][").skip(1).filter_map(|rest| rest.split(']').next()) {
            let is_defined = definitions(&text).any(|(defined, _)| defined == label);
            assert!(is_defined, "{}: `{label}` should be defined", page.display());
        }
    }
    let unused: Vec<_> = known.iter().filter(|label| !used.contains(**label)).collect();
    assert!(unused.is_empty(), "a page should use each of {unused:?}");
}

/// Returns the constant texts of log lines: the last literal of each call of a tracing macro.
fn log_lines(code: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for name in ["error!(", "warn!(", "info!(", "debug!("] {
        for (at, _) in code.match_indices(name).filter(|(at, _)| !code[..*at].ends_with('_')) {
            let call = code[at + name.len()..].split(");").next().unwrap();
            let literals = call.split('"').skip(1).step_by(2).filter(|text| text.contains(' '));
            // A long text continues on the next line.
            let text = literals.last().map(|text| text.split('\\').next().unwrap().trim());
            lines.extend(text.map(|text| text.replace('`', "")));
        }
    }
    lines
}

#[test]
fn the_guide_explains_every_log_line() {
    let page = read("docs/guide/operating.md").replace('`', "");
    let mut known = 0;
    for file in files(&root().join("ruts/src"), "rs") {
        let path = file.display().to_string();
        if path.contains("/conformance/") || path.contains("/testing/") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        for line in log_lines(text.split("#[cfg(test)]\nmod").next().unwrap()) {
            // The page may shorten the end of a long line, so only its beginning is compared.
            let begin: String = line.split(": `").next().unwrap().chars().take(48).collect();
            assert!(
                page.contains(begin.trim_end()),
                "{path}: docs/guide/operating.md should have the line `{line}`"
            );
            known += 1;
        }
    }
    assert!(known > 20, "the search should find more than 20 log lines, but found {known}");
}

#[test]
fn the_guide_and_the_dashboard_have_every_metric() {
    let names = |text: &str| -> BTreeSet<String> {
        let starts = text.match_indices("ruts_").map(|(at, _)| &text[at..]);
        let name = |rest: &str| -> String {
            rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect()
        };
        let is_metric = |name: &String| name.ends_with("_total") || name.ends_with("_seconds");
        starts
            .map(name)
            .map(|name| name.trim_end_matches("_count").to_owned())
            .filter(is_metric)
            .collect()
    };
    let emitted = names(&read("ruts/src/event.rs"));
    assert!(emitted.len() > 10, "{emitted:?}");
    assert_eq!(names(&read("docs/guide/operating.md")), emitted);
    assert_eq!(names(&read("docs/grafana.json")), emitted);
}
