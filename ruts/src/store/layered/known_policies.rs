//! The cache policies of fields, as this process has learned them: [`KnownPolicies`].
//!
//! A read consults this map before it has fetched any value. Reads and writes add to the map. The
//! map knows nothing about caches or sessions.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

use crate::{cache_policy::CachePolicy, store::Projection};

/// Maximum number of remembered names. Schemas have few fields. But an application can make field
/// names at run time, and these must not take unlimited memory.
const CAPACITY: usize = 1024;

/// The names and policies of the fields with the policy `NoStore` or `Revalidate`. A cache alone
/// must not answer a read of such a field.
///
/// A tier that has a field also has the policy of the field. For such a field, this map only saves
/// round trips. For an absent field, this map is the only source of the policy.
#[derive(Default)]
pub(super) struct KnownPolicies(RwLock<HashMap<Box<str>, CachePolicy>>);

/// Restrictions on a read, from the policies of its fields.
#[derive(Default)]
pub(super) struct Restrictions {
    /// A requested field has the policy `NoStore`, so the read bypasses the cache.
    pub(super) bypass: bool,
    /// Fields that the origin has to confirm, even if the cache holds them as absent.
    pub(super) revalidate: Vec<String>,
}

impl KnownPolicies {
    /// Remembers the policy of a field, if that policy restricts reads. The restriction stays, even
    /// if the field is later stored under a policy that does not restrict reads.
    pub(super) fn learn(&self, name: &str, policy: CachePolicy) {
        if !matches!(policy, CachePolicy::NoStore | CachePolicy::Revalidate) {
            return;
        }
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).copied();
        if known == Some(policy) {
            return;
        }
        let mut policies = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if policies.len() < CAPACITY || known.is_some() {
            policies.insert(name.into(), policy);
        }
    }

    /// Returns the restrictions on a read of these fields.
    pub(super) fn restrictions(&self, fields: Projection<'_>) -> Restrictions {
        let policies = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut restrictions = Restrictions::default();
        if policies.is_empty() {
            return restrictions;
        }
        let mut add = |name: &str, policy: CachePolicy| match policy {
            CachePolicy::NoStore => restrictions.bypass = true,
            _ => restrictions.revalidate.push(name.to_owned()),
        };
        match fields {
            Projection::Named(names) => names
                .iter()
                .filter_map(|name| policies.get_key_value(*name))
                .for_each(|(name, policy)| add(name, *policy)),
            // `NoStore` fields need no bypass here. If a session has such a field, its cache entry
            // is never complete, so a read of all fields misses.
            Projection::All => policies
                .iter()
                .filter(|(_, policy)| **policy == CachePolicy::Revalidate)
                .for_each(|(name, policy)| add(name, *policy)),
        }
        restrictions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_made_up_take_bounded_memory() {
        let known = KnownPolicies::default();
        known.learn("secret", CachePolicy::NoStore);
        for number in 0..2 * CAPACITY {
            known.learn(&number.to_string(), CachePolicy::Revalidate);
        }
        assert_eq!(known.restrictions(Projection::All).revalidate.len(), CAPACITY - 1);
        assert!(known.restrictions(Projection::Named(&["secret"])).bypass);
    }
}
