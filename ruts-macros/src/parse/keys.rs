//! The names of all keys, and suggestions for misspelt ones.
//!
//! Called by the readers and the checks. Knows nothing about values.

pub(super) const SESSION: [&str; 6] = ["codec", "crate", "layer", "lock", "prefix", "retired"];

pub(super) const FIELD: [&str; 14] = [
    "codec",
    "default",
    "encrypt",
    "hot",
    "index",
    "lazy",
    "migrate",
    "once",
    "principal",
    "rename",
    "rotate",
    "ttl",
    "version",
    "writes",
];

/// Returns the word in `known` that is most similar to `word`, if it is similar enough.
pub(crate) fn suggest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let likeness = |known: &&str| strsim::jaro_winkler(&word.to_lowercase(), known);
    let best = known.iter().copied().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (strsim::damerau_levenshtein(word, best) <= 2 || likeness(&best) > 0.85).then_some(best)
}

/// Returns the message for an unknown key.
pub(super) fn unknown(kind: &str, word: &str, known: &[&str]) -> String {
    match suggest(word, known) {
        Some(meant) => format!("unknown {kind} `{word}`; did you mean `{meant}`?"),
        None => format!("unknown {kind} `{word}`; expected one of: {}", known.join(", ")),
    }
}
