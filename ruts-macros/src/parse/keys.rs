//! The vocabulary, and guesses at what a misspelt word was meant to be.

pub(super) const SESSION: [&str; 4] = ["codec", "crate", "layer", "prefix"];

/// Without `index` and `migrate`: nobody should be led to what is not available.
pub(super) const FIELD: [&str; 11] = [
    "codec",
    "default",
    "encrypt",
    "hot",
    "lazy",
    "once",
    "principal",
    "rename",
    "rotate",
    "ttl",
    "version",
];

/// The word among `known` that `word` was probably meant to be.
pub(crate) fn suggest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let likeness = |known: &&str| strsim::jaro_winkler(&word.to_lowercase(), known);
    let best = known.iter().copied().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (strsim::damerau_levenshtein(word, best) <= 2 || likeness(&best) > 0.85).then_some(best)
}

/// The message for a key that does not exist.
pub(super) fn unknown(what: &str, word: &str, known: &[&str]) -> String {
    match suggest(word, known) {
        Some(meant) => format!("unknown {what} `{word}`; did you mean `{meant}`?"),
        None => format!("unknown {what} `{word}`; expected one of: {}", known.join(", ")),
    }
}
