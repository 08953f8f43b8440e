//! [`SessionCookie`]: reads and writes the cookie of one layer.
//!
//! Called by the layer. Knows headers and tokens, and nothing about sessions or stores.

use std::time::Duration;

use ::cookie::{Cookie, SameSite, time};
use http::{HeaderMap, HeaderValue, header};

use super::{cookie_codec::CookieCodec, error::CookieError, options::CookieOptions};
use crate::{
    token::{CookieLife, Token},
    ttl::Ttl,
};

/// The cookie of one layer, ready to be read and written.
#[derive(Clone)]
pub(crate) struct SessionCookie {
    template: Cookie<'static>,
    /// How long the client keeps the cookie. `None` if the cookie ends with the browser.
    life: Option<Duration>,
    codec: CookieCodec,
}

/// Maximum number of tokens that are tried after the first one. Each of them costs a store call.
/// Only a host of the same domain can add another cookie of this name to a browser.
const MAX_OTHERS: usize = 7;

/// The tokens of a request.
#[derive(Default)]
pub(crate) struct Presented {
    /// Whether the request has a session cookie, valid or not.
    pub(crate) is_current: bool,
    /// The first token that the codec of the layer could decode.
    pub(crate) token: Option<Token>,
    /// Further tokens, all different, at most [`MAX_OTHERS`].
    pub(crate) others: Vec<Token>,
    /// Whether there are several session cookies. One of them may have been set by a different host
    /// of the domain, or for a different path.
    pub(crate) is_duplicated: bool,
}

impl SessionCookie {
    /// Creates the cookie of the layer called `layer`. In development mode, the cookie has a
    /// different name and no `Secure`.
    pub(crate) fn new(
        options: &CookieOptions,
        layer: &str,
        is_development: bool,
    ) -> Result<Self, CookieError> {
        let name = options.checked_name(layer, is_development)?;
        let mut template = Cookie::new(name, "");
        template.set_path(options.path.clone());
        template.set_http_only(true);
        template.set_same_site(options.same_site);
        if let Some(domain) = &options.domain {
            template.set_domain(domain.clone());
        }
        if is_development {
            // A browser accepts `None` only with `Secure`.
            if options.same_site == SameSite::None {
                template.set_same_site(SameSite::Lax);
            }
        } else {
            template.set_secure(true);
            template.set_partitioned(options.partitioned);
        }
        let life = options.lifetime().map(Ttl::as_duration);
        Ok(Self { template, life, codec: options.codec.clone() })
    }

    /// Returns the cookie without its domain, for hosts that do not belong to the domain. `None` if
    /// there is no domain.
    pub(crate) fn without_domain(&self) -> Option<Self> {
        self.template.domain()?;
        let mut cookie = self.clone();
        cookie.template.unset_domain();
        Some(cookie)
    }

    /// Returns whether a browser accepts the cookie from this host. A browser refuses a cookie of a
    /// domain that the host does not belong to.
    pub(crate) fn suits(&self, host: &str) -> bool {
        self.template.domain().is_none_or(|domain| is_within(host, domain))
    }

    pub(crate) fn name(&self) -> &str {
        self.template.name()
    }

    /// Finds the tokens in the headers of a request.
    pub(crate) fn read(&self, headers: &HeaderMap) -> Presented {
        self.presented(self.values(headers.get_all(header::COOKIE).iter()))
    }

    /// Finds the tokens of a request that also has a cookie jar. `held` is the cookie's value in
    /// the jar.
    ///
    /// An outer layer may have replaced or removed the cookie in the jar. A jar holds only one
    /// cookie per name, so the headers show whether there are several. A jar ignores a header that
    /// is not UTF-8, so this method reads such headers itself.
    #[cfg(feature = "tower-cookies")]
    pub(crate) fn read_with_jar(&self, headers: &HeaderMap, held: Option<&str>) -> Presented {
        let all = || headers.get_all(header::COOKIE).iter();
        match held.map(str::as_bytes) {
            Some(held) if self.values(all()).any(|value| value == held) => self.read(headers),
            Some(held) => self.presented([held]),
            None => {
                let unread = |header: &&HeaderValue| str::from_utf8(header.as_bytes()).is_err();
                self.presented(self.values(all().filter(unread)))
            }
        }
    }

    /// Returns the values of the cookie. Names are compared case-sensitively, because the layer
    /// sets only one spelling. Browsers enforce the rules of a prefix even if the case of its
    /// letters differs, as in `__HOST-`.
    fn values<'a>(
        &'a self,
        headers: impl Iterator<Item = &'a HeaderValue>,
    ) -> impl Iterator<Item = &'a [u8]> {
        let pairs = headers.flat_map(|header| header.as_bytes().split(|&byte| byte == b';'));
        pairs.filter_map(|pair| {
            let value = pair.trim_ascii_start().strip_prefix(self.name().as_bytes())?;
            Some(value.strip_prefix(b"=")?.trim_ascii_end())
        })
    }

    fn presented<'a>(&self, values: impl IntoIterator<Item = &'a [u8]>) -> Presented {
        let mut presented = Presented::default();
        for value in values {
            presented.is_duplicated = presented.is_current;
            presented.is_current = true;
            if presented.others.len() >= MAX_OTHERS {
                continue;
            }
            let token = self.codec.decode(self.name(), value);
            let Some(token) = token else { continue };
            let known = presented.token.iter().chain(&presented.others);
            if presented.token.is_none() {
                presented.token = Some(token);
            } else if !known.into_iter().any(|known| known.is_same(&token)) {
                presented.others.push(token);
            }
        }
        presented
    }

    /// Returns the header that sets the cookie to `token`, marked as sensitive. `longest` is the
    /// time until the absolute deadline of the session.
    pub(crate) fn set(&self, token: &Token, longest: Option<Duration>) -> Option<HeaderValue> {
        header(&self.with_token(token, longest)?)
    }

    /// Returns the cookie with a token. `longest` means the same as in [`set`](Self::set).
    pub(crate) fn with_token(
        &self,
        token: &Token,
        longest: Option<Duration>,
    ) -> Option<Cookie<'static>> {
        let mut cookie = self.template.clone();
        let life = match token.secret.life() {
            CookieLife::Default => self.life,
            life => life.remembered(),
        };
        if let Some(life) = life {
            // A `Max-Age` of zero would remove the cookie.
            let life = life.min(longest.unwrap_or(life)).max(Duration::from_secs(1));
            cookie.set_max_age(time::Duration::try_from(life).ok());
        }
        cookie.set_value(self.codec.encode(self.name(), token)?);
        Some(cookie)
    }

    /// Returns the header that removes the cookie.
    pub(crate) fn clear(&self) -> Option<HeaderValue> {
        header(&self.removal())
    }

    /// Returns a cookie that makes browsers remove the session cookie. It repeats all attributes,
    /// because a browser keeps a cookie with a different path or domain.
    pub(crate) fn removal(&self) -> Cookie<'static> {
        let mut cookie = self.template.clone();
        cookie.make_removal();
        cookie
    }
}

fn header(cookie: &Cookie<'_>) -> Option<HeaderValue> {
    // Never fails: the options were checked for characters that a header cannot hold.
    let mut header = HeaderValue::try_from(cookie.to_string()).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// Returns whether a host is the domain or one of its subdomains.
fn is_within(host: &str, domain: &str) -> bool {
    let domain = domain.trim_start_matches('.');
    let (Some(at), true) = (host.len().checked_sub(domain.len()), host.is_ascii()) else {
        return false;
    };
    host[at..].eq_ignore_ascii_case(domain) && (at == 0 || host[..at].ends_with('.'))
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::{super::validate::MAX_BYTES, *};
    use crate::token::{Secret, SessionId};

    fn cookie(options: CookieOptions) -> Result<SessionCookie, CookieError> {
        SessionCookie::new(&options, "", false)
    }

    fn token() -> Token {
        Token {
            id: SessionId::random().unwrap(),
            secret: Secret::random(CookieLife::Default).unwrap(),
        }
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
        let set = text(cookie(CookieOptions::build()).unwrap().set(&token(), None));
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
        let (set, clear) = (text(cookie.set(&token(), None)), text(cookie.clear()));
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
    fn a_domain_suits_only_its_hosts() {
        let options = CookieOptions::build().domain("example.com");
        let cookie = SessionCookie::new(&options, "", true).unwrap();
        for (host, suits) in [
            ("localhost", false),
            ("notexample.com", false),
            ("m", false),
            ("example.com", true),
            ("Shop.Example.com", true),
        ] {
            assert_eq!(cookie.suits(host), suits, "{host}");
        }
        let without = cookie.without_domain().unwrap();
        assert!(without.suits("localhost") && without.without_domain().is_none());
        assert!(text(cookie.set(&token(), None)).contains("Domain=example.com"));
        assert!(!text(without.set(&token(), None)).contains("Domain"));
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
        let room = MAX_BYTES - CookieCodec::MAX_LEN - "__Host-".len();
        assert!(cookie(CookieOptions::build().name("n".repeat(room))).is_ok());
        assert!(cookie(CookieOptions::build().name("n".repeat(room + 1))).is_err());
    }

    // proves: NIST-5.1.1-4
    #[test]
    fn a_long_life_is_cut_to_400_days() {
        let cookie = cookie(CookieOptions::build().max_age(u64::MAX)).unwrap();
        assert!(text(cookie.set(&token(), None)).contains("Max-Age=34560000"));
    }

    #[test]
    fn the_life_of_the_token_and_of_the_session_bound_the_age() {
        let cookie = cookie(CookieOptions::build().max_age(60)).unwrap();
        let set = |life, longest: Option<u64>| {
            let token = Token { secret: token().secret.with_life(life), ..token() };
            text(cookie.set(&token, longest.map(Duration::from_secs)))
        };
        let remembered = CookieLife::Remembered(90.try_into().unwrap());
        assert!(set(CookieLife::Default, None).contains("Max-Age=60"));
        assert!(set(CookieLife::Default, Some(30)).contains("Max-Age=30"));
        assert!(set(CookieLife::Default, Some(0)).contains("Max-Age=1"));
        assert!(set(remembered, Some(3600)).contains("Max-Age=90"));
        assert!(!set(CookieLife::Browser, None).contains("Max-Age"));
    }

    #[test]
    fn the_token_is_found_among_other_cookies() {
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
    fn a_cookie_without_a_token_is_noticed() {
        let cookie = cookie(CookieOptions::build()).unwrap();
        let huge = [b"__Host-id=", &[b'A'; 5000][..]].concat();
        for value in [&b"__Host-id="[..], b"__Host-id=admin", &huge] {
            let presented = cookie.read(&headers(&[value]));
            assert!(presented.is_current && presented.token.is_none());
        }
        let foreign = cookie.read(&headers(&[b"id=x; __HOST-ID=y"]));
        assert!(!foreign.is_current && foreign.token.is_none());
    }

    #[test]
    fn debug_hides_the_header() {
        let header = cookie(CookieOptions::build()).unwrap().set(&token(), None).unwrap();
        assert_eq!(format!("{header:?}"), "Sensitive");
    }

    #[cfg(feature = "signed")]
    #[test]
    fn with_a_key_only_signed_tokens_are_read() {
        let signed =
            |key: &::cookie::Key| cookie(CookieOptions::build().signing_key(key.clone())).unwrap();
        let (key, other) = (::cookie::Key::generate(), ::cookie::Key::generate());
        let token = token();
        let set = text(signed(&key).set(&token, None));
        let pair = set.split("; ").next().unwrap().as_bytes();
        let read = |cookie: SessionCookie, pair: &[u8]| cookie.read(&headers(&[pair])).token;
        assert!(read(signed(&key), pair).is_some());
        assert!(read(signed(&other), pair).is_none());
        let plain = format!("__Host-id={}", token.expose());
        assert!(read(signed(&key), plain.as_bytes()).is_none());
    }

    proptest! {
        #[test]
        fn hostile_headers_never_panic(value in vec(any::<u8>(), 0..200)) {
            let value = [b"__Host-id=", &value[..]].concat();
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                let headers = HeaderMap::from_iter([(header::COOKIE, value)]);
                prop_assert!(cookie(CookieOptions::build()).unwrap().read(&headers).is_current);
            }
        }
    }
}
