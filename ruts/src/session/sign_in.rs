//! [`SignIn`]: a sign-in with options, done when it is awaited.
//!
//! Returned by `Entry::sign_in`. Knows its options, and leaves the write to `request`.

use std::{fmt, future::IntoFuture, time::Duration};

use bytes::Bytes;

use super::{
    config::{PrincipalChange, SignInOptions},
    future::WriteFuture,
    request::{
        operations::RequestSession,
        write_plan::{WritePlan, field_write},
    },
};
use crate::{
    auth::{Assurance, PrincipalKey},
    error::Error,
    field::FieldSpec,
    store::Change,
};

/// A sign-in: made by [`Entry::sign_in`](crate::Entry::sign_in), done when it is awaited.
///
/// ```
/// use std::time::Duration;
/// use ruts::{Error, auth::Assurance, session};
///
/// #[session]
/// struct Shop {
///     #[field(principal)]
///     user: u64,
/// }
///
/// /// The password was right. The form has a box "stay signed in".
/// async fn sign_in(shop: Shop, stay: bool) -> Result<(), Error> {
///     let sign_in = shop.user().sign_in(&7, Assurance::Aal1);
///     let month = Duration::from_secs(30 * 24 * 60 * 60);
///     if stay { sign_in.remember(month).await } else { sign_in.await }
/// }
/// ```
#[must_use = "no principal is signed in until this is awaited"]
pub struct SignIn<'a> {
    request: &'a RequestSession,
    field: &'static FieldSpec,
    value: Result<(Bytes, Option<PrincipalKey>), Error>,
    options: Result<SignInOptions, Error>,
}

impl<'a> SignIn<'a> {
    pub(super) fn new(
        request: &'a RequestSession,
        field: &'static FieldSpec,
        value: Result<(Bytes, Option<PrincipalKey>), Error>,
        assurance: Assurance,
    ) -> Self {
        Self { request, field, value, options: Ok(SignInOptions::new(assurance)) }
    }

    /// Remembers the user even after the browser was closed, until `life` has passed without a
    /// visit.
    ///
    /// The cookie gets this lifetime, and the idle timeout of the session is at least as long.
    /// Visits extend both, up to a maximum time since the sign-in: the absolute timeout of the
    /// layer or `life`, whichever is longer.
    ///
    /// The authentication itself does not last longer. As soon as the layer would have ended the
    /// session without this option, the sign-in counts as [`Assurance::Remembered`]. The user is
    /// still recognised, but a page that [requires](crate::Session::require) an assurance asks for
    /// the password again. The new sign-in keeps the lifetime of the cookie, unless it sets a
    /// different one.
    ///
    /// # Round trips
    ///
    /// One more round trip for every eighth of the idle timeout in which the session is used.
    ///
    /// # Errors
    ///
    /// [`Error::Ttl`] below one second. [`Error::LifetimeBound`] above 400 days, the maximum that
    /// browsers allow (RFC 6265bis, 5.5), or above the `ttl` of the principal field.
    pub fn remember(mut self, life: Duration) -> Self {
        self.options = self.options.and_then(|options| options.remember(life));
        self
    }

    /// Lets the cookie end with the browser, even if the layer or an earlier sign-in keeps it for
    /// longer.
    pub fn until_browser_closes(mut self) -> Self {
        self.options = self.options.map(SignInOptions::until_browser_closes);
        self
    }

    /// Stores a digest of the user's stamp with the session: see
    /// [`LoadUser::stamp`](super::LoadUser::stamp).
    pub fn stamp(mut self, stamp: impl AsRef<[u8]>) -> Self {
        self.options = self.options.map(|options| options.stamp(stamp.as_ref()));
        self
    }

    /// Keeps the fields of the session, even if a different principal is signed in. By default, the
    /// fields of the former principal are removed.
    pub fn keep_fields(mut self) -> Self {
        self.options = self.options.map(SignInOptions::keep_fields);
        self
    }
}

impl<'a> IntoFuture for SignIn<'a> {
    type Output = Result<(), Error>;
    type IntoFuture = WriteFuture<'a>;

    fn into_future(self) -> WriteFuture<'a> {
        let Self { request, field, value, options } = self;
        WriteFuture::new(async move {
            let ((value, principal), options) = (value?, options?);
            let sign_in = |principal| PrincipalChange::sign_in(principal, field.ttl(), options);
            let principal_change = principal.map(sign_in).transpose()?;
            let change = Change::Set(field_write(field, &value));
            let plan = WritePlan { principal_change, ..WritePlan::of(field) };
            request.write(&[change], plan).await.map(drop)
        })
    }
}

/// Shows neither the principal nor its value.
impl fmt::Debug for SignIn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignIn").field("field", &self.field.name()).finish_non_exhaustive()
    }
}
