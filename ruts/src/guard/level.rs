//! [`Fresh`] and [`Aal`]: extractors that require a recent or a strong authentication.
//!
//! Called by axum and by `require`. They know the typed session, and nothing about stores or
//! routes.

use std::time::Duration;

use axum_core::extract::FromRequestParts;
use http::request::Parts;

use super::rejection::GuardRejection;
use crate::{auth::Assurance, error::Error, session::TypedSession};

/// A session whose user has authenticated within the last `MINUTES` minutes. Use this guard for a
/// change of password or address (OWASP ASVS 5.0, 7.5.1). A remembered sign-in does not count. The
/// check takes one round trip, which reads the same fields as the first
/// [`Entry::get`](crate::Entry::get) of a request. If the request has read these fields before, the
/// check takes no round trip.
///
/// A request without such an authentication gets a 401. If the layer has a
/// [`sign_in_page`](crate::SessionLayer::sign_in_page), a browser that asks for a page is
/// redirected to the sign-in page instead. [`require`] applies the guard to a whole router.
///
/// [`require`]: super::require()
///
/// ```
/// use ruts::{Error, guard::Fresh, session};
///
/// #[session]
/// struct Shop {
///     #[field(principal)]
///     user: u64,
/// }
///
/// async fn change_password(Fresh(shop): Fresh<Shop, 5>) -> Result<String, Error> {
///     Ok(format!("a new password for {:?}", shop.user().await?))
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Fresh<T, const MINUTES: u64>(pub T);

/// A session whose user has authenticated at this level or above. Use this guard for operations
/// that need a second factor (OWASP ASVS 5.0, 7.5.3). `LEVEL` is 1, 2 or 3. A request whose session
/// does not reach the level gets the same response as from [`Fresh`].
///
/// ```
/// use ruts::{Error, guard::Aal, session};
///
/// #[session]
/// struct Shop {
///     #[field(principal)]
///     user: u64,
/// }
///
/// async fn pay_out(Aal(shop): Aal<Shop, 2>) -> Result<String, Error> {
///     Ok(format!("money for {:?}", shop.user().await?))
/// }
/// ```
///
/// A level above 3 or below 1 does not compile:
///
/// ```compile_fail,E0080
/// # use ruts::{guard::Aal, session};
/// # #[session]
/// # struct Shop {
/// #     #[field(principal)]
/// #     user: u64,
/// # }
/// async fn launch(_: Aal<Shop, 4>) {}
///
/// let app: axum::Router = axum::Router::new().route("/", axum::routing::get(launch));
/// # drop(app);
/// ```
#[derive(Debug, Clone)]
pub struct Aal<T, const LEVEL: u8>(pub T);

impl<T: TypedSession, S: Sync, const MINUTES: u64> FromRequestParts<S> for Fresh<T, MINUTES> {
    type Rejection = GuardRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, GuardRejection> {
        const { assert!(MINUTES > 0, "no authentication is fresher than 0 minutes") };
        let within = Some(Duration::from_secs(MINUTES.saturating_mul(60)));
        guarded(parts, Assurance::Aal1, within).await.map(Self)
    }
}

impl<T: TypedSession, S: Sync, const LEVEL: u8> FromRequestParts<S> for Aal<T, LEVEL> {
    type Rejection = GuardRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, GuardRejection> {
        let assurance = const {
            match LEVEL {
                1 => Assurance::Aal1,
                2 => Assurance::Aal2,
                3 => Assurance::Aal3,
                _ => panic!("authentication assurance levels go from 1 to 3"),
            }
        };
        guarded(parts, assurance, None).await.map(Self)
    }
}

async fn guarded<T: TypedSession>(
    parts: &Parts,
    assurance: Assurance,
    within: Option<Duration>,
) -> Result<T, GuardRejection> {
    let typed = T::from_extensions(&parts.extensions)?;
    let session = typed.session();
    let required = match session.is_signed_in(T::SCHEMA).await {
        Ok(true) => session.require(assurance, within).await.map(drop),
        Ok(false) => Err(Error::SignInRequired),
        Err(error) => Err(error),
    };
    match required {
        Ok(()) => Ok(typed),
        Err(error) => Err(GuardRejection::new(error, session, parts)),
    }
}
