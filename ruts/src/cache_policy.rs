//! [`CachePolicy`]: whether and for how long a cache may serve a field.
//!
//! Set in a field spec, stored by every store, applied by `LayeredStore`. Plain data.

use crate::ttl::Ttl;

/// How the cache of a layered store may serve a field.
///
/// A store without a cache keeps the policy with the value, but does not apply it. With any store, a
/// `NoStore` or `Revalidate` field is not fetched with the eager fields of its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum CachePolicy {
    /// Served for as long as the store allows, within the lifetime of the field.
    #[default]
    Default,
    /// Served for at most this long.
    MaxAge(Ttl),
    /// Never kept in the cache: every read goes to the origin.
    NoStore,
    /// Served only after the origin has confirmed the value.
    Revalidate,
}
