//! The requirements of the standards for sessions, and the tests that prove them.
//!
//! The comment `proves:` before a test names its requirements. `docs/requirements.md` is generated
//! from this file and these comments.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use Class::{Assisted, Documented, Proven};

/// How far a library can meet a requirement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// The library meets the requirement by default.
    Proven,
    /// The library lets an application meet the requirement.
    Assisted,
    /// The documentation explains how to meet the requirement.
    Documented,
}

struct Requirement(&'static str, Class, &'static str);

/// The requirements of three standards:
///
/// - OWASP ASVS 5.0, chapter 7 and related chapters,
/// - NIST SP 800-63B-4, section 5 and the assurance levels,
/// - the OWASP Session Management Cheat Sheet.
const REQUIREMENTS: [Requirement; 85] = [
    Requirement("ASVS-7.1.1", Assisted, "The time limits are documented: `SessionLayer::describe`"),
    Requirement(
        "ASVS-7.1.2",
        Assisted,
        "The limit on parallel sessions is documented: `max_sessions`",
    ),
    Requirement(
        "ASVS-7.1.3",
        Documented,
        "The relation to sessions of an identity provider is documented",
    ),
    Requirement("ASVS-7.2.1", Proven, "The server checks every token"),
    Requirement(
        "ASVS-7.2.2",
        Proven,
        "Tokens are generated, never fixed and never supplied by the client",
    ),
    Requirement("ASVS-7.2.3", Proven, "Tokens are unique and random, with at least 128 bits"),
    Requirement("ASVS-7.2.4", Proven, "An authentication issues a new token and ends the old one"),
    Requirement("ASVS-7.3.1", Proven, "A session ends after a time without use"),
    Requirement("ASVS-7.3.2", Proven, "A session ends after a maximum time, used or not"),
    Requirement("ASVS-7.4.1", Proven, "An ended session can no longer be used"),
    Requirement("ASVS-7.4.2", Proven, "All sessions of an account can be ended: `revoke_all`"),
    Requirement(
        "ASVS-7.4.3",
        Assisted,
        "All sessions except one can be ended, after a change of the password: `revoke_others`",
    ),
    Requirement(
        "ASVS-7.4.4",
        Documented,
        "Every page has a way to sign out: `Session::delete` behind a POST",
    ),
    Requirement(
        "ASVS-7.4.5",
        Proven,
        "An administrator can end the sessions of one user or of all users",
    ),
    Requirement(
        "ASVS-7.5.1",
        Assisted,
        "Sensitive changes demand a recent authentication: `Fresh`",
    ),
    Requirement("ASVS-7.5.2", Assisted, "Users list and end their sessions: `Session::sessions`"),
    Requirement("ASVS-7.5.3", Assisted, "Very sensitive operations demand another factor: `Aal`"),
    Requirement("ASVS-7.6.1", Assisted, "A session ends with that of the identity provider"),
    Requirement("ASVS-7.6.2", Proven, "No session is created without an action by the user"),
    Requirement("ASVS-3.3.1", Proven, "The cookie is `Secure`, and its name has a prefix"),
    Requirement("ASVS-3.3.2", Proven, "The cookie has `SameSite`"),
    Requirement(
        "ASVS-3.3.3",
        Proven,
        "The prefix is `__Host-`, unless the cookie is shared on purpose",
    ),
    Requirement(
        "ASVS-3.3.4",
        Proven,
        "The cookie is `HttpOnly`, and its value is transferred in no other way",
    ),
    Requirement("ASVS-3.3.5", Proven, "Name and value of the cookie have at most 4096 bytes"),
    Requirement(
        "ASVS-3.5.1",
        Assisted,
        "Requests of other sites are refused: `CsrfLayer`, `csrf_token`",
    ),
    Requirement("ASVS-4.4.3", Assisted, "A WebSocket ends with its session: `Session::watch`"),
    Requirement(
        "ASVS-6.8.4",
        Assisted,
        "The strength and the time of an authentication are known: `Session::signed_in`",
    ),
    Requirement(
        "ASVS-8.3.2",
        Proven,
        "A change of rights takes effect immediately: `hot = \"checked\"`",
    ),
    Requirement(
        "ASVS-9.1.1",
        Proven,
        "The contents of a token are authenticated, and valid for one purpose",
    ),
    Requirement(
        "ASVS-11.5.1",
        Proven,
        "Random values have at least 128 bits of entropy and are not UUIDs",
    ),
    Requirement("ASVS-13.3.1", Assisted, "Keys come from a vault and can be replaced: `KeyRing`"),
    Requirement("ASVS-14.2.1", Proven, "No URL contains a token"),
    Requirement("ASVS-14.2.2", Proven, "Sensitive values stay out of caches: `hot = \"never\"`"),
    Requirement("ASVS-14.3.1", Proven, "Browsers clear the data of the site: `clear_site_data`"),
    Requirement("ASVS-14.3.2", Proven, "No cache stores a response with a token"),
    Requirement("ASVS-15.4.1", Proven, "Threads and processes access shared data safely"),
    Requirement("ASVS-16.2.5", Proven, "No token is logged"),
    Requirement("ASVS-16.5.1", Proven, "Errors reveal nothing to clients"),
    Requirement("NIST-5.1-a", Proven, "A session continues by a secret that the server issued"),
    Requirement("NIST-5.1-b", Proven, "The secret does not outlive the browser by default"),
    Requirement(
        "NIST-5.1-c",
        Assisted,
        "A remembered user is not authenticated: `Assurance::Remembered`",
    ),
    Requirement(
        "NIST-5.1-d",
        Proven,
        "The level of a session is that of its authentication, not above",
    ),
    Requirement(
        "NIST-5.1-e",
        Proven,
        "The browser's copy of the secret is removed when the user signs out",
    ),
    Requirement("NIST-5.1-f", Proven, "A session never falls back to plain HTTP"),
    Requirement(
        "NIST-5.1-g",
        Assisted,
        "Requests that change something can be bound to their session: `csrf_token`",
    ),
    Requirement("NIST-5.1-h", Documented, "Signing out is easy"),
    Requirement("NIST-5.1.1", Proven, "The secret is issued with the authentication"),
    Requirement(
        "NIST-5.1.2",
        Proven,
        "An approved generator makes the secret, with at least 64 bits",
    ),
    Requirement(
        "NIST-5.1.3",
        Proven,
        "After a sign-out the secret is invalid, and the cookie is removed",
    ),
    Requirement("NIST-5.1.4", Proven, "The secret is transferred over protected channels only"),
    Requirement("NIST-5.1.5", Proven, "The secret is refused after its lifetime"),
    Requirement("NIST-5.1.1-1", Proven, "Cookie: for secure connections only"),
    Requirement("NIST-5.1.1-2", Proven, "Cookie: for as few hosts and paths as possible"),
    Requirement("NIST-5.1.1-3", Proven, "Cookie: not accessible to scripts"),
    Requirement(
        "NIST-5.1.1-4",
        Proven,
        "Cookie: expires with its session, which does not rely on it",
    ),
    Requirement("NIST-5.1.1-5", Proven, "Cookie: has the prefix `__Host-` and the path `/`"),
    Requirement("NIST-5.1.1-6", Proven, "Cookie: `SameSite` is `Lax` or `Strict`"),
    Requirement("NIST-5.1.1-7", Proven, "Cookie: contains only an opaque string"),
    Requirement("NIST-5.2-a", Proven, "There is an overall timeout and an inactivity timeout"),
    Requirement(
        "NIST-5.2-b",
        Proven,
        "Activity restarts the inactivity timeout, authentication restarts both",
    ),
    Requirement(
        "NIST-5.2-c",
        Proven,
        "A page can warn before a timeout without counting as activity: `set_passive`, `metadata`",
    ),
    Requirement("NIST-5.2-d", Assisted, "The limits are documented"),
    Requirement(
        "NIST-5.2-e",
        Assisted,
        "The application can check the age of the authentication: `Session::require`",
    ),
    Requirement("AAL1", Proven, "At most 30 days: `aal1`"),
    Requirement("AAL2", Proven, "At most 24 hours, and an hour without activity: `aal2`"),
    Requirement("AAL3", Proven, "At most 12 hours, and 15 minutes without activity: `aal3`"),
    Requirement("NIST-5.3", Assisted, "Sessions can be monitored for signs of fraud"),
    Requirement("CS-1", Proven, "The name of the cookie reveals nothing"),
    Requirement("CS-2", Proven, "The token reveals nothing"),
    Requirement("CS-3", Proven, "Values can be encrypted at rest"),
    Requirement("CS-4", Proven, "Tokens are exchanged in one way, and accepted in no other"),
    Requirement("CS-5", Proven, "The cookie has no `Domain`"),
    Requirement("CS-6", Proven, "Unknown tokens are not adopted, and are logged"),
    Requirement("CS-7", Proven, "A token is untrusted input"),
    Requirement("CS-8", Assisted, "A change of privileges issues a new token"),
    Requirement("CS-9", Assisted, "Cookies before and after the sign-in can have different names"),
    Requirement("CS-10", Proven, "Parts of different tokens do not form a valid one"),
    Requirement(
        "CS-11",
        Proven,
        "Tokens are renewed, with a grace period for the former one: `renew_every`",
    ),
    Requirement(
        "CS-12",
        Proven,
        "An expired session ends on the server, and a sign-out on both sides",
    ),
    Requirement("CS-13", Assisted, "A risk demands another authentication: `Session::require`"),
    Requirement("CS-14", Assisted, "Guessing is noticed: the event and counter of unknown tokens"),
    Requirement("CS-15", Assisted, "Changed properties of a client are noticed: `watch_clients`"),
    Requirement("CS-16", Proven, "The events of a session are logged, without its secret"),
    Requirement("CS-17", Assisted, "Parallel sessions are listed and ended"),
    Requirement("CS-18", Documented, "`SameSite` alone is not sufficient"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
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

/// Returns the tests of each requirement.
fn proofs() -> BTreeMap<String, BTreeSet<String>> {
    let mut files = Vec::new();
    for folder in ["ruts/src", "tests/http", "tests/stores", "tests/support"] {
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
            assert!(attributed, "{}: a test should follow: {line}", file.display());
            let suite = file.file_stem().unwrap().to_str().unwrap();
            let suite = match file.to_str().unwrap() {
                path if path.contains("/conformance/") => format!("conformance::{suite}"),
                path if path.contains("/layered/") => format!("layered::{suite}"),
                _ => suite.to_owned(),
            };
            // A macro generates the test for each store.
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
    let mut text = "# Requirements of the standards, and the tests that prove them\n\n\
        `tests/meta/requirements.rs` generates this page from the comments `proves:` in the \
        tests. Do not edit it. The checks of `conformance` run on every store.\n\n\
        The requirements are those of OWASP ASVS 5.0, of NIST SP 800-63B-4 and of the OWASP \
        Session Management Cheat Sheet (CS), in our words. **P**: the library meets it by \
        default. **A**: the library enables an application to meet it. **D**: the documentation \
        explains how to meet it.\n\n\
        | id | | requirement | proved by |\n| --- | --- | --- | --- |\n"
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
fn every_requirement_has_a_test_or_a_page() {
    let proofs = proofs();
    let security = fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let known: BTreeSet<&str> = REQUIREMENTS.iter().map(|requirement| requirement.0).collect();
    assert_eq!(known.len(), REQUIREMENTS.len(), "no id should occur twice");
    for id in proofs.keys() {
        assert!(known.contains(id.as_str()), "{id} should be a requirement");
    }
    for Requirement(id, class, _) in &REQUIREMENTS {
        let is_shown = match class {
            Documented => security.contains(id),
            Proven | Assisted => proofs.contains_key(*id),
        };
        assert!(is_shown, "a test should prove {id}");
    }
    let count = |class| REQUIREMENTS.iter().filter(|requirement| requirement.1 == class).count();
    assert_eq!((count(Proven), count(Assisted), count(Documented)), (59, 22, 4));
}

/// `UPDATE=1` rewrites `docs/requirements.md`.
#[test]
fn the_page_is_up_to_date() {
    let path = root().join("docs/requirements.md");
    let table = table();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &table).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == table, "run `UPDATE=1 cargo test -p ruts-tests-meta requirements`");
}
