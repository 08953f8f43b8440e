//! [`refusal`]: decides whether development mode gives a request a session. [`host`]: the host of a
//! request.
//!
//! Called by `service`. Knows the headers of a request, and nothing about sessions or cookies.

use http::{Request, header, uri::Authority};

/// Headers that a proxy adds. A proxy may rewrite `Host`, so a request with one of these headers
/// does not count as local.
const PROXY: [&str; 5] =
    ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"];

/// The reason why development mode gives a request no session. As text, it also says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// The request came through a proxy. Holds the header that shows this.
    #[error(
        "the request has the header `{0}` of a proxy: let the proxy leave the header out, or use HTTPS \
         without development mode"
    )]
    Proxy(&'static str),
    /// A page of another site made the request. Holds the `Origin` of that page.
    #[error("a page of {0:?} made the request: `development_on` allows more hosts")]
    Origin(String),
    /// The request asks for a host that is not allowed. Holds the host.
    #[error("the host {0:?} is not a loopback name: `development_on` allows more hosts")]
    Host(String),
}

/// Returns the reason why a request gets no session. `None` if the request gets one.
///
/// A request gets a session if it meets all of these conditions:
///
/// - It has no header of a proxy.
/// - No page of another site made it.
/// - It asks for a loopback name, for one of `hosts`, or for no host. Browsers always name a host.
pub(super) fn refusal<B>(request: &Request<B>, hosts: &[String]) -> Option<Refusal> {
    let headers = request.headers();
    if let Some(name) = PROXY.iter().find(|name| headers.contains_key(**name)) {
        return Some(Refusal::Proxy(name));
    }
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    if let Some(origin) = text(header::ORIGIN)
        && let Some((_, site)) = origin.split_once("://")
        && !is_allowed(site, hosts)
    {
        return Some(Refusal::Origin(origin.to_owned()));
    }
    let host = authority(request)?;
    (!is_allowed(host, hosts)).then(|| Refusal::Host(name(host).to_owned()))
}

/// Returns the host that a request asks for, without its port.
pub(super) fn host<B>(request: &Request<B>) -> Option<&str> {
    authority(request).map(name)
}

/// Returns the host that a request asks for, perhaps with a port.
fn authority<B>(request: &Request<B>) -> Option<&str> {
    match request.headers().get(header::HOST) {
        Some(host) => Some(host.to_str().unwrap_or_default()),
        None => request.uri().authority().map(Authority::as_str),
    }
}

/// Returns the name of a host that a port or a path may follow.
fn name(host: &str) -> &str {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => host.split([':', '/']).next(),
    };
    name.unwrap_or_default()
}

/// Returns the name or address of a host that an application allows, perhaps given with a scheme
/// and a port. `None` if no request can ask for such a host.
pub(super) fn allowed_name(host: &str) -> Option<String> {
    let host = host.trim();
    let host = host.split_once("://").map_or(host, |(_, host)| host);
    if host.parse::<std::net::Ipv6Addr>().is_ok() {
        return Some(host.to_owned());
    }
    let name = name(host);
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte));
    (is_name && !name.is_empty()).then(|| name.to_owned())
}

/// Returns whether a host is a loopback name or one of `hosts`. A port or a path may follow the
/// host.
fn is_allowed(host: &str, hosts: &[String]) -> bool {
    let name = name(host).to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
        || hosts.iter().any(|host| host.eq_ignore_ascii_case(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &[(&str, &str)]) -> Request<()> {
        let request = headers
            .iter()
            .fold(Request::builder(), |request, (name, value)| request.header(*name, *value));
        request.body(()).unwrap()
    }

    fn is_served(headers: &[(&str, &str)]) -> bool {
        refusal(&request(headers), &["web".to_owned(), "192.168.1.5".to_owned()]).is_none()
    }

    #[test]
    fn loopback_names_and_named_hosts_are_served() {
        for host in [
            "localhost",
            "LOCALHOST:3000",
            "127.0.0.1:3000",
            "[::1]:3000",
            "app.localhost",
            "web:3000",
            "Web",
            "192.168.1.5:8080",
        ] {
            assert!(is_served(&[("host", host)]), "{host}");
        }
        for host in ["example.com", "localhost.example.com", "10.0.0.1", "[::2]", "notlocalhost"] {
            assert!(!is_served(&[("host", host)]), "{host}");
        }
    }

    #[test]
    fn an_allowed_host_may_have_a_scheme_and_a_port() {
        for (given, name) in [
            ("web", Some("web")),
            (" web:3000 ", Some("web")),
            ("http://Web_1:3000/path", Some("Web_1")),
            ("192.168.1.5:8080", Some("192.168.1.5")),
            ("[fe80::1]:3000", Some("fe80::1")),
            ("fe80::1", Some("fe80::1")),
            ("*.local", None),
            ("", None),
            ("http://", None),
        ] {
            assert_eq!(allowed_name(given).as_deref(), name, "{given}");
        }
    }

    #[test]
    fn a_request_without_a_host_is_served() {
        assert!(is_served(&[]));
    }

    #[test]
    fn a_proxy_and_a_foreign_page_are_refused_but_a_link_is_not() {
        let host = ("host", "localhost");
        assert!(!is_served(&[host, ("x-forwarded-for", "1.2.3.4")]));
        assert!(!is_served(&[host, ("origin", "https://shop.example")]));
        assert!(is_served(&[host, ("origin", "http://localhost:3000")]));
        assert!(is_served(&[host, ("referer", "https://shop.example/cart")]));
    }

    #[test]
    fn the_refusal_names_the_reason() {
        let text = |headers: &[(&str, &str)]| refusal(&request(headers), &[]).unwrap().to_string();
        let host = text(&[("host", "shop.example:3000")]);
        assert!(host.starts_with("the host \"shop.example\" is not"), "{host}");
        assert!(text(&[("x-forwarded-for", "1.2.3.4")]).contains("`x-forwarded-for` of a proxy"));
        let origin = text(&[("host", "localhost"), ("origin", "https://shop.example")]);
        assert!(origin.starts_with("a page of \"https://shop.example\" made the request"));
    }
}
