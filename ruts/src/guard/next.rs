//! [`Next`]: extractor for the page to return to after a sign-in.
//!
//! Reads the parameter `next`, which `rejection` writes. Knows paths, and nothing about sessions.

use std::convert::Infallible;

use axum_core::extract::FromRequestParts;
use http::request::Parts;

use crate::local_path::is_local_path;

/// The page that a client asked for before a guard redirected it: the parameter `next` of the
/// redirect to the [`sign_in_page`](crate::SessionLayer::sign_in_page).
///
/// A form without `action` is submitted to the address of its own page, which includes `next`. Only
/// a path of this site is accepted, so a link to the sign-in page cannot redirect to another site
/// (CWE-601).
///
/// ```
/// use axum::response::Redirect;
/// use ruts::{Error, guard::Next, session};
///
/// #[session]
/// struct Shop {
///     #[field(principal)]
///     user: u64,
/// }
///
/// /// The password was right.
/// async fn sign_in(next: Next, shop: Shop) -> Result<Redirect, Error> {
///     shop.set_user(&7).await?;
///     Ok(Redirect::to(next.path_or("/")))
/// }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Next(Option<String>);

impl Next {
    /// Returns the path and query of the page. `None` if the parameter is absent or not a path of
    /// this site.
    pub fn path(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// Returns the path and query of the page, or `default`.
    pub fn path_or<'a>(&'a self, default: &'a str) -> &'a str {
        self.path().unwrap_or(default)
    }
}

impl<S: Sync> FromRequestParts<S> for Next {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let query = parts.uri.query().unwrap_or_default();
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        let next = pairs.find(|(name, _)| name == "next").map(|(_, next)| next.into_owned());
        Ok(Self(next.filter(|next| is_local_path(next))))
    }
}
