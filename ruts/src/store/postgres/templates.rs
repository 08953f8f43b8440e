//! [`fill`]: replaces the placeholders in the files of the folder `sql` with names and fragments.
//!
//! Used by `statements`, `migrate` and `check`. Knows nothing about parameters, rows or
//! connections.
//!
//! A placeholder is a name in braces: an identifier of the store, a fragment of `sql/fragments`, or
//! `field_filter`. A file begins with its head, which is comment lines and a blank line. The head
//! of a fragment lists names under two keys. The fragment `needs` some names in the text around it,
//! and `defines` other names for that text.

use super::identifiers::Identifiers;

macro_rules! fragments {
    ($($name:literal),+ $(,)?) => {
        [$(($name, include_str!(concat!("sql/fragments/", $name, ".sql")))),+]
    };
}

const FRAGMENTS: [(&str, &str); 20] = fragments![
    "authenticate",
    "end_revoked",
    "enforce_limit",
    "extend_idle",
    "former_until",
    "is_current_predicate",
    "is_live_predicate",
    "is_only_statement_predicate",
    "join_fields",
    "lock_principal",
    "lock_sessions",
    "reject_in_grace",
    "require_own_transaction",
    "rotate",
    "save",
    "session_columns",
    "session_variables",
    "start_grace",
    "touch_due_predicate",
    "unexpired_predicate",
];

/// Fills in a template. `field_filter` is the condition on `f` by which a read selects fields.
///
/// An unknown placeholder is left in the text, so the server refuses the statement. A test checks
/// that no file has an unknown placeholder.
pub(super) fn fill(template: &str, identifiers: &Identifiers, field_filter: &str) -> String {
    let mut text = String::new();
    let mut rest = without_head(template);
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        let placeholder = after.split_once('}');
        let filled = placeholder.and_then(|(name, after)| {
            let value = match name {
                "field_filter" => field_filter.to_owned(),
                name => match FRAGMENTS.iter().find(|(fragment, _)| *fragment == name) {
                    Some((_, fragment)) => fill(fragment, identifiers, field_filter),
                    None => identifiers.get(name)?,
                },
            };
            Some((value, after))
        });
        match filled {
            Some((value, after)) => {
                let line = text.rsplit('\n').next().unwrap_or_default();
                let indent = &line[..line.len() - line.trim_start().len()];
                let value = value.replace('\n', &format!("\n{indent}"));
                text.push_str(&value);
                rest = after;
            }
            None => {
                text.push('{');
                rest = after;
            }
        }
    }
    text.push_str(rest);
    text
}

/// Returns a text of the folder `sql` without its head.
pub(super) fn without_head(text: &str) -> &str {
    let body = if text.starts_with("--") { text.split_once("\n\n") } else { None };
    body.map_or(text, |(_, body)| body).trim_end()
}

#[cfg(test)]
pub(super) mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    pub(in super::super) fn identifiers() -> Identifiers {
        Identifiers::new("app", "user").unwrap()
    }

    /// Returns the files of a folder: name and text.
    fn files(folder: &str) -> Vec<(String, String)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/postgres").join(folder);
        let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let files = files.filter(|path| path.is_file()).map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        });
        files.collect()
    }

    /// Returns the names in braces.
    fn placeholders(text: &str) -> BTreeSet<&str> {
        let names = text.split('{').skip(1).filter_map(|rest| Some(rest.split_once('}')?.0));
        names.filter(|name| !name.is_empty()).collect()
    }

    /// Returns the words of an SQL text: names, parameters of functions, and `$n`.
    fn words(text: &str) -> BTreeSet<&str> {
        text.split(|sign: char| !(sign.is_ascii_alphanumeric() || "_$".contains(sign))).collect()
    }

    /// Returns the names that the head of a fragment lists under a key. Each may have a
    /// description.
    fn listed<'a>(fragment: &'a str, key: &str) -> Vec<&'a str> {
        let head = fragment.split("\n\n").next().unwrap();
        let lines = head.lines().map(|line| line.trim_start_matches("--"));
        let lines = lines.skip_while(|line| line.trim_start().strip_prefix(key).is_none());
        let list =
            lines.take_while(|line| line.trim_start().starts_with(key) || line.starts_with("   "));
        let items = list.flat_map(|line| line.trim_start().trim_start_matches(key).split(','));
        items.filter_map(|item| item.split_whitespace().next()).collect()
    }

    fn needs(fragment: &str) -> Vec<&str> {
        listed(fragment, "needs:")
    }

    fn defines(fragment: &str) -> Vec<&str> {
        listed(fragment, "defines:")
    }

    /// Returns whether a text has a name: a placeholder, or each word of `alias.column`.
    fn has(text: &str, name: &str) -> bool {
        match name.starts_with('{') {
            true => text.contains(name),
            false => name.split('.').all(|word| words(text).contains(word)),
        }
    }

    /// Returns the fragments for which a template has placeholders.
    fn used(text: &str) -> Vec<(&'static str, &'static str)> {
        let names = placeholders(text);
        FRAGMENTS.into_iter().filter(|(name, _)| names.contains(name)).collect()
    }

    /// Asserts that a template provides each name that its fragments need. The name has to be in
    /// the template, or a different fragment of the template has to define it.
    fn assert_provides(user: &str, text: &str) {
        for (name, fragment) in used(text) {
            for need in needs(fragment).into_iter().filter(|need| !need.starts_with('{')) {
                let others = used(text).into_iter().filter(|(other, _)| *other != name);
                let is_defined =
                    others.into_iter().any(|(_, other)| defines(other).contains(&need));
                assert!(is_defined || has(text, need), "{user} should provide {need} for {name}");
            }
        }
    }

    #[test]
    fn every_file_is_used() {
        let known: BTreeSet<_> = FRAGMENTS.iter().map(|(name, _)| (*name).to_owned()).collect();
        let found: BTreeSet<_> = files("sql/fragments").into_iter().map(|(name, _)| name).collect();
        assert_eq!(known, found);
        let (templates, fragments) = (files("sql"), files("sql/fragments"));
        for (name, _) in FRAGMENTS {
            let all = templates.iter().chain(&fragments);
            let users = all.filter(|(_, text)| placeholders(text).contains(name)).count();
            assert!(users > 0, "{name} should be used");
        }
        let rust = files("").into_iter().map(|(_, text)| text).collect::<String>();
        for (name, _) in templates {
            let is_used = rust.contains(&format!("sql/{name}.sql"));
            assert!(
                is_used || rust.contains(&format!("template!(\"{name}\")")),
                "{name} should be used"
            );
        }
    }

    #[test]
    fn every_placeholder_is_filled() {
        for (name, text) in files("sql").into_iter().chain(files("sql/fragments")) {
            assert!(text.starts_with("-- "), "{name} should have a head");
            let filled = fill(&text, &identifiers(), "and f.name = any ($9)");
            assert!(!filled.replace("'{}'", "").contains(['{', '}']), "{name}:\n{filled}");
        }
    }

    #[test]
    fn heads_of_fragments_say_what_they_need_and_define() {
        for (name, fragment) in FRAGMENTS {
            let body = without_head(fragment);
            let filled = fill(fragment, &identifiers(), "");
            let needs = needs(fragment);
            for declared in needs.iter().copied().chain(defines(fragment)) {
                let is_there = has(body, declared) || has(&filled, declared);
                assert!(is_there, "{name} should use {declared}");
            }
            for placeholder in placeholders(body) {
                let is_declared = needs.contains(&&*format!("{{{placeholder}}}"));
                assert!(is_declared, "{name} should declare {placeholder}");
            }
            for word in words(&filled) {
                let is_parameter = word.starts_with("p_") || word.starts_with('$');
                assert!(!is_parameter || needs.contains(&word), "{name} should declare {word}");
            }
            assert_provides(name, fragment);
        }
    }

    #[test]
    fn templates_have_what_their_fragments_need() {
        for (name, text) in files("sql") {
            match name.starts_with("migration") {
                true => text.split("\ncreate function ").skip(1).for_each(|function| {
                    assert_provides(function.split(['{', '}']).nth(1).unwrap(), function);
                }),
                // The head of a statement names its parameters.
                false => assert_provides(&name, &text),
            }
        }
    }

    /// Calls name the parameters of a function as the migration declares them, in that order, and
    /// bind `$1`, `$2` and so on.
    #[test]
    fn calls_name_every_parameter() {
        let migrations = files("sql").into_iter().filter(|(name, _)| name.starts_with("migration"));
        let migrations = migrations.map(|(_, text)| text).collect::<String>();
        let mut calls = 0;
        let statements =
            files("sql").into_iter().filter(|(name, _)| !name.starts_with("migration"));
        for (name, text) in statements {
            let Some((before, arguments)) = text.split_once("}(") else { continue };
            let function = before.rsplit('{').next().unwrap();
            let declaration = migrations.split(&format!("create function {{{function}}}(")).nth(1);
            let declaration = declaration.unwrap().split("$$").next().unwrap();
            let parameters = declaration.lines().filter(|line| !line.trim().starts_with("--"));
            let parameters = parameters.flat_map(|line| line.split([',', '(']));
            let parameters = parameters.filter_map(|part| part.split_whitespace().next());
            let parameters = parameters.filter(|word| word.starts_with("p_"));
            let expected: Vec<_> =
                parameters.zip(1..).map(|(parameter, n)| format!("{parameter} => ${n}")).collect();
            let arguments = arguments.split_once(')').unwrap().0;
            let arguments = arguments.split(',').map(str::trim);
            let arguments: Vec<_> = arguments.filter(|argument| !argument.is_empty()).collect();
            assert_eq!(arguments, expected, "{name}");
            calls += 1;
        }
        assert_eq!(calls, 8);
    }
}
