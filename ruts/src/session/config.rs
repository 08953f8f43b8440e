//! The settings of a layer that concern its sessions: [`SessionConfig`].

use std::{
    sync::{Arc, Once},
    time::Duration,
};

use crate::{
    auth::{Assurance, PrincipalKey},
    client::ClientWatch,
    codec::Codec,
    crypto::field_cipher::FieldCipher,
    store::{AuthChange, DynStore, NewSignIn, SessionLimit, Touch},
    ttl::Ttl,
};

/// The parts that all sessions of a layer share.
pub(crate) struct SessionContext {
    pub(crate) store: Arc<dyn DynStore>,
    pub(crate) config: SessionConfig,
    /// The same for all services of a layer and its clones. Logs a conflict of layers once.
    pub(crate) layer: Arc<Once>,
}

/// Settings of the sessions of a layer.
#[derive(Debug, Clone)]
pub(crate) struct SessionConfig {
    /// Name of the layer, empty for the unnamed one. It is part of every secret's hash, so that a
    /// secret opens sessions of its own layer alone.
    pub(crate) layer: &'static str,
    /// Time without activity after which a session ends.
    pub(crate) idle: Option<Ttl>,
    /// Time after which a session ends despite activity.
    pub(crate) absolute: Option<Ttl>,
    /// Renewal of secrets by age.
    pub(crate) renewal: Option<Renewal>,
    /// Limit on the sessions of a principal.
    pub(crate) limit: Option<SessionLimit>,
    /// Page that guards redirect to for a sign-in.
    pub(crate) sign_in_page: Option<http::HeaderValue>,
    /// Codec of values that are set by name.
    pub(crate) codec: Codec,
    /// How changes of clients are noticed.
    pub(crate) clients: Option<ClientWatch>,
    /// Encrypts the fields declared with `encrypt`.
    pub(crate) cipher: FieldCipher,
}

/// Renewal of secrets by age.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Renewal {
    pub(crate) every: Ttl,
    /// Grace period of the former secret.
    pub(crate) grace: Duration,
}

/// A change of principal that goes along with a write.
#[derive(Clone, Copy)]
pub(crate) enum Signing {
    In {
        principal: PrincipalKey,
        assurance: Assurance,
        /// Keeps the fields of another principal.
        keep_fields: bool,
        /// Lifetime of the principal field, which bounds the session.
        lifetime: Option<Ttl>,
    },
    Out,
}

impl Signing {
    /// Returns the principal that is signed in afterwards.
    pub(super) fn principal(&self) -> Option<PrincipalKey> {
        match self {
            Self::In { principal, .. } => Some(*principal),
            Self::Out => None,
        }
    }
}

impl SessionConfig {
    /// Returns what the store is asked to do.
    pub(super) fn auth_change<'a>(&self, signing: Option<&'a Signing>) -> Option<AuthChange<'a>> {
        Some(match signing? {
            Signing::In { principal, assurance, keep_fields, .. } => AuthChange::In {
                who: NewSignIn::new(principal, *assurance)
                    .limit(self.limit)
                    .keep_fields(*keep_fields),
                idle: self.idle,
                absolute: self.absolute_of(signing),
            },
            Signing::Out => AuthChange::Out,
        })
    }

    /// Returns the time until the absolute deadline of a session that begins, or is signed in.
    pub(super) fn absolute_of(&self, signing: Option<&Signing>) -> Option<Ttl> {
        let lifetime = match signing {
            Some(Signing::In { lifetime, .. }) => *lifetime,
            Some(Signing::Out) | None => None,
        };
        self.absolute.into_iter().chain(lifetime).min()
    }

    /// Returns how a use counts: only after an eighth of the idle time, so that most reads write
    /// nothing.
    pub(super) fn touch(&self) -> Option<Touch> {
        self.idle.map(|idle| Touch::new(idle, idle.as_duration() / 8))
    }
}
