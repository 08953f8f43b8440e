use std::{sync::Arc, time::Duration};

use super::ClientWatch;
use crate::{
    codec::Codec,
    principal::{Assurance, PrincipalKey},
    sealing::FieldCipher,
    store::{AuthChange, DynStore, NewSignIn, SessionLimit, Touch},
    ttl::Ttl,
};

/// What all sessions of a layer have in common.
pub(crate) struct SessionContext {
    pub(crate) store: Arc<dyn DynStore>,
    pub(crate) config: SessionConfig,
}

/// How long sessions live, how untyped values are written, and whose sessions they are.
#[derive(Debug, Clone)]
pub(crate) struct SessionConfig {
    /// The name of the layer; empty for the unnamed one. Its secrets open its sessions only.
    pub(crate) layer: &'static str,
    /// Time without use after which a session ends.
    pub(crate) idle: Option<Ttl>,
    /// Time after which a session ends however much it is used.
    pub(crate) absolute: Option<Ttl>,
    /// Time after which a secret is replaced by a new one.
    pub(crate) renewal: Option<Renewal>,
    /// How many sessions a principal may have.
    pub(crate) limit: Option<SessionLimit>,
    /// Where somebody who has to sign in is sent.
    pub(crate) sign_in_page: Option<http::HeaderValue>,
    /// The codec of values that are set by name.
    pub(crate) codec: Codec,
    /// How clients are watched.
    pub(crate) clients: Option<ClientWatch>,
    /// Encrypts the fields that ask for it.
    pub(crate) cipher: FieldCipher,
}

/// How often a secret is replaced without anything else having changed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Renewal {
    pub(crate) every: Ttl,
    /// How long the one before goes on opening the session.
    pub(crate) grace: Duration,
}

/// Who is to be signed in by a write, or that nobody is any more.
#[derive(Clone, Copy)]
pub(super) enum Signing {
    In(PrincipalKey, Assurance),
    Out,
}

impl SessionConfig {
    /// What a store is asked to do for a signing.
    pub(super) fn sign<'a>(&self, signing: Option<&'a Signing>) -> Option<AuthChange<'a>> {
        Some(match signing? {
            Signing::In(principal, assurance) => AuthChange::In {
                who: NewSignIn { principal, assurance: *assurance, limit: self.limit },
                idle: self.idle,
                absolute: self.absolute,
            },
            Signing::Out => AuthChange::Out,
        })
    }

    /// A use counts only after an eighth of the idle time, so that most reads write nothing.
    pub(super) fn touch(&self) -> Option<Touch> {
        self.idle.map(|idle| Touch { idle, after: idle.as_duration() / 8 })
    }
}
