//! [`SessionConfig`]: the settings of a layer that its sessions use, such as lifetimes and limits.
//!
//! Written by the layer and by `SessionIndex`, read by `request`. Knows no cookie options.

use std::{
    num::NonZeroU32,
    sync::{Arc, Once},
    time::Duration,
};

use sha2::{Digest, Sha256};

use super::schemas::Schemas;
use crate::{
    auth::{Assurance, PrincipalKey},
    client::ClientWatch,
    codec::Codec,
    crypto::field_cipher::FieldCipher,
    error::Error,
    field::FieldSpec,
    store::{AuthChange, DynStore, NewSignIn, SessionLimit, SessionMeta, Touch},
    token::CookieLife,
    ttl::{Ttl, TtlError},
};

/// The parts that all sessions of a layer share.
pub(crate) struct SessionContext {
    pub(crate) store: Arc<dyn DynStore>,
    pub(crate) config: SessionConfig,
    pub(crate) layer: Arc<LayerIdentity>,
    /// The `Debug` text of the layer, which shows all its settings except functions and keys. Two
    /// clones of a layer with the same text count as one layer.
    pub(crate) settings: String,
    /// Name of the cookie from which the layer reads tokens. `None` if it reads only the header.
    pub(crate) cookie: Option<String>,
    /// Whether the layer reads tokens from the header `Authorization`.
    pub(crate) reads_header: bool,
}

/// The data that all services of a layer and of its clones share.
pub(crate) struct LayerIdentity {
    pub(crate) schemas: Schemas,
    /// Ensures that a conflict of layers is logged only once.
    pub(crate) conflict: Once,
}

impl LayerIdentity {
    pub(crate) fn new() -> Self {
        Self { schemas: Schemas::default(), conflict: Once::new() }
    }
}

/// The result of reading a stored value that does not fit the type of its field.
///
/// Set by [`SessionLayer::unreadable`](crate::SessionLayer::unreadable).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Unreadable {
    /// A read fails with [`Error::Decode`](crate::Error::Decode). An `update` fails, too, and does
    /// not change the value.
    #[default]
    Error,
    /// The field reads as absent, or as its default, and an `update` overwrites the value. Logged
    /// at `WARN`, once for each field.
    Absent,
}

/// Settings of the sessions of a layer.
#[derive(Debug, Clone)]
pub(crate) struct SessionConfig {
    /// Name of the layer, empty for the unnamed one. The hash of every secret covers it, so that
    /// only this layer accepts the secret.
    pub(crate) layer: &'static str,
    /// Time without activity after which a session ends.
    pub(crate) idle: Option<Ttl>,
    /// Time after which a session ends despite activity.
    pub(crate) absolute: Option<Ttl>,
    /// Age at which a secret is renewed.
    pub(crate) renew_every: Option<Ttl>,
    /// Grace period of a former secret after a renewal.
    pub(crate) renewal_grace: Duration,
    /// How long a client keeps the cookie, unless a sign-in sets a different lifetime. `None`:
    /// until the browser is closed.
    pub(crate) cookie_life: Option<Ttl>,
    /// Limit on the number of sessions of a principal.
    pub(crate) limit: Option<SessionLimit>,
    /// Page to which guards redirect a browser that has to sign in.
    pub(crate) sign_in_page: Option<String>,
    /// Codec of values that are set by name.
    pub(crate) codec: Codec,
    /// The functions that detect changes of clients.
    pub(crate) clients: Option<ClientWatch>,
    /// Encrypts the fields declared with `encrypt`.
    pub(crate) cipher: FieldCipher,
    /// The result of reading a value that does not fit its field.
    pub(crate) unreadable: Unreadable,
}

/// A change of principal as part of a write.
#[derive(Clone, Copy)]
pub(crate) enum PrincipalChange {
    In {
        principal: PrincipalKey,
        /// Lifetime of the principal field, which bounds the session.
        lifetime: Option<Ttl>,
        options: SignInOptions,
    },
    /// The principal of this field is signed out.
    Out(&'static FieldSpec),
}

/// The options of a sign-in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SignInOptions {
    pub(crate) assurance: Assurance,
    /// Keeps the fields of the session, even if a different principal was signed in.
    pub(crate) keep_fields: bool,
    /// How long the client keeps the cookie. `None`: for as long as before if the same principal
    /// authenticates again, and otherwise as the layer is configured.
    pub(crate) cookie_life: Option<CookieLife>,
    /// Digest of the user's stamp.
    pub(crate) stamp: Option<[u8; 32]>,
}

impl SignInOptions {
    pub(super) fn new(assurance: Assurance) -> Self {
        Self { assurance, keep_fields: false, cookie_life: None, stamp: None }
    }

    pub(super) fn remember(self, life: Duration) -> Result<Self, Error> {
        check_lifetime(life, Some(CookieLife::LONGEST))?;
        let seconds = NonZeroU32::new(life.as_secs().try_into().unwrap_or(u32::MAX));
        let seconds = seconds.ok_or(TtlError::Zero)?;
        Ok(Self { cookie_life: Some(CookieLife::Remembered(seconds)), ..self })
    }

    pub(super) fn until_browser_closes(self) -> Self {
        Self { cookie_life: Some(CookieLife::Browser), ..self }
    }

    pub(super) fn keep_fields(self) -> Self {
        Self { keep_fields: true, ..self }
    }

    pub(super) fn stamp(self, stamp: &[u8]) -> Self {
        Self { stamp: Some(stamp_digest(stamp)), ..self }
    }
}

impl PrincipalChange {
    /// Creates the sign-in of a principal.
    ///
    /// # Errors
    ///
    /// The sign-in would be remembered for longer than the principal field lives.
    pub(super) fn sign_in(
        principal: PrincipalKey,
        lifetime: Option<Ttl>,
        options: SignInOptions,
    ) -> Result<Self, Error> {
        let remembered = options.cookie_life.and_then(CookieLife::remembered);
        let longest = lifetime.map(Ttl::as_duration);
        check_lifetime(remembered.unwrap_or_default(), longest)?;
        Ok(Self::In { principal, lifetime, options })
    }

    /// Returns the principal that is signed in after the change.
    pub(super) fn principal(&self) -> Option<PrincipalKey> {
        match self {
            Self::In { principal, .. } => Some(*principal),
            Self::Out(_) => None,
        }
    }
}

/// Hashes a stamp of any length to a digest of fixed length.
pub(super) fn stamp_digest(stamp: &[u8]) -> [u8; 32] {
    Sha256::digest(stamp).into()
}

/// Returns an error if the requested lifetime exceeds the maximum.
pub(super) fn check_lifetime(asked: Duration, longest: Option<Duration>) -> Result<(), Error> {
    match longest {
        Some(longest) if asked > longest => Err(Error::LifetimeBound { longest }),
        _ => Ok(()),
    }
}

impl SessionConfig {
    /// Returns the change of principal to send to the store. `cookie_life` is the lifetime of the
    /// cookie after the change.
    pub(super) fn auth_change<'a>(
        &self,
        principal_change: Option<&'a PrincipalChange>,
        cookie_life: CookieLife,
    ) -> Option<AuthChange<'a>> {
        Some(match principal_change? {
            PrincipalChange::In { principal, lifetime, options } => AuthChange::In {
                who: NewSignIn::new(principal, options.assurance)
                    .limit(self.limit)
                    .keep_fields(options.keep_fields),
                idle: self.idle_of(cookie_life),
                absolute: self.absolute_of(cookie_life, *lifetime),
            },
            PrincipalChange::Out(_) => AuthChange::Out,
        })
    }

    /// Returns the idle timeout of a session. For a remembered session, the timeout is at least the
    /// lifetime of the cookie.
    pub(super) fn idle_of(&self, cookie_life: CookieLife) -> Option<Ttl> {
        self.idle.map(|idle| idle.max(remembered(cookie_life).unwrap_or(idle)))
    }

    /// Returns the time from the start or the sign-in of a session to its absolute deadline.
    /// `lifetime` is the lifetime of the principal field.
    pub(super) fn absolute_of(
        &self,
        cookie_life: CookieLife,
        lifetime: Option<Ttl>,
    ) -> Option<Ttl> {
        let absolute =
            self.absolute.map(|absolute| absolute.max(remembered(cookie_life).unwrap_or(absolute)));
        absolute.into_iter().chain(lifetime).min()
    }

    /// Returns whether a session outlives the idle timeout of the layer, because it is remembered.
    pub(super) fn outlives_idle(&self, cookie_life: CookieLife) -> bool {
        self.idle_of(cookie_life) > self.idle
    }

    /// Returns whether secrets are renewed, either by age or to extend the cookie. If so, a late
    /// request has a grace period.
    pub(super) fn renews(&self, cookie_life: CookieLife) -> bool {
        let kept = self.cookie_life.is_some() || cookie_life != CookieLife::Default;
        self.renew_every.is_some() || kept
    }

    /// Returns whether a session is remembered, and a timeout of the layer has passed. The absolute
    /// timeout counts from the sign-in, and the idle timeout from the last use.
    pub(super) fn is_lapsed(&self, cookie_life: CookieLife, meta: &SessionMeta) -> bool {
        let exceeds =
            |age: Duration, limit: Option<Ttl>| limit.is_some_and(|ttl| age >= ttl.as_duration());
        let Some(signed_in) = meta.signed_in.filter(|_| cookie_life.remembered().is_some()) else {
            return false;
        };
        exceeds(signed_in.ago, self.absolute)
            || self.outlives_idle(cookie_life) && exceeds(meta.idle_for, self.idle)
    }

    /// Returns the touch of a read or write. The touch is due only after an eighth of the idle
    /// timeout, so that most reads do not write to the store.
    ///
    /// If a session outlives the idle timeout, its touch is never due, and only confirms a renewed
    /// secret. A due touch would reset the time since the last use. But the request needs this time
    /// to decide whether the authentication has lapsed. So `renewal` counts the use, just before
    /// the response.
    pub(super) fn touch(&self, cookie_life: CookieLife) -> Option<Touch> {
        let idle = self.idle_of(cookie_life)?;
        Some(match self.outlives_idle(cookie_life) {
            false => Touch::new(idle, idle.as_duration() / 8),
            true => Touch::new(idle, idle.as_duration() + Duration::from_millis(1)),
        })
    }
}

fn remembered(cookie_life: CookieLife) -> Option<Ttl> {
    cookie_life.remembered().and_then(|life| Ttl::new(life).ok())
}
