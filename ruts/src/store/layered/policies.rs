use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

use crate::{store::Projection, ttl::CachePolicy};

/// How many names are remembered. Schemas have a few; names that are made up as one goes are not worth it.
const ROOM: usize = 1024;

/// The fields that were seen to be no matter of the cache alone.
///
/// What the cache or the store of record says of a field that is there is right without this. It saves
/// round trips, and tells of fields that are not there.
#[derive(Default)]
pub(super) struct Policies(RwLock<HashMap<Box<str>, CachePolicy>>);

/// What is known of the fields that a read asks for.
#[derive(Default)]
pub(super) struct Caution {
    /// One of them is not in the cache.
    pub(super) never: bool,
    /// These have to be confirmed, also that they are not there.
    pub(super) checked: Vec<String>,
}

impl Policies {
    /// Remembers the policy of a field. What was once declared so stays so, whatever is stored.
    pub(super) fn learn(&self, name: &str, hot: CachePolicy) {
        if !matches!(hot, CachePolicy::Never | CachePolicy::Checked) {
            return;
        }
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).copied();
        if known == Some(hot) {
            return;
        }
        let mut policies = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if policies.len() < ROOM || known.is_some() {
            policies.insert(name.into(), hot);
        }
    }

    pub(super) fn of(&self, fields: Projection<'_>) -> Caution {
        let policies = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut caution = Caution::default();
        if policies.is_empty() {
            return caution;
        }
        let mut heed = |name: &str, hot: CachePolicy| match hot {
            CachePolicy::Never => caution.never = true,
            _ => caution.checked.push(name.to_owned()),
        };
        match fields {
            Projection::Named(names) => names
                .iter()
                .filter_map(|name| policies.get_key_value(*name))
                .for_each(|(name, hot)| heed(name, *hot)),
            // An entry that is complete holds no session with a field that is never there.
            Projection::All => policies
                .iter()
                .filter(|(_, hot)| **hot == CachePolicy::Checked)
                .for_each(|(name, hot)| heed(name, *hot)),
        }
        caution
    }
}
