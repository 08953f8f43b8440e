//! The catalogue of scripts: the files of `lua/` of which each script consists, and the commands
//! that the script needs.
//!
//! Used by the executor and everything above it. The head of each file names the locals that it
//! needs from earlier files, and the locals that it defines for later files. The tests below check
//! these heads.

use std::sync::LazyLock;

use super::eval::{File, OnUnknown, Script, WhenFull};

macro_rules! files {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("lua/", $name, ".lua")))),+]
    };
}

/// Defines a script that asks whether a server can expire fields and lets this user run these
/// commands.
macro_rules! probe {
    ($name:ident = $commands:literal) => {
        pub(super) const $name: &str =
            concat!("local commands = '", $commands, "'\n", include_str!("lua/probe.lua"));
    };
}

/// Defines scripts, and for the tests a list of them.
macro_rules! scripts {
    ($list:ident: $(
        $(#[doc = $doc:literal])*
        $name:ident = $when_full:ident, $on_unknown:ident, $probe:ident, [$($files:expr),+ $(,)?];
    )+) => {
        $(
            $(#[doc = $doc])*
            pub(super) static $name: LazyLock<Script> =
                LazyLock::new(|| {
                    Script::new(WhenFull::$when_full, OnUnknown::$on_unknown, $probe, &[$($files),+])
                });
        )+
        #[cfg(test)]
        const $list: &[(&str, &str, &[&[File]])] =
            &[$((stringify!($name), $probe, &[$($files),+])),+];
    };
}

probe!(
    PROBE = "HPTTL HPEXPIREAT GET HGET HMGET HGETALL HKEYS HSET HDEL DEL MGET EXISTS PTTL \
         PEXPIREAT PERSIST TIME"
);
probe!(LIST_PROBE = "HDEL ZRANGEBYLEX ZCARD ZADD ZREM PTTL PEXPIRE PERSIST TIME");
probe!(
    SIGN_IN_PROBE = "HPTTL HPEXPIREAT GET HGET HMGET HGETALL HKEYS HSET HDEL DEL PTTL PEXPIREAT \
         PEXPIRE PERSIST ZRANGEBYLEX ZCARD ZADD ZREM TIME"
);
probe!(EPOCH_PROBE = "HDEL INCR");

const CREATE_FILES: &[File] = files![
    "session/read",
    "session/save",
    "field/is_live",
    "field/format",
    "field/change",
    "create",
];
const UPDATE_FILES: &[File] = files![
    "session/read",
    "session/authenticate",
    "session/use",
    "session/rotate",
    "session/save",
    "field/is_live",
    "field/read",
    "field/format",
    "field/change",
    "update_general",
];
#[cfg(feature = "layered-store")]
const INTENT_FILES: &[File] = files!["cache/entry", "cache/intents"];
const ENTRY_FILES: &[File] = files!["principal/entry", "principal/find_entry"];
const STEPS_FILES: &[File] = files!["principal/entry", "principal/find_entry", "principal/steps"];

scripts! {
    SESSION_SCRIPTS:
    LOAD = Allowed, Resend, PROBE, [files![
        "read_fields",
        "fast_path",
        "load",
        "session/read",
        "session/authenticate",
        "session/find",
        "session/use",
        "session/save",
        "load_general",
    ]];
    LOAD_BATCH = Allowed, Resend, PROBE, [files!["load_batch"]];
    CREATE = Rejected, Fail, PROBE, [CREATE_FILES, files!["write_one"]];
    UPDATE = Rejected, Fail, PROBE, [
        files!["compare", "read_header", "fast_path", "update"], UPDATE_FILES, files!["write_one"],
    ];
    /// An update that does not set a field.
    UPDATE_ON_FULL_SERVER = Allowed, Fail, PROBE, [
        files!["compare", "read_header", "fast_path", "update"], UPDATE_FILES, files!["write_one"],
    ];
    UPDATE_BATCH = Rejected, Fail, PROBE, [
        files!["compare", "update_batch"], UPDATE_FILES, files!["update_batch_general"],
    ];
    TAKE = Allowed, Fail, PROBE, [files![
        "session/read",
        "session/authenticate",
        "session/use",
        "session/rotate",
        "session/save",
        "field/is_live",
        "field/read",
        "field/format",
        "take",
    ]];
    DELETE = Allowed, Fail, PROBE,
        [files!["session/read", "session/authenticate", "session/save", "delete"]];
    /// Returns which of several sessions exist.
    EXIST = Allowed, Resend, PROBE, [files!["exist"]];
    /// Ends sessions by their principal.
    REVOKE = Allowed, Fail, PROBE,
        [files!["session/read", "session/find", "session/save", "revoke"]];
    /// A sign-in that creates a session, if one server has the session's key and the principal
    /// list.
    CREATE_SIGNED_IN = Rejected, Fail, SIGN_IN_PROBE,
        [CREATE_FILES, STEPS_FILES, files!["principal/sign_in"]];
    /// A sign-in to an existing session, if one server has the session's key and the principal
    /// list.
    UPDATE_SIGNED_IN = Rejected, Fail, SIGN_IN_PROBE,
        [UPDATE_FILES, STEPS_FILES, files!["principal/sign_in"]];
    JOIN = Rejected, Fail, LIST_PROBE, [STEPS_FILES, files!["principal/join"]];
    VERIFY = Allowed, Resend, LIST_PROBE, [STEPS_FILES, files!["principal/verify"]];
    WITHDRAW = Allowed, Fail, LIST_PROBE,
        [STEPS_FILES, files!["principal/withdraw"]];
    LIST = Allowed, Resend, LIST_PROBE, [files!["principal/entry", "principal/list"]];
    BEGIN_REVOKE = Allowed, Fail, LIST_PROBE, [ENTRY_FILES, files!["principal/begin_revoke"]];
    REMOVE_ENTRIES = Allowed, Fail, LIST_PROBE, [ENTRY_FILES, files!["principal/remove"]];
    NEXT_EPOCH = Allowed, Fail, EPOCH_PROBE, [files!["next_epoch"]];
    /// Returns warnings about the settings of the server.
    ADVICE = Allowed, Resend, PROBE, [files!["advice"]];
}

#[cfg(feature = "layered-store")]
probe!(CACHE_PROBE = "HGET HMGET HGETALL HKEYS GET MGET SET HSET HDEL DEL PEXPIRE PTTL TIME INFO");

#[cfg(feature = "layered-store")]
scripts! {
    CACHE_SCRIPTS:
    CACHE_LOOKUP = Partial, Resend, CACHE_PROBE,
        [files!["cache/entry", "cache/history", "cache/lookup_entry", "cache/lookup"]];
    CACHE_LOOKUP_BATCH = Partial, Resend, CACHE_PROBE,
        [files!["cache/entry", "cache/history", "cache/lookup_entry", "cache/lookup_batch"]];
    CACHE_BEGIN_WRITE = Allowed, Fail, CACHE_PROBE,
        [INTENT_FILES, files!["cache/history", "cache/begin_write"]];
    CACHE_FINISH_WRITE = Rejected, Fail, CACHE_PROBE, [INTENT_FILES, files!["cache/finish_write"]];
    /// Finishes a write without storing a value.
    CACHE_FINISH_WRITE_ON_FULL_SERVER = Allowed, Fail, CACHE_PROBE,
        [INTENT_FILES, files!["cache/finish_write"]];
    CACHE_FILL = Rejected, Fail, CACHE_PROBE, [files!["cache/fill"]];
    CACHE_EVICT = Allowed, Fail, CACHE_PROBE, [INTENT_FILES, files!["cache/evict"]];
    CACHE_CLEAR = Allowed, Fail, CACHE_PROBE, [files!["cache/clear"]];
    CACHE_ADVICE = Allowed, Resend, CACHE_PROBE, [files!["cache/advice"]];
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    type Names<'a> = BTreeSet<&'a str>;

    const KEYWORDS: &str = "and break do else elseif end false for function if in local nil not or \
        repeat return then true until while";
    const GLOBALS: &str = "cmsgpack error ipairs math pcall redis string struct table tonumber \
        tostring type unpack";

    fn scripts() -> Vec<(&'static str, &'static str, Vec<File>)> {
        let lists = [
            SESSION_SCRIPTS,
            #[cfg(feature = "layered-store")]
            CACHE_SCRIPTS,
        ];
        let all = lists.into_iter().flatten();
        all.map(|(name, probe, files)| (*name, *probe, files.concat())).collect()
    }

    fn files() -> BTreeMap<&'static str, Lua<'static>> {
        let files = scripts().into_iter().flat_map(|(.., files)| files);
        files.map(|(name, text)| (name, Lua::read(name, text))).collect()
    }

    /// The names that a file declares in its head (`needs`, `defines`), and the names in its code.
    struct Lua<'a> {
        needs: Names<'a>,
        defines: Names<'a>,
        /// Names that the code uses and does not declare.
        free: Names<'a>,
        /// Locals outside every block.
        locals: Names<'a>,
        /// Whether the last statement is a `return`.
        returns: bool,
    }

    impl<'a> Lua<'a> {
        /// Reads the head and the code of a file.
        ///
        /// # Panics
        ///
        /// Panics if the file does not consist of whole statements.
        fn read(name: &str, text: &'a str) -> Self {
            let tokens = tokens(text);
            let is_name = |token: &str| {
                token.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
                    && !KEYWORDS.split_whitespace().any(|keyword| keyword == token)
            };
            let list = |from: usize| {
                let list = tokens[from..].iter().copied();
                list.take_while(|token| is_name(token) || *token == ",")
                    .filter(|token| *token != ",")
            };
            let (mut blocks, mut brackets) = (0, Vec::new());
            let (mut declared, mut locals, mut used) = (Names::new(), Names::new(), Names::new());
            let mut returns = false;
            for (at, token) in tokens.iter().copied().enumerate() {
                let before = if at == 0 { "" } else { tokens[at - 1] };
                let after = tokens.get(at + 1).copied().unwrap_or_default();
                if blocks == 0 && matches!(token, "local" | "if" | "for" | "return") {
                    assert!(!returns, "{name}: a return should be the last statement");
                    returns = token == "return";
                }
                match token {
                    "local" if after == "function" => {
                        declared.insert(tokens[at + 2]);
                        locals.extend((blocks == 0).then_some(tokens[at + 2]));
                    }
                    "local" | "for" => {
                        declared.extend(list(at + 1));
                        locals.extend(list(at + 1).filter(|_| blocks == 0 && token == "local"));
                    }
                    "function" => {
                        let parameters = at + 2 + usize::from(is_name(after));
                        declared.extend(list(parameters));
                    }
                    _ => {}
                }
                match token {
                    "function" | "if" | "do" | "repeat" => blocks += 1,
                    "end" | "until" => blocks -= 1,
                    "(" | "[" | "{" => brackets.push(token),
                    ")" => assert_eq!(brackets.pop(), Some("("), "{name}"),
                    "]" => assert_eq!(brackets.pop(), Some("["), "{name}"),
                    "}" => assert_eq!(brackets.pop(), Some("{"), "{name}"),
                    _ => {}
                }
                assert!(blocks >= 0, "{name} should not end a block that it did not begin");
                let is_key = after == "=" && brackets.last() == Some(&"{");
                if is_name(token) && before != "." && !is_key {
                    used.insert(token);
                }
            }
            assert!(blocks == 0 && brackets.is_empty(), "{name} should end every block");
            let known = |used: &&str| {
                !declared.contains(used)
                    && !GLOBALS.split_whitespace().any(|global| global == *used)
            };
            let free = used.into_iter().filter(known).collect();
            let (needs, defines) = (head(text, "-- needs:"), head(text, "-- defines:"));
            Self { needs, defines, free, locals, returns }
        }
    }

    /// Returns the names that follow a label in the head comment of a script, including those on
    /// continuation lines.
    fn head<'a>(text: &'a str, word: &str) -> Names<'a> {
        let mut lines = text.lines().skip_while(|line| !line.starts_with(word));
        let first = lines.next().map(|line| &line[word.len()..]);
        let more = lines.map_while(|line| line.strip_prefix("--   "));
        first
            .into_iter()
            .chain(more)
            .flat_map(|line| line.split(','))
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .collect()
    }

    /// Splits a script into words, strings and characters, without comments.
    fn tokens(text: &str) -> Vec<&str> {
        let (mut tokens, mut rest) = (Vec::new(), text);
        while let Some(first) = rest.chars().next() {
            let end =
                |is_part: fn(char) -> bool| rest.find(|char| !is_part(char)).unwrap_or(rest.len());
            let length = match first {
                _ if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
                '\'' => {
                    let mut escaped = true;
                    let closes =
                        |char| !std::mem::replace(&mut escaped, char == '\\') && char == '\'';
                    rest.find(closes).expect("a string should end on its line") + 1
                }
                _ if first.is_ascii_alphanumeric() || first == '_' => {
                    end(|char| char.is_ascii_alphanumeric() || char == '_')
                }
                '=' | '~' | '<' | '>' | '.' => {
                    end(|char| matches!(char, '=' | '~' | '<' | '>' | '.'))
                }
                _ => first.len_utf8(),
            };
            if !first.is_whitespace() && !rest.starts_with("--") {
                tokens.push(&rest[..length]);
            }
            rest = &rest[length..];
        }
        tokens
    }

    #[test]
    fn heads_name_what_the_code_uses() {
        for (name, file) in files() {
            assert_eq!(
                file.needs, file.free,
                "{name}: the head should list the names that the code needs"
            );
            assert!(
                file.defines.is_subset(&file.locals),
                "{name}: each defined name should be a local"
            );
        }
    }

    #[test]
    fn files_find_what_they_need() {
        let (files, mut needed) = (files(), BTreeSet::new());
        for (script, _, names) in scripts() {
            let mut defined = Names::from(["ARGV", "KEYS"]);
            for (at, (name, _)) in names.iter().enumerate() {
                let file = &files[name];
                assert!(
                    file.needs.is_subset(&defined),
                    "{script} should define the names that {name} needs"
                );
                assert!(
                    file.locals.is_disjoint(&defined),
                    "{script}: {name} should not hide an earlier name"
                );
                defined.extend(&file.defines);
                let later = names[at + 1..].iter().map(|(later, _)| &files[later]);
                let later: Names<'_> = later.flat_map(|later| &later.needs).copied().collect();
                let used: Vec<_> = file.defines.intersection(&later).copied().collect();
                let is_last = at + 1 == names.len();
                let is_superfluous = used.is_empty() && !file.defines.is_empty();
                assert!(is_last || !is_superfluous, "{script} should need {name}");
                assert!(
                    is_last || !file.returns,
                    "{script}: {name} should not return before the last file"
                );
                needed.extend(used.into_iter().map(|used| (*name, used)));
            }
        }
        for (name, file) in files {
            for defined in file.defines {
                assert!(
                    needed.contains(&(name, defined)),
                    "a script should need {defined} of {name}"
                );
            }
        }
    }

    #[test]
    #[cfg(feature = "layered-store")]
    fn every_file_belongs_to_a_script() {
        use std::path::Path;

        fn names(folder: &Path, prefix: &str, found: &mut BTreeSet<String>) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = format!("{prefix}{}", path.file_stem().unwrap().to_str().unwrap());
                if path.is_dir() {
                    names(&path, &format!("{name}/"), found);
                } else {
                    found.insert(name);
                }
            }
        }
        let mut found = BTreeSet::new();
        names(
            Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/redis/lua")),
            "",
            &mut found,
        );
        let listed = files().into_keys().chain(["probe"]).map(str::to_owned);
        assert_eq!(found, listed.collect());
    }

    #[test]
    fn a_probe_asks_for_the_commands_of_its_scripts() {
        for (script, probe, files) in scripts() {
            let probed: Vec<_> = probe.split('\'').nth(1).unwrap().split(' ').collect();
            for token in files.iter().flat_map(|(_, text)| tokens(text)) {
                let word = token.trim_matches('\'');
                let is_command =
                    word.len() > 2 && word.bytes().all(|byte| byte.is_ascii_uppercase());
                if token != word && is_command && !matches!(word, "FIELDS" | "LIMIT") {
                    assert!(probed.contains(&word), "the probe of {script} should list {word}");
                }
            }
        }
    }
}
