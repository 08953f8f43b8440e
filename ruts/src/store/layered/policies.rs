use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

use crate::{store::Fields, ttl::Hot};

/// How many names are remembered. Schemas have a few; names that are made up as one goes are not worth it.
const ROOM: usize = 1024;

/// The fields that were seen to be no matter of the cache alone.
///
/// This only saves round trips: what the cache or the store of record says of a field is right without
/// it.
#[derive(Default)]
pub(super) struct Policies(RwLock<HashMap<Box<str>, Hot>>);

/// What is known of the fields that a read names.
#[derive(Default)]
pub(super) struct Caution<'a> {
    /// One of them is not in the cache.
    pub(super) never: bool,
    /// These have to be confirmed.
    pub(super) checked: Vec<&'a str>,
}

impl Policies {
    /// Remembers the policy of a field.
    pub(super) fn learn(&self, name: &str, hot: Hot) {
        let is_special = matches!(hot, Hot::Never | Hot::Checked);
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).copied();
        if known == is_special.then_some(hot) {
            return;
        }
        let mut policies = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if !is_special {
            policies.remove(name);
        } else if policies.len() < ROOM || known.is_some() {
            policies.insert(name.into(), hot);
        }
    }

    pub(super) fn of<'a>(&self, fields: Fields<'a>) -> Caution<'a> {
        let mut caution = Caution::default();
        let policies = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Fields::Named(names) = fields
            && !policies.is_empty()
        {
            for name in names {
                match policies.get(*name) {
                    Some(Hot::Never) => caution.never = true,
                    Some(_) => caution.checked.push(name),
                    None => {}
                }
            }
        }
        caution
    }
}
