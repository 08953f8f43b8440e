//! Types of [`SessionLayer`](crate::SessionLayer): where the token is, what the browser clears, and
//! the tower service.
//!
//! With the feature `csrf`, `CsrfLayer` refuses requests from other sites.

// The layer reads the token of a request, adds a session to the request, and writes the cookie of
// the response. Knows `session` and `cookie`, and nothing about axum or concrete stores.

mod companion;
pub(crate) mod config;
mod development;
mod future;
mod lifetimes;
mod service;
pub(crate) mod token_source;

#[doc(hidden)]
pub use self::companion::Companion;
pub use self::{
    config::ClearSiteData, future::ResponseFuture, service::SessionService,
    token_source::TokenSource,
};
/// Refuses requests from other sites, unless their method is safe. Recognises them by
/// `Sec-Fetch-Site` and `Origin` (OWASP ASVS 5.0, 3.5.1 and 3.5.3). Put this layer outside the
/// [`SessionLayer`](crate::SessionLayer). A proxy has to pass on `Host` and `Origin`.
#[cfg(feature = "csrf")]
pub use tower_http::csrf::CsrfLayer;
