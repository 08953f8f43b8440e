//! Who may import target: reads the `use` lines of `ruts` and enforces the table of
//! `ARCHITECTURE.md`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// A module may import those of a lower rank, and itself.
const RANKS: [(&str, u8); 23] = [
    ("name", 0),
    ("token", 0),
    ("ttl", 0),
    ("principal", 0),
    ("event", 1),
    ("keys", 1),
    ("codec", 1),
    ("field", 2),
    ("sealing", 2),
    ("store::cache", 3),
    ("store::contract", 3),
    ("store::error", 3),
    ("store::gather", 3),
    ("schema", 3),
    ("cookie", 3),
    ("store", 4),
    ("error", 5),
    ("session", 6),
    ("layer", 7),
    ("conformance", 8),
    ("axum", 8),
    ("testing", 8),
    ("__private", 8),
];

/// What a module must not know although its rank is lower.
const BLIND: [(&str, &[&str]); 9] = [
    ("store", &["codec", "field", "keys", "schema", "sealing", "cookie"]),
    ("cookie", &["codec", "field", "schema", "sealing", "store"]),
    ("store::announced", &["store::layered", "store::memory", "store::postgres", "store::redis"]),
    ("store::layered", &["store::memory", "store::postgres", "store::redis"]),
    ("store::memory", &["store::layered", "store::postgres", "store::redis"]),
    ("store::postgres", &["store::layered", "store::memory", "store::redis"]),
    ("store::redis", &["store::layered", "store::memory", "store::postgres"]),
    ("session", &["cookie", "store::layered", "store::memory", "store::postgres", "store::redis"]),
    (
        "conformance",
        &[
            "codec", "field", "keys", "schema", "sealing", "cookie", "session", "layer", "error",
            "axum",
        ],
    ),
];

/// Crates that only some modules may name.
const CRATES: [(&str, &[&str]); 18] = [
    ("axum_core", &["axum", "__private"]),
    ("futures_core", &["store::redis"]),
    ("metrics", &["event"]),
    ("tower_http", &["lib"]),
    ("tower_layer", &["layer"]),
    ("tower_service", &["layer", "testing"]),
    ("cookie", &["cookie", "keys", "lib", "testing"]),
    ("chacha20poly1305", &["keys"]),
    ("serde", &["codec", "field", "session", "token"]),
    ("serde_json", &["field"]),
    ("bincode", &["codec"]),
    ("rmp_serde", &["codec"]),
    ("http", &["axum", "cookie", "layer", "session", "testing", "__private", "lib"]),
    ("fred", &["store::redis"]),
    ("redis", &["store::redis"]),
    ("sha1", &["store::redis"]),
    ("sqlx", &["store::postgres"]),
    (
        "tokio",
        &[
            "conformance",
            "session",
            "store::announced",
            "store::gather",
            "store::layered",
            "store::memory",
            "store::postgres",
            "store::redis",
        ],
    ),
];

/// Edges against the ranks, each for a reason.
const ALLOWED: [(&str, &str, &str); 1] =
    [("store", "session", "ruts 0.9 has `SessionMap` under `store`: one re-export")];

fn sources() -> Vec<PathBuf> {
    fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => collect(&path, files),
                false => files.push(path),
            }
        }
    }
    let mut files = Vec::new();
    collect(&root(), &mut files);
    files.sort();
    assert!(files.len() > 40, "the sources moved");
    files
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../ruts/src")
}

/// The module that a file belongs to.
fn module_of(file: &Path) -> String {
    let path = file.strip_prefix(root()).unwrap().with_extension("");
    let parts: Vec<_> = path.iter().map(|part| part.to_str().unwrap()).collect();
    match parts[..] {
        ["private"] => "__private".to_owned(),
        ["store", leaf @ ("cache" | "contract" | "error" | "gather")] => format!("store::{leaf}"),
        ["store", backend @ ("announced" | "layered" | "memory" | "postgres" | "redis"), ..] => {
            format!("store::{backend}")
        }
        [first, ..] => first.to_owned(),
        [] => unreachable!(),
    }
}

/// The paths of all `use` statements outside of test modules, one for each leaf.
fn imports(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    let text = text.split("#[cfg(test)]\nmod").next().unwrap();
    let text = text.split("#[cfg(all(test").next().unwrap();
    let mut leaves = Vec::new();
    for statement in text.split(';') {
        let lines = statement.lines().map(str::trim).filter(|line| !line.starts_with("//"));
        let joined = lines.collect::<Vec<_>>().join(" ");
        if let Some(at) = joined.find("use ").filter(|at| *at == 0 || joined[..*at].ends_with(' '))
        {
            expand("", joined[at + 4..].trim(), &mut leaves);
        }
    }
    leaves
}

/// `a::{b, c::{d, e}}` to `a::b`, `a::c::d`, `a::c::e`.
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

fn module_of_import(path: &str) -> Option<String> {
    let path = path.strip_prefix("crate::").or_else(|| path.strip_prefix("ruts::"))?;
    let parts: Vec<_> = path.split("::").collect();
    let ranked = RANKS.iter().map(|(module, _)| *module);
    let name = match parts[..] {
        ["store", backend @ ("layered" | "memory" | "postgres" | "redis"), ..] => {
            format!("store::{backend}")
        }
        [first, ..] => ranked.into_iter().find(|module| *module == first)?.to_owned(),
        [] => return None,
    };
    Some(name)
}

fn rank(module: &str) -> Option<u8> {
    let exact = RANKS.iter().find(|(name, _)| *name == module);
    let root = module.split("::").next();
    exact.or_else(|| RANKS.iter().find(|(name, _)| Some(*name) == root)).map(|(_, rank)| *rank)
}

#[test]
fn modules_import_downwards() {
    let mut wrong = Vec::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for file in sources() {
        let module = module_of(&file);
        if module == "lib" {
            continue;
        }
        let own = rank(&module).unwrap_or_else(|| panic!("{} has no rank", file.display()));
        let root = module.split("::").next().unwrap();
        for import in imports(&file) {
            let Some(imported) = module_of_import(&import) else { continue };
            *seen.entry(module.clone()).or_default() += 1;
            let imported_root = imported.split("::").next().unwrap();
            let allowed = ALLOWED.iter().any(|(from, to, _)| *from == root && *to == imported_root);
            let blind = BLIND.iter().any(|(from, hidden)| {
                (*from == root || *from == module)
                    && hidden.iter().any(|hidden| imported.starts_with(hidden))
            });
            let upwards = rank(&imported).is_none_or(|rank| rank >= own) && imported_root != root;
            if !allowed && (blind || upwards) {
                wrong.push(format!("{}: `{import}`", file.display()));
            }
        }
    }
    assert!(seen.len() > 8, "the `use` lines are not understood any more: {seen:?}");
    assert!(wrong.is_empty(), "imports against the ranks:\n{}", wrong.join("\n"));
}

#[test]
fn crates_are_named_where_they_belong() {
    let mut wrong = Vec::new();
    for file in sources() {
        let module = module_of(&file);
        let root = module.split("::").next().unwrap();
        for import in imports(&file) {
            let import = import.trim_start_matches("::");
            let Some((krate, _)) = import.split_once("::") else { continue };
            let place = CRATES.iter().find(|(name, _)| *name == krate);
            if place.is_some_and(|(_, modules)| {
                !modules.contains(&root) && !modules.contains(&&*module)
            }) {
                wrong.push(format!("{}: `{import}`", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "crates out of place:\n{}", wrong.join("\n"));
}

#[test]
fn mod_files_hold_nothing_but_the_story_and_re_exports() {
    for file in sources() {
        if file.file_name().is_some_and(|name| name == "mod.rs") {
            let text = fs::read_to_string(&file).unwrap();
            let text = text.split("#[macro_export]").next().unwrap();
            for item in ["fn ", "struct ", "enum ", "trait ", "impl ", "const ", "static "] {
                let holds = text.lines().any(|line| {
                    let line = line.trim_start_matches("pub ").trim_start_matches("pub(crate) ");
                    line.starts_with(item)
                });
                assert!(!holds, "{} has an item of its own", file.display());
            }
        }
    }
}

#[test]
fn use_trees_are_understood() {
    let mut leaves = Vec::new();
    expand("", "crate::{a::{B, c::D}, e::F}", &mut leaves);
    assert_eq!(leaves, ["crate::a::B", "crate::a::c::D", "crate::e::F"]);
}
