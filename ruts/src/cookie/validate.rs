//! The rules for the name and the attributes of a cookie (RFC 6265bis).
//!
//! Called by `options`. Pure functions, which know nothing about tokens or headers.

use super::error::CookieError;

/// Maximum length of name and value together in a cookie that browsers keep (RFC 6265bis, 5.7).
pub(super) const MAX_BYTES: usize = 4096;

pub(super) fn check_path(path: &str) -> Result<(), CookieError> {
    if !path.starts_with('/') || !is_attribute(path) {
        return Err(CookieError::Path(path.to_owned()));
    }
    Ok(())
}

pub(super) fn check_domain(domain: &str) -> Result<(), CookieError> {
    let is_host = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'-';
    if domain.is_empty() || !is_attribute(domain) || !domain.bytes().all(is_host) {
        return Err(CookieError::Domain(domain.to_owned()));
    }
    Ok(())
}

fn is_attribute(text: &str) -> bool {
    text.len() <= 1024 && text.bytes().all(|b| b.is_ascii_graphic() && b != b';')
}

/// Checks that a name is a token of RFC 9110.
pub(super) fn check_name(name: &str) -> Result<(), CookieError> {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(CookieError::Name(name.to_owned()));
    }
    Ok(())
}

/// Adds `__Host-` or `__Secure-` to a name without a prefix, and checks a prefix that the name
/// already has.
pub(super) fn prefixed(name: String, is_host_only: bool) -> Result<String, CookieError> {
    let lower = name.to_ascii_lowercase();
    let prefixes = ["__Host-Http-", "__Host-", "__Http-", "__Secure-"];
    let prefix = prefixes.iter().find(|prefix| lower.starts_with(&prefix.to_ascii_lowercase()));
    let needs = match prefix {
        None if is_host_only => return Ok(format!("__Host-{name}")),
        None => return Ok(format!("__Secure-{name}")),
        Some(prefix) if !name.starts_with(prefix) => {
            "its prefix spelled as in `__Host-`, `__Http-` or `__Secure-`"
        }
        Some(prefix) if prefix.starts_with("__Host-") && !is_host_only => {
            "the path `/` and no domain"
        }
        Some(_) => return Ok(name),
    };
    Err(CookieError::Prefix { name, needs })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_gets_the_strongest_prefix() {
        let prefixed = |name: &str, is_host_only| prefixed(name.to_owned(), is_host_only).ok();
        for (name, is_host_only, expected) in [
            ("id", true, Some("__Host-id")),
            ("id", false, Some("__Secure-id")),
            ("__Secure-id", true, Some("__Secure-id")),
            ("__Http-id", false, Some("__Http-id")),
            ("__Host-Http-id", true, Some("__Host-Http-id")),
            ("__Host-Http-id", false, None),
            ("__Host-id", false, None),
            ("__host-id", true, None),
        ] {
            assert_eq!(prefixed(name, is_host_only).as_deref(), expected, "{name} {is_host_only}");
        }
    }
}
