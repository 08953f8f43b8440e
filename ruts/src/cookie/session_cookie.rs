use ::cookie::{Cookie, SameSite, time::Duration};
use http::{HeaderMap, HeaderValue, header};

use super::{CookieError, options::CookieOptions, seal::Seal};
use crate::token::Token;

/// What browsers keep of a cookie's name and value together (RFC 6265bis, 5.7).
const MOST_BYTES: usize = 4096;

/// The cookie of one layer, ready to be read and written.
#[derive(Clone)]
pub(crate) struct SessionCookie {
    template: Cookie<'static>,
    seal: Seal,
}

/// What a request carries under the cookie's name.
#[derive(Default)]
pub(crate) struct Presented {
    /// There is such a cookie.
    pub(crate) any: bool,
    /// The first that has the form of a token, and the signature that is asked for.
    pub(crate) token: Option<Token>,
    /// The next one that is not the same. More than two are not looked at.
    pub(crate) other: Option<Token>,
    /// There are several: another site of the domain, or another path, has planted one.
    pub(crate) several: bool,
}

impl SessionCookie {
    /// The cookie of the layer called `layer`; in development mode without `Secure` and under
    /// another name, so that it is never mistaken for the real one.
    pub(crate) fn new(
        options: &CookieOptions,
        layer: &str,
        development: bool,
    ) -> Result<Self, CookieError> {
        check_attributes(options)?;
        let name = match &options.name {
            Some(name) => name.to_string(),
            None if layer.is_empty() => "id".to_owned(),
            None => format!("id-{layer}"),
        };
        check_name(&name)?;
        let name = if development { format!("dev-{name}") } else { prefixed(name, options)? };
        let bytes = name.len() + Seal::MOST;
        if bytes > MOST_BYTES {
            return Err(CookieError::TooLong { bytes });
        }

        let mut template = Cookie::new(name, "");
        template.set_path(options.path.clone());
        template.set_http_only(true);
        template.set_same_site(options.same_site);
        if let Some(domain) = &options.domain {
            template.set_domain(domain.clone());
        }
        if let Some(lifetime) = options.lifetime() {
            template.set_max_age(Duration::try_from(lifetime.as_duration()).ok());
        }
        if development {
            template.set_same_site(SameSite::Lax);
        } else {
            template.set_secure(true);
            template.set_partitioned(options.partitioned);
        }
        Ok(Self { template, seal: Seal::of(options) })
    }

    /// Finds the token in a request's headers, whatever else they hold. Names are compared letter
    /// by letter: browsers guard prefixes in any case, but only this spelling is ours.
    pub(crate) fn read(&self, headers: &HeaderMap) -> Presented {
        let name = self.template.name().as_bytes();
        let mut presented = Presented::default();
        let pairs = (headers.get_all(header::COOKIE).iter())
            .flat_map(|header| header.as_bytes().split(|&byte| byte == b';'));
        for pair in pairs {
            let Some(value) = pair.trim_ascii_start().strip_prefix(name) else {
                continue;
            };
            let Some(value) = value.strip_prefix(b"=") else {
                continue;
            };
            presented.several = presented.any;
            presented.any = true;
            if presented.other.is_some() {
                continue;
            }
            let token = self.open(value.trim_ascii_end());
            match &presented.token {
                None => presented.token = token,
                Some(first) => presented.other = token.filter(|token| !token.is_same(first)),
            }
        }
        presented
    }

    fn open(&self, value: &[u8]) -> Option<Token> {
        self.seal.open(self.template.name(), value)
    }

    /// The header that hands out `token`. It holds the secret and is marked as sensitive.
    pub(crate) fn set(&self, token: &Token) -> Option<HeaderValue> {
        let mut cookie = self.template.clone();
        cookie.set_value(self.seal.close(self.template.name(), token)?);
        header(&cookie)
    }

    /// The header that takes the cookie away. It repeats all attributes, or the browser would keep
    /// the cookie.
    pub(crate) fn clear(&self) -> Option<HeaderValue> {
        let mut cookie = self.template.clone();
        cookie.make_removal();
        header(&cookie)
    }
}

fn header(cookie: &Cookie<'_>) -> Option<HeaderValue> {
    // The options were checked for everything that a header cannot hold.
    let mut header = HeaderValue::try_from(cookie.to_string()).ok()?;
    header.set_sensitive(true);
    Some(header)
}

fn check_attributes(options: &CookieOptions) -> Result<(), CookieError> {
    let attribute =
        |text: &str| text.len() <= 1024 && text.bytes().all(|b| b.is_ascii_graphic() && b != b';');
    if !options.http_only {
        return Err(CookieError::HttpOnly);
    }
    if !options.secure {
        return Err(CookieError::Secure);
    }
    if options.max_age == Some(0) {
        return Err(CookieError::MaxAge);
    }
    if !options.path.starts_with('/') || !attribute(&options.path) {
        return Err(CookieError::Path(options.path.to_string()));
    }
    if let Some(domain) = &options.domain {
        let host = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'-';
        if domain.is_empty() || !attribute(domain) || !domain.bytes().all(host) {
            return Err(CookieError::Domain(domain.to_string()));
        }
    }
    Ok(())
}

/// A cookie's name is a token of RFC 9110.
fn check_name(name: &str) -> Result<(), CookieError> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(token) {
        return Err(CookieError::Name(name.to_owned()));
    }
    Ok(())
}

/// The name with the strongest prefix whose conditions hold. A prefix that is there already is
/// checked instead.
fn prefixed(name: String, options: &CookieOptions) -> Result<String, CookieError> {
    let host_only = options.domain.is_none() && options.path == "/";
    let lower = name.to_ascii_lowercase();
    let needs = |needs| Err(CookieError::Prefix { name: name.clone(), needs });
    for prefix in ["__Host-Http-", "__Host-", "__Http-", "__Secure-"] {
        if !lower.starts_with(&prefix.to_ascii_lowercase()) {
            continue;
        }
        if !name.starts_with(prefix) {
            return needs("its prefix spelled as in `__Host-`, `__Http-` or `__Secure-`");
        }
        if prefix.starts_with("__Host-") && !host_only {
            return needs("the path `/` and no domain");
        }
        return Ok(name);
    }
    Ok(format!("{}{name}", if host_only { "__Host-" } else { "__Secure-" }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::token::{Secret, SessionId};

    fn cookie(options: CookieOptions) -> Result<SessionCookie, CookieError> {
        SessionCookie::new(&options, "", false)
    }

    fn token() -> Token {
        Token { id: SessionId::random().unwrap(), secret: Secret::random().unwrap() }
    }

    fn text(header: Option<HeaderValue>) -> String {
        header.unwrap().to_str().unwrap().to_owned()
    }

    fn headers(cookies: &[&[u8]]) -> HeaderMap {
        let value = |cookie: &&[u8]| (header::COOKIE, HeaderValue::from_bytes(cookie).unwrap());
        cookies.iter().map(value).collect()
    }

    // proves: ASVS-3.3.1 ASVS-3.3.2 ASVS-3.3.3 ASVS-3.3.4 CS-1 CS-5 NIST-5.1-b NIST-5.1.4 NIST-5.1.1-1 NIST-5.1.1-2 NIST-5.1.1-3 NIST-5.1.1-5 NIST-5.1.1-6 NIST-5.1.1-7
    #[test]
    fn defaults_are_strict() {
        let set = text(cookie(CookieOptions::build()).unwrap().set(&token()));
        let (pair, attributes) = set.split_once("; ").unwrap();
        assert!(pair.starts_with("__Host-id="));
        assert_eq!(attributes, "HttpOnly; SameSite=Lax; Secure; Path=/");
    }

    // proves: NIST-5.1.3
    #[test]
    fn removal_repeats_every_attribute() {
        let options = CookieOptions::build()
            .same_site(SameSite::None)
            .partitioned(true)
            .path("/shop")
            .domain("example.com")
            .max_age(60);
        let cookie = cookie(options).unwrap();
        let (set, clear) = (text(cookie.set(&token())), text(cookie.clear()));
        for attribute in [
            "SameSite=None",
            "Partitioned",
            "Secure",
            "HttpOnly",
            "Path=/shop",
            "Domain=example.com",
        ] {
            assert!(set.contains(attribute) && clear.contains(attribute), "{attribute}: {clear}");
        }
        assert!(clear.starts_with("__Secure-id=; "));
        assert!(clear.contains("Max-Age=0") && clear.contains("Expires="));
    }

    #[test]
    fn unsafe_options_are_refused() {
        let build = CookieOptions::build;
        let refused = |options| cookie(options).err().unwrap();
        assert_eq!(refused(build().http_only(false)), CookieError::HttpOnly);
        assert_eq!(refused(build().secure(false)), CookieError::Secure);
        assert_eq!(refused(build().max_age(0)), CookieError::MaxAge);
        assert!(matches!(refused(build().name("a b")), CookieError::Name(_)));
        assert!(matches!(refused(build().name("")), CookieError::Name(_)));
        assert!(matches!(refused(build().path("shop")), CookieError::Path(_)));
        assert!(matches!(refused(build().path("/; Domain=evil")), CookieError::Path(_)));
        assert!(matches!(refused(build().domain("a; Path=/x")), CookieError::Domain(_)));
        assert!(matches!(
            refused(build().name("__Host-x").domain("a.com")),
            CookieError::Prefix { .. }
        ));
        assert!(matches!(refused(build().name("__HOST-x")), CookieError::Prefix { .. }));
        assert!(matches!(refused(build().name("n".repeat(4096))), CookieError::TooLong { .. }));
    }

    // proves: ASVS-3.3.5
    #[test]
    fn name_and_value_fill_4096_bytes_at_most() {
        let room = MOST_BYTES - Seal::MOST - "__Host-".len();
        assert!(cookie(CookieOptions::build().name("n".repeat(room))).is_ok());
        assert!(cookie(CookieOptions::build().name("n".repeat(room + 1))).is_err());
    }

    // proves: NIST-5.1.1-4
    #[test]
    fn a_long_life_is_cut_to_400_days() {
        let cookie = cookie(CookieOptions::build().max_age(u64::MAX)).unwrap();
        assert!(text(cookie.set(&token())).contains("Max-Age=34560000"));
    }

    #[test]
    fn the_token_is_found_among_anything() {
        let cookie = cookie(CookieOptions::build()).unwrap();
        let token = token().expose();
        for before in [
            &b"a=1; "[..],
            b"",
            b"\xff\xfe=\xff; ",
            b"=; ;;; ",
            b"__Host-id2=x; ",
            b"__host-id=x; ",
        ] {
            let header = [before, b"__Host-id=", token.as_bytes(), b" ; b=2"].concat();
            let found = cookie.read(&headers(&[b"other=1", &header])).token.unwrap();
            assert_eq!(found.expose(), token);
        }
    }

    #[test]
    fn what_is_no_token_is_still_noticed() {
        let cookie = cookie(CookieOptions::build()).unwrap();
        let huge = [b"__Host-id=", &[b'A'; 5000][..]].concat();
        for value in [&b"__Host-id="[..], b"__Host-id=admin", &huge] {
            let presented = cookie.read(&headers(&[value]));
            assert!(presented.any && presented.token.is_none());
        }
        let foreign = cookie.read(&headers(&[b"id=x; __HOST-ID=y"]));
        assert!(!foreign.any && foreign.token.is_none());
    }

    #[test]
    fn the_header_does_not_show_itself() {
        let header = cookie(CookieOptions::build()).unwrap().set(&token()).unwrap();
        assert_eq!(format!("{header:?}"), "Sensitive");
    }

    #[cfg(feature = "signed")]
    #[test]
    fn only_signed_tokens_pass_with_a_key() {
        let signed =
            |key: &::cookie::Key| cookie(CookieOptions::build().signing_key(key.clone())).unwrap();
        let (key, other) = (::cookie::Key::generate(), ::cookie::Key::generate());
        let token = token();
        let set = text(signed(&key).set(&token));
        let pair = set.split("; ").next().unwrap().as_bytes();
        let read = |cookie: SessionCookie, pair: &[u8]| cookie.read(&headers(&[pair])).token;
        assert!(read(signed(&key), pair).is_some());
        assert!(read(signed(&other), pair).is_none());
        let plain = format!("__Host-id={}", token.expose());
        assert!(read(signed(&key), plain.as_bytes()).is_none());
    }

    proptest! {
        #[test]
        fn hostile_headers_are_never_a_panic(value in proptest::collection::vec(any::<u8>(), 0..200)) {
            let value = [b"__Host-id=", &value[..]].concat();
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                let headers = HeaderMap::from_iter([(header::COOKIE, value)]);
                prop_assert!(cookie(CookieOptions::build()).unwrap().read(&headers).any);
            }
        }
    }
}
