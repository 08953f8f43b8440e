//! [`WritePlan`]: the side effects of a write: rotation, sign-in or sign-out, encryption.
//!
//! Made by `entry`, `edit`, `sign_in` and `handle` from field specs, and carried out by `transfer`.

use std::borrow::Cow;

use bytes::Bytes;

use super::field_cache::{FieldCache, Life};
use crate::{
    auth::PrincipalKey,
    field::{FieldSpec, SessionSchema},
    session::config::{PrincipalChange, SignInOptions},
    store::{Change, FieldWrite},
    token::CookieLife,
    ttl::Ttl,
};

/// The schema whose eager fields are read along with a field that is not known yet.
pub(crate) type EagerGroup = Option<&'static SessionSchema>;

/// The effects of a write besides its changes.
#[derive(Clone, Default)]
pub(crate) struct WritePlan {
    /// Whether the write replaces the secret.
    pub(crate) rotate: bool,
    pub(crate) principal_change: Option<PrincipalChange>,
    /// Names of the fields whose values are encrypted.
    pub(crate) encrypted: Vec<&'static str>,
    /// Fields whose values are indexed.
    pub(crate) indexed: Vec<&'static FieldSpec>,
    /// Whether the session limit refuses a sign-in in any case, instead of ending other sessions.
    pub(crate) rejects: bool,
}

impl WritePlan {
    /// Returns the plan for writing a field with this spec.
    pub(crate) fn of(field: &'static FieldSpec) -> Self {
        let is_encrypted = field.encrypts(field.written_version());
        let encrypted = if is_encrypted { vec![field.name()] } else { Vec::new() };
        let indexed = if field.is_index() { vec![field] } else { Vec::new() };
        Self { rotate: field.is_rotating(), encrypted, indexed, ..Self::default() }
    }

    /// Returns the plan for removing a field with this spec.
    pub(crate) fn of_removal(field: &'static FieldSpec) -> Self {
        let principal_change = field.is_principal().then_some(PrincipalChange::Out(field));
        Self { principal_change, ..Self::of(field) }
    }

    pub(super) fn is_sign_in(&self) -> bool {
        matches!(self.principal_change, Some(PrincipalChange::In { .. }))
    }

    /// Returns whether the lifetime of the cookie after the sign-in depends on the former
    /// principal.
    pub(super) fn keeps_cookie(&self) -> bool {
        matches!(&self.principal_change, Some(PrincipalChange::In { options, .. }) if options.cookie_life.is_none())
    }

    /// Returns the lifetime of the cookie after the write. Before the write, `signed_in` is the
    /// principal, and the lifetime is `cookie`.
    pub(super) fn cookie_life(
        &self,
        signed_in: Option<PrincipalKey>,
        cookie_life: CookieLife,
    ) -> CookieLife {
        match &self.principal_change {
            Some(PrincipalChange::In { principal, options, .. }) => {
                options.cookie_life.unwrap_or({
                    if signed_in == Some(*principal) { cookie_life } else { CookieLife::Default }
                })
            }
            Some(PrincipalChange::Out(_)) | None => cookie_life,
        }
    }

    /// Returns the same plan, with this lifetime of the cookie after a sign-in.
    pub(super) fn with_cookie(&self, cookie_life: CookieLife) -> Self {
        let principal_change =
            self.principal_change.map(|principal_change| match principal_change {
                PrincipalChange::In { principal, lifetime, options } => {
                    let options = SignInOptions { cookie_life: Some(cookie_life), ..options };
                    PrincipalChange::In { principal, lifetime, options }
                }
                PrincipalChange::Out(_) => principal_change,
            });
        Self { principal_change, ..self.clone() }
    }

    /// Returns whether the write signs in this principal.
    pub(super) fn signs_in(&self, who: &PrincipalKey) -> bool {
        matches!(&self.principal_change, Some(PrincipalChange::In { principal, .. }) if principal == who)
    }

    /// Returns the write of a change whose value has to be encrypted. `None` for other changes.
    pub(super) fn to_encrypt<'a>(&self, change: &Change<'a>) -> Option<FieldWrite<'a>> {
        match *change {
            Change::Set(write) if self.encrypted.contains(&write.name) => Some(write),
            _ => None,
        }
    }

    /// Returns the changes with their encrypted values, followed by the changes of reserved fields.
    pub(super) fn with_values<'a>(
        &self,
        changes: &'a [Change<'a>],
        encrypted: &'a [Bytes],
        own: impl Iterator<Item = Change<'a>> + Clone,
    ) -> Cow<'a, [Change<'a>]> {
        if encrypted.is_empty() && own.clone().next().is_none() {
            return Cow::Borrowed(changes);
        }
        let mut values = encrypted.iter();
        let encrypted = |change: &Change<'a>| match self.to_encrypt(change) {
            Some(write) => {
                values.next().map_or(*change, |value| Change::Set(FieldWrite { value, ..write }))
            }
            None => *change,
        };
        changes.iter().map(encrypted).chain(own).collect()
    }
}

/// Returns the write of a value, by the spec of its field. A principal field lives as long as its
/// session.
pub(crate) fn field_write<'a>(field: &FieldSpec, value: &'a Bytes) -> FieldWrite<'a> {
    let ttl = field.ttl().filter(|_| !field.is_principal());
    FieldWrite::new(field.name(), value).ttl(ttl).cache_policy(field.cache_policy())
}

/// Enters changes that the store has confirmed into the field cache.
pub(super) fn remember(fields: &mut FieldCache, changes: &[Change<'_>]) {
    for change in changes {
        match change {
            Change::Set(write) => {
                let life = Life::new(write.ttl.map(Ttl::as_duration));
                fields.remember(write.name, Some((write.value.clone(), life)));
            }
            Change::Remove(name) => fields.remember(name, None),
            Change::Expire(name, ttl) => {
                fields.set_life(name, Life::new(Some(ttl.as_duration())));
            }
        }
    }
}

/// Returns the fields that changes leave behind in a new session.
pub(super) fn outcome<'a>(changes: &[Change<'a>]) -> Vec<FieldWrite<'a>> {
    let mut fields: Vec<FieldWrite<'a>> = Vec::with_capacity(changes.len());
    for change in changes {
        match *change {
            Change::Set(write) => {
                fields.retain(|field| field.name != write.name);
                fields.push(write);
            }
            Change::Remove(name) => fields.retain(|field| field.name != name),
            Change::Expire(name, ttl) => fields
                .iter_mut()
                .filter(|field| field.name == name)
                .for_each(|field| field.ttl = Some(ttl)),
        }
    }
    fields
}
