//! Checks which modules of `ruts` import which. Reads the `use` lines and enforces the table of
//! `ARCHITECTURE.md`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// A module may import modules of a lower rank, and its own files. If several names match a module,
/// the longest name counts.
const RANKS: [(&str, u8); 32] = [
    ("token", 0),
    ("ttl", 0),
    ("turns", 0),
    ("cache_policy", 1),
    ("auth", 0),
    ("event", 1),
    ("local_path", 1),
    ("field::name", 0),
    ("codec", 1),
    ("client", 1),
    ("crypto", 2),
    ("field", 2),
    ("store", 3),
    ("cookie", 3),
    ("store::memory", 5),
    ("store::layered", 5),
    ("store::mysql", 5),
    ("store::notify", 4),
    ("store::postgres", 5),
    ("store::redis", 5),
    ("store::sql", 4),
    ("store::sqlite", 5),
    ("error", 5),
    ("session", 6),
    ("layer", 7),
    ("axum", 8),
    ("guard", 8),
    ("conformance", 8),
    ("testing", 8),
    ("guide", 8),
    ("private", 8),
    ("lib", 9),
];

/// Modules that a module must not import, even if their rank is lower.
const HIDDEN: [(&str, &[&str]); 11] = [
    ("store", &["codec", "crypto", "field", "cookie"]),
    ("cookie", &["codec", "field", "store"]),
    ("store::layered", &["store::memory", "store::notify", "store::postgres", "store::redis"]),
    ("store::memory", &["store::layered", "store::notify", "store::postgres", "store::redis"]),
    (
        "store::mysql",
        &[
            "store::layered",
            "store::memory",
            "store::notify",
            "store::postgres",
            "store::redis",
            "store::sqlite",
            "store::watchers",
        ],
    ),
    ("store::notify", &["store::layered", "store::memory", "store::postgres", "store::redis"]),
    ("store::postgres", &["store::layered", "store::memory", "store::redis"]),
    ("store::redis", &["store::layered", "store::memory", "store::postgres"]),
    (
        "store::sqlite",
        &["store::layered", "store::memory", "store::notify", "store::postgres", "store::redis"],
    ),
    (
        "session",
        &[
            "cookie",
            "store::layered",
            "store::memory",
            "store::mysql",
            "store::notify",
            "store::postgres",
            "store::redis",
            "store::sqlite",
            "store::watchers",
        ],
    ),
    (
        "conformance",
        &["codec", "crypto", "field", "cookie", "session", "layer", "error", "axum", "guard"],
    ),
];

/// Crates that only some modules may name.
const CRATES: &[(&str, &[&str])] = &[
    ("axum", &["layer"]),
    ("axum_core", &["axum", "guard", "private"]),
    ("form_urlencoded", &["guard"]),
    ("futures_core", &["store::redis"]),
    ("metrics", &["event"]),
    ("tower_cookies", &["layer"]),
    ("tower_http", &["layer"]),
    ("tower_layer", &["guard", "layer", "testing"]),
    ("tower_service", &["guard", "layer", "testing"]),
    ("cookie", &["cookie", "crypto", "lib", "testing"]),
    ("chacha20poly1305", &["crypto"]),
    ("serde", &["codec", "field", "session", "token"]),
    ("serde_json", &["field", "testing"]),
    ("bincode", &["codec"]),
    ("rmp_serde", &["codec"]),
    (
        "http",
        &["axum", "client", "guard", "cookie", "layer", "session", "testing", "private", "lib"],
    ),
    ("fred", &["store::redis"]),
    ("redis", &["store::redis"]),
    ("sha1", &["store::redis"]),
    ("rusqlite", &["store::sqlite"]),
    ("sqlx", &["store::mysql", "store::postgres", "store::sql"]),
    (
        "tokio",
        &[
            "conformance",
            "session",
            "turns",
            "store::notify",
            "store::batch",
            "store::layered",
            "store::memory",
            "store::mysql",
            "store::postgres",
            "store::record_store",
            "store::redis",
            "store::sql",
            "store::sqlite",
            "store::watchers",
        ],
    ),
];

/// Exceptions to the ranks, each with its reason.
const ALLOWED: [(&str, &str, &str); 1] =
    [("store", "session::map", "ruts 0.9 has `SessionMap` under `store`: one re-export")];

struct Source {
    path: PathBuf,
    module: String,
    text: String,
}

impl Source {
    fn is_mod_file(&self) -> bool {
        self.path.file_name().is_some_and(|name| name == "mod.rs")
    }

    /// Returns the text without its unit tests.
    fn code(&self) -> &str {
        let ends = ["#[cfg(test)]\nmod", "#[cfg(test)]\npub(super) mod", "#[cfg(all(test"];
        ends.into_iter().fold(&self.text, |text, end| text.split(end).next().unwrap())
    }

    /// Returns the absolute path of every leaf of a `use` line, and of every path in code that
    /// starts with `crate` or `super`. The prefix `crate` is left out.
    fn imports(&self) -> Vec<String> {
        let (mut leaves, mut code) = (Vec::new(), without_comments(self.code()));
        // A visibility is not an import.
        code = code.replace("pub(in crate::", "pub(in ");
        let uses: Vec<_> = starts(&code, "use ").collect();
        for at in uses.into_iter().rev() {
            let statement = code[at + 4..].split(';').next().unwrap().to_owned();
            expand("", &statement.split_whitespace().collect::<Vec<_>>().join(" "), &mut leaves);
            code.replace_range(at..at + 4 + statement.len(), "");
        }
        for prefix in ["crate::", "super::"] {
            leaves.extend(starts(&code, prefix).map(|at| {
                let is_path = |char: char| char.is_alphanumeric() || matches!(char, '_' | ':');
                code[at..].split(|char| !is_path(char)).next().unwrap().to_owned()
            }));
        }
        leaves.iter().map(|leaf| self.absolute(leaf)).collect()
    }

    fn absolute(&self, leaf: &str) -> String {
        let mut base: Vec<_> = self.module.split("::").collect();
        let mut parts: Vec<_> = leaf.split("::").map(str::trim).collect();
        match parts[0] {
            "crate" => return parts[1..].join("::"),
            "self" => parts[0] = self.module.as_str(),
            "super" => {
                while parts.first() == Some(&"super") {
                    base.pop();
                    parts.remove(0);
                }
                parts.splice(0..0, base);
            }
            // The path belongs to another crate.
            _ => parts.insert(0, ""),
        }
        parts.join("::")
    }
}

/// Returns the positions in `code` at which `word` begins a word.
fn starts<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_word = |char: char| char.is_alphanumeric() || matches!(char, '_' | ':');
    let places = code.match_indices(word).map(|(at, _)| at);
    places.filter(move |at| !code[..*at].ends_with(is_word))
}

fn without_comments(code: &str) -> String {
    let lines = code.lines().map(|line| line.split("//").next().unwrap());
    lines.collect::<Vec<_>>().join("\n")
}

/// Expands `a::{b, c::{d, e}}` to `a::b`, `a::c::d`, `a::c::e`.
fn expand(prefix: &str, tree: &str, leaves: &mut Vec<String>) {
    match tree.find('{') {
        None => leaves.push(format!("{prefix}{}", tree.trim())),
        Some(open) => {
            let prefix = format!("{prefix}{}", &tree[..open]);
            let inner = tree[open + 1..].rsplit_once('}').map_or("", |(inner, _)| inner);
            let (mut depth, mut start) = (0, 0);
            for (at, byte) in inner.bytes().chain([b',']).enumerate() {
                match byte {
                    b'{' => depth += 1,
                    b'}' => depth -= 1,
                    b',' if depth == 0 => {
                        let part = inner[start..at].trim();
                        if !part.is_empty() {
                            expand(&prefix, part, leaves);
                        }
                        start = at + 1;
                    }
                    _ => {}
                }
            }
        }
    }
}

fn sources() -> Vec<Source> {
    fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => collect(&path, files),
                false if path.extension().is_some_and(|extension| extension == "rs") => {
                    files.push(path);
                }
                false => {}
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ruts/src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    assert!(files.len() > 100, "ruts/src should have more than 100 files");
    let sources = files.into_iter().map(|path| {
        let module = path.strip_prefix(&root).unwrap().with_extension("");
        let parts: Vec<_> = module.iter().map(|part| part.to_str().unwrap()).collect();
        let parts = parts.strip_suffix(&["mod"]).unwrap_or(&parts);
        Source { module: parts.join("::"), text: fs::read_to_string(&path).unwrap(), path }
    });
    sources.collect()
}

/// Returns whether `module` is `parent` or inside it.
fn is_in(module: &str, parent: &str) -> bool {
    module.strip_prefix(parent).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Returns the longest of `modules` that contains `path`.
fn longest<'a>(modules: impl Iterator<Item = &'a str>, path: &str) -> Option<&'a str> {
    modules.filter(|module| is_in(path, module)).max_by_key(|module| module.len())
}

/// Returns the rank of a module, and the name in [`RANKS`] that it comes from.
fn rank(module: &str) -> Option<(u8, &'static str)> {
    let name = longest(RANKS.iter().map(|(name, _)| *name), module)?;
    RANKS.iter().find(|(ranked, _)| *ranked == name).map(|(name, rank)| (*rank, *name))
}

/// Returns pairs of an importing and an imported module. A name that a `mod.rs` re-exports counts
/// as an import of the file that defines it.
fn edges(sources: &[Source]) -> BTreeSet<(&str, &str)> {
    let modules = || sources.iter().map(|source| source.module.as_str());
    let imports: Vec<_> = sources.iter().map(|source| (source, source.imports())).collect();
    let mut origins = BTreeMap::new();
    for (Source { module, .. }, imports) in
        imports.iter().filter(|(source, _)| source.is_mod_file())
    {
        for import in imports {
            let name = import.rsplit("::").next().unwrap();
            if longest(modules(), import).is_some_and(|from| from != module) {
                origins.insert(format!("{module}::{name}"), import);
            }
        }
    }
    let mut edges = BTreeSet::new();
    for (Source { module, .. }, imports) in &imports {
        for mut import in imports {
            // A re-export may lead to another re-export.
            while let Some((name, origin)) = origins.iter().find(|(name, _)| is_in(import, name)) {
                assert!(!is_in(origin, name), "{name} should not be its own origin");
                import = origin;
            }
            let imported = longest(modules(), import).filter(|imported| imported != module);
            edges.extend(imported.map(|imported| (module.as_str(), imported)));
        }
    }
    assert!(edges.len() > 300, "the search should find more than 300 imports: {edges:?}");
    edges.retain(|edge| !ALLOWED.iter().any(|(from, to, _)| (*from, *to) == *edge));
    edges
}

/// Returns the imports that are in circles or between circles.
fn circles<'a>(edges: &BTreeSet<(&'a str, &'a str)>) -> Vec<(&'a str, &'a str)> {
    let mut left = edges.clone();
    loop {
        let from: BTreeSet<_> = left.iter().map(|(from, _)| *from).collect();
        let to: BTreeSet<_> = left.iter().map(|(_, to)| *to).collect();
        let before = left.len();
        left.retain(|(importer, imported)| to.contains(importer) && from.contains(imported));
        if left.len() == before {
            return left.into_iter().collect();
        }
    }
}

#[test]
fn modules_import_downwards() {
    let (sources, mut wrong) = (sources(), Vec::new());
    for (from, to) in edges(&sources) {
        let (own, owner) = rank(from).unwrap_or_else(|| panic!("{from} should have a rank"));
        let (other, other_owner) = rank(to).unwrap_or_else(|| panic!("{to} should have a rank"));
        let is_hidden = HIDDEN.iter().any(|(module, hidden)| {
            is_in(from, module)
                && hidden.iter().any(|hidden| is_in(to, hidden) && other_owner != "field::name")
        });
        if owner != other_owner && (is_hidden || other >= own) {
            wrong.push(format!("{from} -> {to}"));
        }
    }
    assert!(wrong.is_empty(), "no import should be against the ranks:\n{}", wrong.join("\n"));
}

#[test]
fn no_files_import_each_other() {
    let circles = |edges: &[_]| circles(&edges.iter().copied().collect());
    assert_eq!(circles(&[("a", "b"), ("b", "c"), ("a", "c")]), []);
    assert_eq!(
        circles(&[("a", "b"), ("b", "c"), ("c", "b"), ("c", "d")]),
        [("b", "c"), ("c", "b")]
    );
    let sources = sources();
    let edges: Vec<_> = edges(&sources).into_iter().collect();
    assert_eq!(circles(&edges), [], "imports should form no circle");
}

#[test]
fn allowed_imports_exist() {
    let sources = sources();
    for (from, to, _) in ALLOWED {
        let source = sources.iter().find(|source| source.module == from).unwrap();
        assert!(source.imports().iter().any(|import| is_in(import, to)), "{from} -> {to}");
    }
}

#[test]
fn crates_are_named_where_they_belong() {
    let mut wrong = Vec::new();
    for source in sources() {
        for import in source.imports() {
            let Some(import) = import.strip_prefix("::") else { continue };
            let import = import.trim_start_matches("::");
            let krate = import.split("::").next().unwrap();
            let place = CRATES.iter().find(|(name, _)| *name == krate);
            if place.is_some_and(|(_, modules)| {
                !modules.iter().any(|module| is_in(&source.module, module))
            }) {
                wrong.push(format!("{}: `{import}`", source.module));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "each crate should be named only in its modules:\n{}",
        wrong.join("\n")
    );
}

/// A reader should find all methods of a type in one file.
#[test]
fn the_methods_of_a_type_are_in_its_file() {
    let mut wrong = Vec::new();
    for source in sources() {
        let code = without_comments(source.code());
        for at in starts(&code, "impl").filter(|at| *at == 0 || code[..*at].ends_with('\n')) {
            let head = code[at + 4..].split(['{', ';']).next().unwrap();
            if head.contains(" for ") {
                continue;
            }
            let head = without_generics(head.split(" where").next().unwrap());
            let name = head.trim().rsplit("::").next().unwrap().to_owned();
            let is_declared = ["struct", "enum", "trait"]
                .into_iter()
                .any(|kind| starts(&code, &format!("{kind} {name}")).next().is_some());
            if !is_declared && !name.starts_with("dyn") && !name.starts_with('$') {
                wrong.push(format!("{}: `{name}`", source.module));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "all methods should be in the file of their type:\n{}",
        wrong.join("\n")
    );
}

fn without_generics(head: &str) -> String {
    let mut depth = 0;
    let outside = head.chars().filter(|char| {
        depth += i32::from(*char == '<');
        let is_outside = depth == 0;
        depth -= i32::from(*char == '>');
        is_outside
    });
    outside.collect()
}

#[test]
fn mod_files_hold_nothing_but_documentation_and_re_exports() {
    for source in sources().iter().filter(|source| source.is_mod_file()) {
        for item in ["fn ", "struct ", "enum ", "trait ", "impl ", "const ", "static "] {
            let holds = source.code().lines().any(|line| {
                let line = line.trim_start_matches("pub ").trim_start_matches("pub(crate) ");
                line.starts_with(item)
            });
            assert!(!holds, "{} should have no item of its own", source.path.display());
        }
    }
}

#[test]
fn use_trees_are_understood() {
    let mut leaves = Vec::new();
    expand("", "crate::{a::{B, c::D}, e::F}", &mut leaves);
    assert_eq!(leaves, ["crate::a::B", "crate::a::c::D", "crate::e::F"]);

    let text = "use super::x::{Y, self};\n// use crate::no;\nfn f() { crate::z::w() }";
    let source = Source { path: PathBuf::new(), module: "a::b".to_owned(), text: text.to_owned() };
    assert_eq!(source.imports(), ["a::x::Y", "a::x::self", "z::w"]);
}
