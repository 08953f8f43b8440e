use http::{Request, header};

/// Whether a request came straight to a loopback name: the only kind that development mode serves.
///
/// A proxy may rewrite `Host`, so a request that shows signs of one, or that was made by a page of
/// another host, does not count.
pub(super) fn is_loopback<B>(request: &Request<B>) -> bool {
    const PROXY: [&str; 5] =
        ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"];
    let headers = request.headers();
    if PROXY.iter().any(|name| headers.contains_key(*name)) {
        return false;
    }
    let from_elsewhere = [header::ORIGIN, header::REFERER].iter().any(|name| {
        let page = headers.get(name).map(|page| page.to_str().unwrap_or_default());
        page.and_then(|page| page.split("://").nth(1)).is_some_and(|page| !is_loopback_host(page))
    });
    let host = match headers.get(header::HOST) {
        Some(host) => host.to_str().ok(),
        None => request.uri().authority().map(|authority| authority.as_str()),
    };
    !from_elsewhere && host.is_some_and(is_loopback_host)
}

/// Whether a host, with or without a port or a path behind it, is a loopback name.
fn is_loopback_host(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => host.split([':', '/']).next(),
    };
    let name = name.unwrap_or_default();
    name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_direct_loopback_counts() {
        let request = |host: &str| Request::builder().header("host", host);
        for host in ["localhost", "localhost:3000", "127.0.0.1:3000", "[::1]:3000", "app.localhost"]
        {
            assert!(is_loopback(&request(host).body(()).unwrap()), "{host}");
        }
        for host in
            ["example.com", "localhost.example.com", "10.0.0.1", "", "[::2]", "notlocalhost"]
        {
            assert!(!is_loopback(&request(host).body(()).unwrap()), "{host}");
        }
        let proxied = request("localhost").header("x-forwarded-for", "1.2.3.4");
        assert!(!is_loopback(&proxied.body(()).unwrap()));
        assert!(!is_loopback(&Request::new(())));
        let from = |page: &str| request("localhost").header("referer", page).body(()).unwrap();
        assert!(is_loopback(&from("http://localhost:3000/cart")));
        assert!(is_loopback(&from("http://[::1]/")));
        assert!(!is_loopback(&from("https://shop.example/cart")));
    }
}
