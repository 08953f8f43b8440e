//! [`check_session_security`]: uses an application like a user and like an attacker, and notes
//! which rules hold.
//!
//! Called by tests of applications. Knows only the HTTP interface of an application.

use std::time::Duration;

use cookie::{Cookie, SameSite};
use http::{HeaderName, header};

use super::{
    client::{Client, Reply, SEC_FETCH_SITE},
    report::{Outcome, Report},
    scenario::{Lifetimes, SessionSecurity},
};

const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");

/// Parts of cookie names that reveal a framework.
const FRAMEWORKS: [&str; 9] = [
    "ruts",
    "axum",
    "tower",
    "phpsessid",
    "jsessionid",
    "asp.net",
    "connect.sid",
    "laravel",
    "rails",
];

/// Requirements and rules of the checks that need a clock.
const IDLE: (&str, &str) =
    ("ASVS-7.3.1 NIST-5.1.5 NIST-5.2-a", "an unused session ends at its idle deadline");
const ABSOLUTE: (&str, &str) =
    ("ASVS-7.3.2 NIST-5.1.5 NIST-5.2-a", "a session in use ends at its absolute deadline");
const FRESH: (&str, &str) =
    ("ASVS-7.5.1 CS-13", "a sensitive page asks for a fresh authentication");

/// Runs all checks of a scenario, prints the report, and panics if a rule is broken.
///
/// # Panics
///
/// Panics if a rule is broken, or [`check_session_security`] panics.
pub async fn assert_session_security(scenario: SessionSecurity) {
    let report = check_session_security(&scenario).await;
    print!("{report}");
    let broken = report.broken().count();
    assert!(broken == 0, "{broken} rules are broken:\n{report}");
}

/// Runs all checks of a scenario: uses the application like a user and like an attacker.
///
/// # Panics
///
/// Panics if the sign-in does not open the private page, or the application fails.
pub async fn check_session_security(scenario: &SessionSecurity) -> Report {
    let mut report = Report::new();
    let (client, reply) = scenario.signed_in().await;
    let name = session_cookie(scenario, &client).await;
    let outcome = visit(scenario, name.as_deref()).await;
    report.note("ASVS-7.6.2", "a visit starts no session", outcome);
    let Some(name) = name else {
        let how = "the private page opens without a cookie".to_owned();
        report.note("ASVS-7.2.1", "a cookie identifies the session", Outcome::Broken(how));
        return report;
    };
    let cookie = reply.set_cookies().into_iter().find(|cookie| cookie.name() == name);
    if let Some(cookie) = &cookie {
        attributes(scenario, cookie, &reply, &mut report);
    } else {
        let how = format!("its response does not set `{name}`");
        report.note("ASVS-7.2.4", "a sign-in issues a new token", Outcome::Broken(how));
    }
    tokens(scenario, &client, &name, &mut report).await;
    rotations(scenario, &mut report).await;
    sign_out(scenario, &name, cookie.as_ref(), &mut report).await;
    let ids = "ASVS-3.5.1 NIST-5.1-g CS-18";
    report.note(ids, "another site cannot end the session", cross_site(scenario).await);
    let ids = "ASVS-7.4.3 ASVS-7.5.2 CS-17";
    report.note(ids, "other devices can be signed out", others(scenario).await);
    let ids = "ASVS-7.1.2 CS-17";
    report.note(ids, "the number of sessions is limited", limit(scenario).await);
    match &scenario.lifetimes {
        Some(lifetimes) => check_lifetimes(scenario, lifetimes, &mut report).await,
        None => {
            for (ids, rule) in [IDLE, ABSOLUTE, FRESH] {
                report.note(ids, rule, Outcome::NotChecked("lifetimes"));
            }
        }
    }
    report
}

/// Returns the name of the cookie without which the private page does not open.
async fn session_cookie(scenario: &SessionSecurity, client: &Client) -> Option<String> {
    for name in client.cookies() {
        let without = client.steal();
        without.forget(&name);
        if !scenario.is_in(&without).await {
            return Some(name);
        }
    }
    None
}

/// The application may also set cookies that do not belong to the session.
async fn visit(scenario: &SessionSecurity, name: Option<&str>) -> Outcome {
    let client = scenario.client.stranger();
    for path in [&scenario.public, &scenario.private] {
        let reply = client.get(path).await;
        let cookies = reply.set_cookies();
        let mut cookies = cookies.iter();
        if let Some(cookie) = cookies.find(|cookie| name.is_none_or(|name| cookie.name() == name)) {
            return Outcome::Broken(format!("`{path}` sets `{}`", cookie.name()));
        }
    }
    let opens = scenario.is_in(&client).await;
    Outcome::kept_if(!opens, || format!("`{}` opens without a sign-in", scenario.private))
}

fn attributes(scenario: &SessionSecurity, cookie: &Cookie<'_>, reply: &Reply, report: &mut Report) {
    let name = cookie.name();
    let is_prefixed = name.starts_with("__Host-") || name.starts_with("__Secure-");
    let is_secure = cookie.secure() == Some(true) && is_prefixed;
    let is_same_site = matches!(cookie.same_site(), Some(SameSite::Lax | SameSite::Strict));
    let is_host = name.starts_with("__Host-") && cookie.path() == Some("/");
    let is_http_only = cookie.http_only() == Some(true);
    let has_domain = cookie.domain().is_some();
    let shown = || {
        let mut shown = cookie.clone();
        shown.set_value("..");
        shown.to_string()
    };
    for (ids, rule, is_kept) in [
        (
            "ASVS-3.3.1 NIST-5.1.1-1 NIST-5.1-f",
            "the cookie is `Secure`, and its name says so",
            is_secure,
        ),
        ("ASVS-3.3.2 NIST-5.1.1-6", "the cookie is `SameSite`", is_same_site),
        ("ASVS-3.3.3 NIST-5.1.1-5", "the cookie belongs to one host", is_host),
        ("CS-5", "the cookie has no `Domain`", !has_domain),
        ("ASVS-3.3.4 NIST-5.1.1-3", "scripts cannot read the cookie", is_http_only),
    ] {
        report.note(ids, rule, Outcome::kept_if(is_kept, shown));
    }
    let length = name.len() + cookie.value().len();
    let outcome = Outcome::kept_if(length <= 4096, || format!("{length} bytes"));
    report.note("ASVS-3.3.5", "the cookie is not too long", outcome);
    let ends = cookie.max_age().is_none() && cookie.expires().is_none();
    let outcome = Outcome::kept_if(ends || scenario.is_persistent, || {
        "it has `Max-Age` or `Expires`".to_owned()
    });
    report.note("NIST-5.1-b", "the cookie ends with the browser", outcome);
    report.note("CS-1", "the cookie's name reveals no framework", framework(name));
    report.note("ASVS-14.3.2", "no cache keeps a token", caching(reply, name));
}

fn framework(name: &str) -> Outcome {
    let lower = name.to_ascii_lowercase();
    match FRAMEWORKS.iter().find(|framework| lower.contains(*framework)) {
        None => Outcome::Kept,
        Some(framework) => Outcome::Broken(format!("`{name}` reveals {framework}")),
    }
}

fn caching(reply: &Reply, name: &str) -> Outcome {
    let control = reply.headers.get(header::CACHE_CONTROL).and_then(|value| value.to_str().ok());
    Outcome::kept_if(control.is_some_and(|control| control.contains("no-store")), || {
        format!("`Cache-Control` is {control:?} where `{name}` is set")
    })
}

async fn tokens(scenario: &SessionSecurity, client: &Client, name: &str, report: &mut Report) {
    let outcome = pages(scenario, client, name).await;
    report.note("ASVS-3.3.4", "no page shows the token", outcome);
    let outcome = hostile(scenario, client, name).await;
    report.note("ASVS-7.2.1 CS-7", "an invalid token is refused", outcome);
    let outcome = address(scenario, client, name).await;
    report.note("ASVS-14.2.1 CS-4", "a token in the URL is ignored", outcome);
    // The application may allow only one session, so the client signs out before others sign in.
    scenario.sign_out(client).await;
    let ids = "ASVS-7.2.3 NIST-5.1.2 CS-2";
    report.note(ids, "tokens are long and random", randomness(scenario, name).await);
    let outcome = planted(scenario, name).await;
    report.note("ASVS-7.2.2 CS-6", "a planted token is not adopted", outcome);
}

async fn randomness(scenario: &SessionSecurity, name: &str) -> Outcome {
    let mut tokens = Vec::new();
    for _ in 0..8 {
        let member = scenario.member().await;
        tokens.extend(member.cookie(name));
        // The application may limit the number of sessions, so each client signs out again.
        scenario.sign_out(&member).await;
    }
    // 128 bits take 22 characters in base64.
    if let Some(short) = tokens.iter().find(|token| token.len() < 22) {
        return Outcome::Broken(format!("a token has {} characters", short.len()));
    }
    let number = tokens.len();
    tokens.sort();
    tokens.dedup();
    Outcome::kept_if(tokens.len() == number, || "two sign-ins got the same token".to_owned())
}

async fn pages(scenario: &SessionSecurity, client: &Client, name: &str) -> Outcome {
    let token = client.cookie(name).unwrap_or_default();
    for path in [&scenario.public, &scenario.private] {
        if client.get(path).await.text().contains(&token) {
            return Outcome::Broken(format!("`{path}` shows it"));
        }
    }
    Outcome::Kept
}

async fn hostile(scenario: &SessionSecurity, client: &Client, name: &str) -> Outcome {
    let token = client.cookie(name).unwrap_or_default();
    let mut values = vec![
        String::new(),
        "admin".to_owned(),
        "../../etc/passwd".to_owned(),
        "' or '1'='1".to_owned(),
        "%00".to_owned(),
        "A".repeat(token.len()),
        "A".repeat(4000),
        format!("{token}A"),
        token.chars().rev().collect(),
    ];
    for at in [0, token.len() / 2, token.len().saturating_sub(2)] {
        values.push(token[..at].to_owned());
        let mut altered = token.clone().into_bytes();
        if let Some(byte) = altered.get_mut(at) {
            *byte = if *byte == b'A' { b'B' } else { b'A' };
        }
        values.push(String::from_utf8_lossy(&altered).into_owned());
    }
    for value in values {
        let thief = client.stranger();
        thief.plant(name, &value);
        let reply = thief.get(&scenario.private).await;
        if reply.status.is_server_error() {
            return Outcome::Broken(format!("a cookie of {} bytes: {}", value.len(), reply.status));
        }
        if scenario.is_in(&thief).await {
            return Outcome::Broken("an altered token opens the private page".to_owned());
        }
    }
    Outcome::Kept
}

async fn planted(scenario: &SessionSecurity, name: &str) -> Outcome {
    // The planted token has a valid form: it belonged to a session that has ended.
    let victim = scenario.member().await;
    let ended = victim.steal();
    scenario.sign_out(&victim).await;
    let Some(token) = ended.cookie(name) else { return Outcome::Kept };
    let victim = victim.stranger();
    victim.plant(name, &token);
    let reply = scenario.sign_in(&victim).await;
    let (is_in, is_adopted) = (scenario.is_in(&victim).await, scenario.is_in(&ended).await);
    scenario.sign_out(&victim).await;
    Outcome::kept_if(is_in && !is_adopted, || match is_adopted {
        true => "a token from before the sign-in opens the private page".to_owned(),
        false => format!("a client with a planted token cannot sign in: {}", reply.status),
    })
}

async fn address(scenario: &SessionSecurity, client: &Client, name: &str) -> Outcome {
    let token = client.cookie(name).unwrap_or_default();
    let bare = name.trim_start_matches("__Host-").trim_start_matches("__Secure-");
    let path = &scenario.private;
    for address in [
        format!("{path}?{name}={token}"),
        format!("{path}?{bare}={token}"),
        format!("{path}?session={token}"),
        format!("{path};{bare}={token}"),
    ] {
        let reply = client.stranger().get(&address).await;
        if scenario.opens(&reply) {
            return Outcome::Broken(format!("`{bare}` in the URL opens the page"));
        }
    }
    Outcome::Kept
}

async fn rotations(scenario: &SessionSecurity, report: &mut Report) {
    let outcome = sign_in_rotation(scenario).await;
    report.note("ASVS-7.2.4 NIST-5.1-a", "a sign-in ends the former token", outcome);
    report.note("CS-8", "more rights need a new token", elevation(scenario).await);
}

async fn sign_in_rotation(scenario: &SessionSecurity) -> Outcome {
    let Some(visit) = &scenario.visit else { return Outcome::NotChecked("guest") };
    let client = scenario.client.stranger();
    visit(client.clone()).await;
    let guest = client.steal();
    let reply = scenario.sign_in(&client).await;
    let (is_in, is_guest_in) = (scenario.is_in(&client).await, scenario.is_in(&guest).await);
    scenario.sign_out(&client).await;
    Outcome::kept_if(is_in && !is_guest_in, || match is_guest_in {
        true => "the guest's cookie is signed in too".to_owned(),
        false => format!("a guest with a session cannot sign in: {}", reply.status),
    })
}

async fn elevation(scenario: &SessionSecurity) -> Outcome {
    let Some(elevate) = &scenario.elevate else { return Outcome::NotChecked("elevate") };
    let client = scenario.member().await;
    let former = client.steal();
    let reply = elevate(client.clone()).await;
    let (is_in, is_former_in) = (scenario.is_in(&client).await, scenario.is_in(&former).await);
    scenario.sign_out(&client).await;
    Outcome::kept_if(is_in && !is_former_in, || match is_former_in {
        true => "the former cookie got the rights too".to_owned(),
        false => format!("the user is signed out: {}", reply.status),
    })
}

async fn sign_out(
    scenario: &SessionSecurity,
    name: &str,
    set: Option<&Cookie<'_>>,
    report: &mut Report,
) {
    let client = scenario.member().await;
    let copy = client.steal();
    let reply = scenario.sign_out(&client).await;
    let is_in = scenario.is_in(&copy).await;
    report.note(
        "ASVS-7.4.1 NIST-5.1.3",
        "after a sign-out, a copy of the cookie is refused",
        Outcome::kept_if(!is_in, || "it still opens the private page".to_owned()),
    );
    let token = copy.cookie(name).unwrap_or_default();
    let is_removed = removes(&reply, name, &token, set);
    report.note(
        "NIST-5.1-e CS-12",
        "a sign-out removes the cookie, with the attributes it was set with",
        Outcome::kept_if(is_removed, || {
            format!("the response does not remove `{name}` with the attributes it was set with")
        }),
    );
    let clears = reply.headers.contains_key(CLEAR_SITE_DATA);
    report.note(
        "ASVS-14.3.1",
        "a sign-out clears the browser's data of the site",
        Outcome::kept_if(clears, || {
            "no `Clear-Site-Data`; see `SessionLayer::clear_site_data`".to_owned()
        }),
    );
}

/// Returns whether a reply removes the cookie or replaces the token. A sign-out may start the
/// session of a guest, for example for a message.
fn removes(reply: &Reply, name: &str, token: &str, set: Option<&Cookie<'_>>) -> bool {
    let is_same = |removal: &Cookie<'_>, set: &Cookie<'_>| {
        removal.path() == set.path()
            && removal.domain() == set.domain()
            && removal.secure() == set.secure()
            && removal.partitioned() == set.partitioned()
    };
    let removal = reply.set_cookies().into_iter().find(|cookie| cookie.name() == name);
    removal.is_some_and(|removal| {
        (is_removal(&removal) || removal.value() != token)
            && set.is_none_or(|set| is_same(&removal, set))
    })
}

fn is_removal(cookie: &Cookie<'_>) -> bool {
    cookie.max_age().is_some_and(|age| !age.is_positive())
}

async fn cross_site(scenario: &SessionSecurity) -> Outcome {
    let client = scenario.member().await;
    let other_site = client
        .clone()
        .with_header(SEC_FETCH_SITE, "cross-site")
        .with_header(header::ORIGIN, "https://evil.example");
    // The request carries a copy of the cookies, so that the response cannot remove the cookie of
    // `client`. The check is whether the session ended in the store.
    scenario.sign_out(&other_site.steal()).await;
    let is_in = scenario.is_in(&client).await;
    scenario.sign_out(&client).await;
    Outcome::kept_if(is_in, || "a form of `https://evil.example` signed the user out".to_owned())
}

async fn others(scenario: &SessionSecurity) -> Outcome {
    let Some(sign_out_others) = &scenario.sign_out_others else {
        return Outcome::NotChecked("sign_out_others");
    };
    let (here, there) = (scenario.client.stranger(), scenario.member().await);
    scenario.sign_in(&here).await;
    if !scenario.is_in(&here).await {
        scenario.sign_out(&there).await;
        return Outcome::NotChecked("max_sessions");
    }
    sign_out_others(here.clone()).await;
    let own = here.clone();
    let (here, there) = (scenario.is_in(&here).await, scenario.is_in(&there).await);
    scenario.sign_out(&own).await;
    Outcome::kept_if(here && !there, || match there {
        true => "the other device is still signed in".to_owned(),
        false => "this device is signed out too".to_owned(),
    })
}

async fn limit(scenario: &SessionSecurity) -> Outcome {
    let Some(limit) = scenario.limit else { return Outcome::NotChecked("max_sessions") };
    let mut clients = Vec::new();
    for _ in 0..=limit {
        let client = scenario.client.stranger();
        scenario.sign_in(&client).await;
        clients.push(client);
    }
    let mut open = 0;
    for client in &clients {
        open += usize::from(scenario.is_in(client).await);
    }
    for client in &clients {
        scenario.sign_out(client).await;
    }
    Outcome::kept_if(open <= limit, || format!("{open} of {} are signed in", clients.len()))
}

async fn check_lifetimes(scenario: &SessionSecurity, lifetimes: &Lifetimes, report: &mut Report) {
    let client = scenario.member().await;
    lifetimes.clock.advance(lifetimes.idle);
    let is_in = scenario.is_in(&client).await;
    let outcome = Outcome::kept_if(!is_in, || format!("it is live after {:?}", lifetimes.idle));
    report.note(IDLE.0, IDLE.1, outcome);
    report.note(ABSOLUTE.0, ABSOLUTE.1, absolute(scenario, lifetimes).await);
    report.note(FRESH.0, FRESH.1, fresh(scenario, lifetimes).await);
}

async fn absolute(scenario: &SessionSecurity, lifetimes: &Lifetimes) -> Outcome {
    let Lifetimes { clock, idle, absolute } = lifetimes;
    let client = scenario.member().await;
    let (mut passed, step) = (Duration::ZERO, *idle / 2);
    while passed < *absolute && scenario.is_in(&client).await {
        let step = step.min(*absolute - passed);
        clock.advance(step);
        passed += step;
    }
    if passed < *absolute {
        return Outcome::Broken(format!("a session in use already ends after {passed:?}"));
    }
    let is_in = scenario.is_in(&client).await;
    Outcome::kept_if(!is_in, || format!("it is live after {absolute:?}"))
}

async fn fresh(scenario: &SessionSecurity, lifetimes: &Lifetimes) -> Outcome {
    let Some((path, within)) = &scenario.fresh else { return Outcome::NotChecked("fresh") };
    let client = scenario.member().await;
    let at_once = client.get(path).await.status.is_success();
    lifetimes.clock.advance(*within + Duration::from_secs(1));
    let later = client.get(path).await.status.is_success();
    Outcome::kept_if(at_once && !later, || match at_once {
        true => format!("`{path}` opens after {within:?}"),
        false => format!("`{path}` does not open immediately"),
    })
}
