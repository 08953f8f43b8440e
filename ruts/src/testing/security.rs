use std::time::Duration;

use cookie::{Cookie, SameSite};
use http::{HeaderName, header};

use super::{Client, Finding, Outcome, Reply, Report, SessionSecurity, scenario::Lifetimes};

const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Names by which frameworks give themselves away.
const TELLING: [&str; 9] = [
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

/// Drives an application as its users and as an attacker would, prints what was found, and panics if a
/// requirement is broken.
///
/// # Panics
///
/// See there.
pub async fn assert_session_security(scenario: SessionSecurity) {
    let report = scenario.check().await;
    print!("{report}");
    let broken = report.broken().count();
    assert!(broken == 0, "{broken} requirements are broken:\n{report}");
}

/// Broken, and how, unless it is as it should be.
fn unless(kept: bool, how: impl FnOnce() -> String) -> Outcome {
    if kept { Outcome::Kept } else { Outcome::Broken(how()) }
}

pub(super) async fn check(scenario: &SessionSecurity) -> Report {
    let mut report = Report { findings: Vec::new() };
    let mut note = |ids, rule, outcome| report.findings.push(Finding { ids, rule, outcome });

    note("ASVS-7.6.2", "a visit starts no session", visit(scenario).await);

    let client = scenario.client.stranger();
    let signed_in = scenario.sign_in(&client).await;
    assert!(
        scenario.is_in(&client).await,
        "signing in does not open `{}`: {}",
        scenario.private,
        signed_in.status
    );
    let Some(name) = session_cookie(scenario, &client).await else {
        let how = "the private page opens without any cookie".to_owned();
        note("ASVS-7.2.1", "a session is told by its cookie", Outcome::Broken(how));
        return report;
    };
    let cookie = signed_in.set_cookies().into_iter().find(|cookie| cookie.name() == name);
    match &cookie {
        Some(cookie) => attributes(scenario, cookie, &signed_in, &mut note),
        None => note(
            "ASVS-7.2.4",
            "signing in hands out a new token",
            Outcome::Broken(format!("the answer to it does not set `{name}`")),
        ),
    }
    note("ASVS-7.2.3 NIST-5.1.2 CS-2", "tokens are long and random", tokens(scenario, &name).await);
    note("ASVS-3.3.4", "the token stands in no page", pages(scenario, &client, &name).await);
    note(
        "ASVS-7.2.1 CS-7",
        "what is no token opens nothing",
        hostile(scenario, &client, &name).await,
    );
    note("ASVS-7.2.2 CS-6", "a planted token is not adopted", planted(scenario, &name).await);
    note(
        "ASVS-14.2.1 CS-4",
        "a token in the address opens nothing",
        address(scenario, &client, &name).await,
    );
    let outcome = match &scenario.visit {
        None => Outcome::NotChecked("guest"),
        Some(visit) => {
            let client = scenario.client.stranger();
            visit(client.clone()).await;
            let guest = client.steal();
            scenario.sign_in(&client).await;
            let followed = scenario.is_in(&guest).await;
            unless(!followed, || "the guest's cookie is signed in along".to_owned())
        }
    };
    note("ASVS-7.2.4 NIST-5.1-a", "signing in ends the token from before", outcome);
    let outcome = match &scenario.elevate {
        None => Outcome::NotChecked("elevate"),
        Some(elevate) => {
            let client = scenario.member().await;
            let former = client.steal();
            elevate(client.clone()).await;
            let followed = scenario.is_in(&former).await;
            unless(!followed, || "the cookie from before got the rights too".to_owned())
        }
    };
    note("CS-8", "more rights come with a new token", outcome);
    sign_out(scenario, &name, cookie.as_ref(), &mut note).await;
    note("ASVS-3.5.1 NIST-5.1-g CS-18", "another site cannot sign out", cross_site(scenario).await);
    note("ASVS-7.4.3 ASVS-7.5.2 CS-17", "other devices can be signed out", others(scenario).await);
    note("ASVS-7.1.2 CS-17", "the number of sessions is limited", limit(scenario).await);
    lifetimes(scenario, &name, &mut note).await;
    report
}

/// The cookie without which the private page does not open.
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

async fn visit(scenario: &SessionSecurity) -> Outcome {
    let client = scenario.client.stranger();
    for path in [&scenario.public, &scenario.private] {
        let reply = client.get(path).await;
        if let Some(cookie) = reply.set_cookies().first() {
            return Outcome::Broken(format!("`{path}` sets `{}`", cookie.name()));
        }
    }
    let opens = scenario.is_in(&client).await;
    unless(!opens, || format!("`{}` opens for everybody", scenario.private))
}

fn attributes(
    scenario: &SessionSecurity,
    cookie: &Cookie<'_>,
    reply: &Reply,
    note: &mut impl FnMut(&'static str, &'static str, Outcome),
) {
    let name = cookie.name();
    let is_prefixed = name.starts_with("__Host-") || name.starts_with("__Secure-");
    let is_secure = cookie.secure() == Some(true) && is_prefixed;
    let is_host = name.starts_with("__Host-") && cookie.path() == Some("/");
    let same_site = matches!(cookie.same_site(), Some(SameSite::Lax | SameSite::Strict));
    let lower = name.to_ascii_lowercase();
    let telling = TELLING.iter().find(|telling| lower.contains(*telling));
    let length = name.len() + cookie.value().len();
    let told = || {
        let mut shown = cookie.clone();
        shown.set_value("..");
        shown.to_string()
    };
    let kept = scenario.is_persistent || (cookie.max_age().is_none() && cookie.expires().is_none());
    note(
        "ASVS-3.3.1 NIST-5.1.1-1 NIST-5.1-f",
        "the cookie is `Secure`, and its name says so",
        unless(is_secure, told),
    );
    note("ASVS-3.3.2 NIST-5.1.1-6", "the cookie is `SameSite`", unless(same_site, told));
    note("ASVS-3.3.3 NIST-5.1.1-5", "the cookie is this host's alone", unless(is_host, told));
    note("CS-5", "the cookie has no `Domain`", unless(cookie.domain().is_none(), told));
    note(
        "ASVS-3.3.4 NIST-5.1.1-3",
        "scripts cannot read the cookie",
        unless(cookie.http_only() == Some(true), told),
    );
    note(
        "ASVS-3.3.5",
        "the cookie is not cut off",
        unless(length <= 4096, || format!("{length} bytes")),
    );
    note(
        "NIST-5.1-b",
        "the cookie ends with the browser",
        unless(kept, || "it has `Max-Age` or `Expires`".to_owned()),
    );
    note(
        "CS-1",
        "the cookie's name tells nothing",
        unless(telling.is_none(), || format!("`{name}` tells of {}", telling.unwrap_or(&""))),
    );
    let control = reply.headers.get(header::CACHE_CONTROL).and_then(|value| value.to_str().ok());
    note(
        "ASVS-14.3.2",
        "no cache keeps a token",
        unless(control.is_some_and(|control| control.contains("no-store")), || {
            format!("`Cache-Control` is {control:?} where `{name}` is set")
        }),
    );
}

async fn tokens(scenario: &SessionSecurity, name: &str) -> Outcome {
    let mut tokens = Vec::new();
    for _ in 0..8 {
        tokens.extend(scenario.member().await.cookie(name));
    }
    // 128 bits in base64.
    if let Some(short) = tokens.iter().find(|token| token.len() < 22) {
        return Outcome::Broken(format!("a token has {} characters", short.len()));
    }
    let number = tokens.len();
    tokens.sort();
    tokens.dedup();
    unless(tokens.len() == number, || "two sign-ins got the same token".to_owned())
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
            return Outcome::Broken("an altered token is signed in".to_owned());
        }
    }
    Outcome::Kept
}

async fn planted(scenario: &SessionSecurity, name: &str) -> Outcome {
    // Of the right form, and of a session that is over.
    let victim = scenario.member().await;
    let over = victim.steal();
    scenario.sign_out(&victim).await;
    let Some(token) = over.cookie(name) else { return Outcome::Kept };
    let victim = victim.stranger();
    victim.plant(name, &token);
    scenario.sign_in(&victim).await;
    let is_adopted = scenario.is_in(&over).await;
    unless(!is_adopted, || "a token from before the sign-in is signed in".to_owned())
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
            return Outcome::Broken(format!("`{bare}` in the address opens the page"));
        }
    }
    Outcome::Kept
}

async fn sign_out(
    scenario: &SessionSecurity,
    name: &str,
    set: Option<&Cookie<'_>>,
    note: &mut impl FnMut(&'static str, &'static str, Outcome),
) {
    let client = scenario.member().await;
    let copy = client.steal();
    let reply = scenario.sign_out(&client).await;
    let is_open = scenario.is_in(&copy).await;
    note(
        "ASVS-7.4.1 NIST-5.1.3",
        "signed out, a copy of the cookie opens nothing",
        unless(!is_open, || "it still opens the private page".to_owned()),
    );
    let removal = reply.set_cookies().into_iter().find(|cookie| cookie.name() == name);
    let is_same = |removal: &Cookie<'_>, set: &Cookie<'_>| {
        removal.path() == set.path()
            && removal.domain() == set.domain()
            && removal.secure() == set.secure()
            && removal.partitioned() == set.partitioned()
    };
    // Another session, of nobody, may have begun with a message.
    let token = copy.cookie(name).unwrap_or_default();
    let is_gone = removal.as_ref().is_some_and(|removal| {
        let is_removed = removal.max_age().is_some_and(|age| !age.is_positive());
        (is_removed || removal.value() != token) && set.is_none_or(|set| is_same(removal, set))
    });
    note(
        "NIST-5.1-e CS-12",
        "signing out takes the token away, by the cookie's attributes",
        unless(is_gone, || format!("the answer does not remove `{name}` as it was set")),
    );
    note(
        "ASVS-14.3.1",
        "signing out clears what the browser keeps",
        unless(reply.headers.contains_key(CLEAR_SITE_DATA), || "no `Clear-Site-Data`".to_owned()),
    );
}

async fn cross_site(scenario: &SessionSecurity) -> Outcome {
    let client = scenario.member().await;
    let page_of_another = client
        .clone()
        .with_header(SEC_FETCH_SITE, "cross-site")
        .with_header(header::ORIGIN, "https://evil.example");
    // In a jar of its own, so that what the answer does to the cookie is not mistaken for the store's.
    scenario.sign_out(&page_of_another.steal()).await;
    let is_in = scenario.is_in(&client).await;
    unless(is_in, || "a form of `https://evil.example` did".to_owned())
}

async fn others(scenario: &SessionSecurity) -> Outcome {
    let Some(sign_out_others) = &scenario.sign_out_others else {
        return Outcome::NotChecked("sign_out_others");
    };
    let (here, there) = (scenario.member().await, scenario.member().await);
    sign_out_others(here.clone()).await;
    let (here, there) = (scenario.is_in(&here).await, scenario.is_in(&there).await);
    unless(here && !there, || match there {
        true => "the other one is still signed in".to_owned(),
        false => "this one is signed out too".to_owned(),
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
    unless(open <= limit, || format!("{open} of {} are signed in", clients.len()))
}

async fn lifetimes(
    scenario: &SessionSecurity,
    name: &str,
    note: &mut impl FnMut(&'static str, &'static str, Outcome),
) {
    const IDLE: (&str, &str) = ("ASVS-7.3.1 NIST-5.1.5 NIST-5.2-a", "a session ends without use");
    const ABSOLUTE: (&str, &str) =
        ("ASVS-7.3.2 NIST-5.1.5 NIST-5.2-a", "a session ends in any case");
    const REMOVED: (&str, &str) = ("NIST-5.1-e CS-12", "the cookie of an ended session is removed");
    const FRESH: (&str, &str) =
        ("ASVS-7.5.1 CS-13", "what is sensitive asks for another authentication");

    let Some(Lifetimes { clock, idle, absolute }) = &scenario.lifetimes else {
        for (ids, rule) in [IDLE, ABSOLUTE, REMOVED, FRESH] {
            note(ids, rule, Outcome::NotChecked("lifetimes"));
        }
        return;
    };
    let client = scenario.member().await;
    clock.advance(*idle);
    let reply = client.get(&scenario.private).await;
    let outcome = unless(!scenario.is_in(&client).await, || format!("not after {idle:?}"));
    note(IDLE.0, IDLE.1, outcome);
    let is_removed = reply.set_cookies().iter().any(|cookie| {
        cookie.name() == name && cookie.max_age().is_some_and(|age| !age.is_positive())
    });
    note(REMOVED.0, REMOVED.1, unless(is_removed, || format!("`{name}` stays")));

    let client = scenario.member().await;
    let (mut passed, step) = (Duration::ZERO, *idle / 2);
    while passed < *absolute && scenario.is_in(&client).await {
        let step = step.min(*absolute - passed);
        clock.advance(step);
        passed += step;
    }
    let outcome = if passed < *absolute {
        Outcome::Broken(format!("in spite of its use, after {passed:?} already"))
    } else {
        unless(!scenario.is_in(&client).await, || format!("not after {absolute:?}"))
    };
    note(ABSOLUTE.0, ABSOLUTE.1, outcome);

    let outcome = match &scenario.fresh {
        None => Outcome::NotChecked("fresh"),
        Some((path, within)) => {
            let client = scenario.member().await;
            let at_once = client.get(path).await.status.is_success();
            clock.advance(*within + Duration::from_secs(1));
            let later = client.get(path).await.status.is_success();
            unless(at_once && !later, || match at_once {
                true => format!("`{path}` opens after {within:?}"),
                false => format!("`{path}` does not open at once"),
            })
        }
    };
    note(FRESH.0, FRESH.1, outcome);
}
