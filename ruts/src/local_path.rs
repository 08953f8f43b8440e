//! [`is_local_path`]: whether a redirect target stays on this site.
//!
//! Used by the layer and by guards, against open redirects. Knows only strings.

/// Returns whether a redirect to `text` stays on the site: a path that begins with exactly one
/// slash. Browsers treat `\` as `/` and skip control characters, so a local path contains neither.
pub(crate) fn is_local_path(text: &str) -> bool {
    text.starts_with('/')
        && !text.starts_with("//")
        && !text.contains(|character: char| character == '\\' || character.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_this_site_are_local() {
        for path in ["/", "/cart", "/cart?a=1&b=//x", "/a//b", "/ä"] {
            assert!(is_local_path(path), "{path}");
        }
        for path in [
            "",
            "cart",
            "//evil.example",
            "/\\evil.example",
            "/\t/evil.example",
            "https://x",
            "\\/x",
        ] {
            assert!(!is_local_path(path), "{path}");
        }
    }
}
