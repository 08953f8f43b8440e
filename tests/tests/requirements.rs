//! What the standards ask of sessions, and which tests show it. `docs/requirements.md` is made of this.
//!
//! A test says what it proves in the comment `proves:` before it. Checks of the conformance suite
//! run on every store.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use Class::{Assisted, Documented, Proven};

/// How far a library can answer for a requirement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// By itself, by default.
    Proven,
    /// It has what an application needs for it.
    Assisted,
    /// It can say how.
    Documented,
}

struct Requirement(&'static str, Class, &'static str);

/// OWASP ASVS 5.0 chapter 7 and its neighbours, NIST SP 800-63B-4 section 5 and its levels, and the OWASP
/// Session Management Cheat Sheet.
const REQUIREMENTS: [Requirement; 85] = [
    Requirement(
        "ASVS-7.1.1",
        Assisted,
        "The time limits are written down: `SessionLayer::describe`",
    ),
    Requirement("ASVS-7.1.2", Assisted, "So is how many sessions one may have: `max_sessions`"),
    Requirement(
        "ASVS-7.1.3",
        Documented,
        "And how sessions of an identity provider go together with ours",
    ),
    Requirement("ASVS-7.2.1", Proven, "Tokens are checked on the server"),
    Requirement("ASVS-7.2.2", Proven, "Tokens are made anew, never given or fixed"),
    Requirement("ASVS-7.2.3", Proven, "They are unique, random, and of 128 bits at least"),
    Requirement("ASVS-7.2.4", Proven, "Authentication makes a new one and ends the old one"),
    Requirement("ASVS-7.3.1", Proven, "A session ends when it is not used"),
    Requirement("ASVS-7.3.2", Proven, "It ends after a time in any case"),
    Requirement("ASVS-7.4.1", Proven, "What has ended opens nothing any more"),
    Requirement("ASVS-7.4.2", Proven, "All sessions of an account can be ended: `revoke_all`"),
    Requirement(
        "ASVS-7.4.3",
        Assisted,
        "So can all but one, after a password has changed: `revoke_others`",
    ),
    Requirement(
        "ASVS-7.4.4",
        Documented,
        "Every page has a way to sign out: `Session::delete` behind a POST",
    ),
    Requirement("ASVS-7.4.5", Proven, "An administrator can end those of one or of everybody"),
    Requirement("ASVS-7.5.1", Assisted, "Sensitive changes need a fresh authentication: `Fresh`"),
    Requirement("ASVS-7.5.2", Assisted, "Users see and end their sessions: `Session::sessions`"),
    Requirement("ASVS-7.5.3", Assisted, "Very sensitive ones need another factor: `Aal`"),
    Requirement("ASVS-7.6.1", Assisted, "A session ends with that of the identity provider"),
    Requirement("ASVS-7.6.2", Proven, "No session begins without somebody's doing"),
    Requirement("ASVS-3.3.1", Proven, "The cookie is `Secure` and has a prefix"),
    Requirement("ASVS-3.3.2", Proven, "`SameSite` is set"),
    Requirement("ASVS-3.3.3", Proven, "The prefix is `__Host-` unless it is shared on purpose"),
    Requirement("ASVS-3.3.4", Proven, "It is `HttpOnly`, and its value travels in no other way"),
    Requirement("ASVS-3.3.5", Proven, "Name and value fit into 4096 bytes"),
    Requirement(
        "ASVS-3.5.1",
        Assisted,
        "Requests of other sites are refused: `CsrfLayer`, `csrf_token`",
    ),
    Requirement("ASVS-4.4.3", Assisted, "A WebSocket ends with its session: `Session::watch`"),
    Requirement(
        "ASVS-6.8.4",
        Assisted,
        "How and when somebody authenticated is known: `Session::signed_in`",
    ),
    Requirement("ASVS-8.3.2", Proven, "A change of rights counts at once: `hot = \"checked\"`"),
    Requirement(
        "ASVS-9.1.1",
        Proven,
        "What a token says of itself is authenticated, and for one purpose",
    ),
    Requirement("ASVS-11.5.1", Proven, "Random numbers have 128 bits of entropy and are no UUIDs"),
    Requirement("ASVS-13.3.1", Assisted, "Keys come from a vault and can be replaced: `KeyRing`"),
    Requirement("ASVS-14.2.1", Proven, "No token stands in an address"),
    Requirement("ASVS-14.2.2", Proven, "Sensitive values stay out of caches: `hot = \"never\"`"),
    Requirement("ASVS-14.3.1", Proven, "Browsers are told to clear the site: `clear_site_data`"),
    Requirement("ASVS-14.3.2", Proven, "No cache keeps a response with a token"),
    Requirement("ASVS-15.4.1", Proven, "What is shared between threads and processes is safe"),
    Requirement("ASVS-16.2.5", Proven, "No token is logged"),
    Requirement("ASVS-16.5.1", Proven, "Errors tell clients nothing"),
    Requirement("NIST-5.1-a", Proven, "A session continues by a secret that the server issued"),
    Requirement("NIST-5.1-b", Proven, "It does not outlive the browser unless asked to"),
    Requirement(
        "NIST-5.1-c",
        Assisted,
        "To be remembered is no authentication: `Assurance::Remembered`",
    ),
    Requirement("NIST-5.1-d", Proven, "Its level is that of the authentication, not above"),
    Requirement(
        "NIST-5.1-e",
        Proven,
        "The browser's copy goes when the session has ended or expired",
    ),
    Requirement("NIST-5.1-f", Proven, "There is no falling back to plain http"),
    Requirement(
        "NIST-5.1-g",
        Assisted,
        "Requests that change something can be bound to their session: `csrf_token`",
    ),
    Requirement("NIST-5.1-h", Documented, "Signing out is easy"),
    Requirement("NIST-5.1.1", Proven, "The secret is made with the authentication"),
    Requirement("NIST-5.1.2", Proven, "By an approved generator, with 64 bits at least"),
    Requirement(
        "NIST-5.1.3",
        Proven,
        "It is worth nothing after signing out, and the cookie is removed",
    ),
    Requirement("NIST-5.1.4", Proven, "It travels over protected channels only"),
    Requirement("NIST-5.1.5", Proven, "It is refused after its time"),
    Requirement("NIST-5.1.1-1", Proven, "Cookie: for secure connections only"),
    Requirement("NIST-5.1.1-2", Proven, "Cookie: for as few hosts and paths as can be"),
    Requirement("NIST-5.1.1-3", Proven, "Cookie: out of reach of scripts"),
    Requirement(
        "NIST-5.1.1-4",
        Proven,
        "Cookie: ends with its session, which does not rely on that",
    ),
    Requirement("NIST-5.1.1-5", Proven, "Cookie: with the prefix `__Host-` and the path `/`"),
    Requirement("NIST-5.1.1-6", Proven, "Cookie: `SameSite` is `Lax` or `Strict`"),
    Requirement("NIST-5.1.1-7", Proven, "Cookie: holds nothing but an opaque string"),
    Requirement("NIST-5.2-a", Proven, "There is an overall and an inactivity timeout"),
    Requirement("NIST-5.2-b", Proven, "Activity resets the one, authentication both"),
    Requirement(
        "NIST-5.2-c",
        Proven,
        "A page can warn before, without that being activity: `passive`, `deadlines`",
    ),
    Requirement("NIST-5.2-d", Assisted, "The limits are written down"),
    Requirement(
        "NIST-5.2-e",
        Assisted,
        "The age of the authentication is ours to judge: `Session::require`",
    ),
    Requirement("AAL1", Proven, "At most 30 days: `aal1`"),
    Requirement("AAL2", Proven, "At most 24 hours, and an hour without use: `aal2`"),
    Requirement("AAL3", Proven, "At most 12 hours, and 15 minutes without use: `aal3`"),
    Requirement("NIST-5.3", Assisted, "Sessions can be watched for signs of fraud"),
    Requirement("CS-1", Proven, "The cookie's name tells nothing"),
    Requirement("CS-2", Proven, "Nor does the token"),
    Requirement("CS-3", Proven, "Values can be encrypted at rest"),
    Requirement("CS-4", Proven, "One way of exchange, and no other is accepted"),
    Requirement("CS-5", Proven, "No `Domain`"),
    Requirement("CS-6", Proven, "Unknown tokens are not adopted, and are reported"),
    Requirement("CS-7", Proven, "A token is hostile input"),
    Requirement("CS-8", Assisted, "A change of privileges makes a new token"),
    Requirement("CS-9", Assisted, "Cookies before and after signing in can have different names"),
    Requirement("CS-10", Proven, "Parts of different tokens do not go together"),
    Requirement(
        "CS-11",
        Proven,
        "Tokens are renewed, with a time in which both are good: `renew_every`",
    ),
    Requirement("CS-12", Proven, "Both sides take note when a session has expired"),
    Requirement(
        "CS-13",
        Assisted,
        "ClientChangeAction asks for another authentication: `Session::require`",
    ),
    Requirement("CS-14", Assisted, "Guessing is noticed: the event and counter of unknown tokens"),
    Requirement("CS-15", Assisted, "So are a client's changed properties"),
    Requirement("CS-16", Proven, "What happens to a session is logged, without its secret"),
    Requirement("CS-17", Assisted, "Parallel sessions are listed and ended"),
    Requirement("CS-18", Documented, "`SameSite` alone is no protection"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The tests of each requirement.
fn proofs() -> BTreeMap<String, BTreeSet<String>> {
    let mut files = Vec::new();
    for folder in ["ruts/src", "ruts/tests", "tests/src", "tests/tests"] {
        sources(&root().join(folder), &mut files);
    }
    let mut proofs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in files.iter().filter(|file| !file.ends_with("requirements.rs")) {
        let text = fs::read_to_string(file).unwrap();
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for (at, line) in lines.iter().enumerate() {
            let Some(ids) = line.strip_prefix("// proves: ") else { continue };
            let test = lines[at..].iter().find_map(|line| {
                let (_, rest) = line.split_once("fn ")?;
                rest.split(['(', '<']).next()
            });
            let attributed =
                lines[at + 1].starts_with("#[") || lines[at + 1].starts_with("pub async");
            assert!(attributed, "{}: a proof is a test: {line}", file.display());
            let suite = file.file_stem().unwrap().to_str().unwrap();
            let suite = match file.to_str().unwrap() {
                path if path.contains("/conformance/") => format!("conformance::{suite}"),
                path if path.contains("/layered/") => format!("layered::{suite}"),
                _ => suite.to_owned(),
            };
            // The name of a test that a macro makes for each store.
            let name = test.unwrap();
            let name = if name.starts_with('$') { "each store" } else { name };
            for id in ids.split(' ') {
                proofs.entry(id.to_owned()).or_default().insert(format!("`{suite}::{name}`"));
            }
        }
    }
    proofs
}

fn table() -> String {
    let proofs = proofs();
    let mut text = "# What the standards ask, and what shows it\n\n\
        Made by `tests/tests/requirements.rs` of the comments `proves:` in the tests; do not edit. Checks \
        of `conformance` run on every store.\n\n\
        The requirements are those of OWASP ASVS 5.0, of NIST SP 800-63B-4 and of the OWASP Session \
        Management Cheat Sheet (CS), in our words. **P**: the library does it by itself. **A**: it has \
        what an application needs for it. **D**: it says how.\n\n\
        | id | | what is asked | shown by |\n| --- | --- | --- | --- |\n"
        .to_owned();
    for Requirement(id, class, words) in &REQUIREMENTS {
        let class = match class {
            Proven => "P",
            Assisted => "A",
            Documented => "D",
        };
        let tests =
            proofs.get(*id).map(|tests| tests.iter().cloned().collect::<Vec<_>>().join(" "));
        let shown = match tests {
            Some(tests) => tests,
            None => "[SECURITY.md](../SECURITY.md)".to_owned(),
        };
        writeln!(text, "| {id} | {class} | {words} | {shown} |").unwrap();
    }
    text
}

#[test]
fn every_requirement_is_shown_by_a_test_or_a_page() {
    let proofs = proofs();
    let security = fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let known: BTreeSet<&str> = REQUIREMENTS.iter().map(|requirement| requirement.0).collect();
    assert_eq!(known.len(), REQUIREMENTS.len(), "no id twice");
    for id in proofs.keys() {
        assert!(known.contains(id.as_str()), "{id} is no requirement");
    }
    for Requirement(id, class, _) in &REQUIREMENTS {
        let is_shown = match class {
            Documented => security.contains(id),
            Proven | Assisted => proofs.contains_key(*id),
        };
        assert!(is_shown, "{id}");
    }
    let count = |class| REQUIREMENTS.iter().filter(|requirement| requirement.1 == class).count();
    assert_eq!((count(Proven), count(Assisted), count(Documented)), (59, 22, 4));
}

/// `UPDATE=1` writes it anew.
#[test]
fn the_table_is_up_to_date() {
    let path = root().join("docs/requirements.md");
    let table = table();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &table).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == table, "run `UPDATE=1 cargo test -p ruts-tests --test requirements`");
}
