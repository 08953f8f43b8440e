//! [`Edit`]: several field changes, and possibly a sign-in, in one write.
//!
//! Returned by `Session::edit`, wrapped by generated code. Encodes values, and calls `request`.

use std::{fmt, time::Duration};

use bytes::Bytes;

use super::{
    config::{PrincipalChange, SignInOptions},
    future::WriteFuture,
    request::{
        operations::RequestSession,
        write_plan::{WritePlan, field_write},
    },
    value,
};
use crate::{
    auth::{Assurance, PrincipalKey},
    error::Error,
    field::{Field, FieldSpec, Mode, StoredAs},
    store::Change,
    ttl::Ttl,
};

/// Several changes to one session, written together or not at all.
///
/// The edit of a `#[session]` struct has a method for each field. The edit that [`Session::edit`]
/// returns takes typed keys:
///
/// ```
/// use ruts::{Error, session};
///
/// #[session]
/// struct Shop {
///     name: String,
///     #[field(default)]
///     cart: Vec<String>,
/// }
///
/// async fn order(shop: Shop) -> Result<(), Error> {
///     shop.edit().name("Ada").remove_cart().commit().await
/// }
///
/// async fn by_key(shop: Shop) -> Result<(), Error> {
///     shop.session().edit().set(Shop::NAME, "Ada").remove(Shop::CART).commit().await
/// }
/// ```
///
/// [`Session::edit`]: crate::Session::edit
#[must_use = "nothing is written until `commit` is awaited"]
pub struct Edit<'a> {
    request: &'a RequestSession,
    changes: Vec<(&'static FieldSpec, Option<Bytes>)>,
    auth: Option<Auth>,
    options: SignInOptions,
    /// Whether a method has set one of the options.
    has_options: bool,
    failed: Option<Error>,
}

/// A change of principal, before the options of the sign-in are known.
#[derive(Clone, Copy)]
enum Auth {
    In(PrincipalKey, Option<Ttl>),
    Out(&'static FieldSpec),
}

impl<'a> Edit<'a> {
    pub(super) fn new(request: &'a RequestSession) -> Self {
        Self {
            request,
            changes: Vec::new(),
            auth: None,
            options: SignInOptions::new(Assurance::Aal1),
            has_options: false,
            failed: None,
        }
    }

    /// Sets a field.
    pub fn set<T, M: Mode, Q: StoredAs<T> + ?Sized>(
        mut self,
        field: Field<T, M>,
        value: &Q,
    ) -> Self {
        let layer = self.request.config().layer;
        let encoded = value::encode(field, value);
        match encoded.and_then(|bytes| Ok((bytes, value::principal(field, layer, value)?))) {
            Ok((bytes, principal)) => {
                self.changes.push((field.spec(), Some(bytes)));
                let ttl = field.spec().ttl();
                self.auth = principal.map(|principal| Auth::In(principal, ttl)).or(self.auth);
            }
            Err(error) => self.failed = self.failed.or(Some(error)),
        }
        self
    }

    /// Removes a field.
    pub fn remove<T, M: Mode>(mut self, field: Field<T, M>) -> Self {
        // A different field of the same edit may sign a principal in. That principal replaces the
        // principal of this field, whatever the order of the calls.
        let signs_in_by_other = matches!(self.auth, Some(Auth::In(..)))
            && !self.changes.iter().any(|(spec, value)| {
                spec.is_principal() && value.is_some() && spec.name() == field.spec().name()
            });
        self.changes.push((field.spec(), None));
        if field.spec().is_principal() && !signs_in_by_other {
            self.auth = Some(Auth::Out(field.spec()));
        }
        self
    }

    /// Sets the assurance of a sign-in. [`Assurance::Aal1`] by default.
    pub fn assurance(self, assurance: Assurance) -> Self {
        self.with(|options| SignInOptions { assurance, ..options })
    }

    /// Keeps the fields of the session at a sign-in, even if a different principal was signed in:
    /// see [`SignIn::keep_fields`](super::SignIn::keep_fields).
    pub fn keep_fields(self) -> Self {
        self.with(SignInOptions::keep_fields)
    }

    /// Remembers a sign-in: see [`SignIn::remember`](super::SignIn::remember).
    pub fn remember(mut self, life: Duration) -> Self {
        match self.options.remember(life) {
            Ok(options) => self.with(|_| options),
            Err(error) => {
                self.failed = self.failed.or(Some(error));
                self
            }
        }
    }

    /// Lets the cookie of a sign-in end with the browser: see
    /// [`SignIn::until_browser_closes`](super::SignIn::until_browser_closes).
    pub fn until_browser_closes(self) -> Self {
        self.with(SignInOptions::until_browser_closes)
    }

    /// Stores a digest of the user's stamp with a sign-in: see
    /// [`SignIn::stamp`](super::SignIn::stamp).
    pub fn stamp(self, stamp: impl AsRef<[u8]>) -> Self {
        self.with(|options| options.stamp(stamp.as_ref()))
    }

    fn with(mut self, change: impl FnOnce(SignInOptions) -> SignInOptions) -> Self {
        (self.options, self.has_options) = (change(self.options), true);
        self
    }

    /// Writes all changes, in as many round trips as [`Entry::set`](crate::Entry::set) takes. An
    /// edit that signs in takes as many as [`Entry::sign_in`](crate::Entry::sign_in). An edit that
    /// removes a principal field takes as many as [`Entry::remove`](crate::Entry::remove).
    ///
    /// # Errors
    ///
    /// - If a value cannot be encoded, or [`remember`](Self::remember) refuses its argument: the
    ///   first of these errors. Nothing is written.
    /// - [`Error::NoSignIn`] if the edit has an option of a sign-in, such as
    ///   [`assurance`](Self::assurance), and sets no principal field. Nothing is written.
    /// - Otherwise the errors of [`Entry::set`](crate::Entry::set), or of
    ///   [`Entry::sign_in`](crate::Entry::sign_in) if the edit signs in.
    pub fn commit(self) -> WriteFuture<'a> {
        let Self { request, changes, auth, options, has_options, failed } = self;
        WriteFuture::new(async move {
            if let Some(error) = failed {
                return Err(error);
            }
            if has_options && !matches!(auth, Some(Auth::In(..))) {
                return Err(Error::NoSignIn);
            }
            let principal_change = match auth {
                Some(Auth::In(principal, ttl)) => {
                    Some(PrincipalChange::sign_in(principal, ttl, options)?)
                }
                Some(Auth::Out(field)) => Some(PrincipalChange::Out(field)),
                None => None,
            };
            let rotate = changes.iter().any(|(field, _)| field.is_rotating());
            let encrypted =
                changes.iter().filter(|(field, _)| field.encrypts(field.written_version()));
            let encrypted = encrypted.map(|(field, _)| field.name()).collect();
            let indexed =
                changes.iter().map(|(field, _)| *field).filter(|field| field.is_index()).collect();
            let changes: Vec<Change<'_>> = (changes.iter())
                .map(|(field, value)| match value {
                    Some(value) => Change::Set(field_write(field, value)),
                    None => Change::Remove(field.name()),
                })
                .collect();
            if changes.is_empty() {
                return Ok(());
            }
            request
                .write(
                    &changes,
                    WritePlan {
                        rotate,
                        principal_change,
                        encrypted,
                        indexed,
                        ..WritePlan::default()
                    },
                )
                .await
                .map(drop)
        })
    }
}

impl fmt::Debug for Edit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.changes.iter().map(|(field, _)| field.name())).finish()
    }
}
