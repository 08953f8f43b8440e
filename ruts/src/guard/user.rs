//! [`CurrentUser`]: extractor for the application's user, loaded once per request.
//!
//! Called by axum. Calls the application's `LoadUser`. Knows principals, and no fields.

use std::fmt;

use axum_core::extract::{FromRef, FromRequestParts};
use http::request::Parts;

use super::rejection::GuardRejection;
use crate::{
    auth::PrincipalKey,
    error::Error,
    session::{LoadUser, TypedSession, load_user},
    store::SignedIn,
};

/// The signed-in user, loaded once per request by a [`LoadUser`] in the state of the router. If a
/// different user signs in during the request, that user is loaded.
///
/// A guest gets a 401, or a redirect to the [`sign_in_page`](crate::SessionLayer::sign_in_page), as
/// with [`Fresh`](super::Fresh). For pages that guests may see, call [`load_user`] instead.
///
/// ```
/// use ruts::{field::{Field, Principal}, guard::CurrentUser, session, session::LoadUser};
///
/// #[session]
/// struct Shop {
///     #[field(principal)]
///     user: u64,
/// }
///
/// #[derive(Clone)]
/// struct Names;
///
/// impl LoadUser for Names {
///     type Schema = Shop;
///     type Id = u64;
///     type User = String;
///     type Error = std::io::Error;
///
///     const PRINCIPAL: Field<u64, Principal> = Shop::USER;
///
///     async fn load(&self, id: u64) -> Result<Option<String>, std::io::Error> {
///         Ok(Some(format!("user {id}")))
///     }
/// }
///
/// async fn account(CurrentUser(name): CurrentUser<Names>) -> String {
///     format!("the account of {name}")
/// }
///
/// let app: axum::Router =
///     axum::Router::new().route("/account", axum::routing::get(account)).with_state(Names);
/// # drop(app);
/// ```
///
/// # Errors
///
/// [`Error::SignInRequired`], and the errors of [`load_user`].
pub struct CurrentUser<L: LoadUser>(pub L::User);

/// A user that another extractor of the same request has loaded, and its principal.
struct Known<L: LoadUser> {
    user: L::User,
    principal: PrincipalKey,
}

impl<L: LoadUser> Clone for Known<L> {
    fn clone(&self) -> Self {
        Self { user: self.user.clone(), principal: self.principal }
    }
}

impl<L: LoadUser + FromRef<S>, S: Send + Sync> FromRequestParts<S> for CurrentUser<L> {
    type Rejection = GuardRejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, GuardRejection> {
        let typed = L::Schema::from_extensions(&parts.extensions)?;
        match current_user::<L, S>(&typed, parts, state).await {
            Ok(user) => Ok(Self(user)),
            Err(error) => Err(GuardRejection::new(error, typed.session(), parts)),
        }
    }
}

/// Returns the signed-in user, and loads it unless this request has already loaded the same user.
async fn current_user<L: LoadUser + FromRef<S>, S>(
    typed: &L::Schema,
    parts: &mut Parts,
    state: &S,
) -> Result<L::User, Error> {
    let known = parts.extensions.get::<Known<L>>().cloned();
    if let Some(Known { user, principal }) = known
        && typed.session().signed_in().await?.is_some_and(|now| now.principal == principal)
    {
        return Ok(user);
    }
    let user = load_user(typed, &L::from_ref(state)).await?.ok_or(Error::SignInRequired)?;
    if let Some(SignedIn { principal, .. }) = typed.session().signed_in().await? {
        parts.extensions.insert(Known::<L> { user: user.clone(), principal });
    }
    Ok(user)
}

impl<L: LoadUser<User: Clone>> Clone for CurrentUser<L> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<L: LoadUser<User: fmt::Debug>> fmt::Debug for CurrentUser<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CurrentUser").field(&self.0).finish()
    }
}
