//! [`CachePolicy`]: whether and for how long a cache may serve a field.
//!
//! Set in a field spec, stored by every store, applied by `LayeredStore`. Plain data.

use std::time::Duration;

use crate::ttl::Ttl;

/// How the cache of a layered store may serve a field.
///
/// A store without a cache keeps the policy with the value, but does not apply it. With any store,
/// a `NoStore` or `Revalidate` field is not fetched with the eager fields of its schema.
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

impl CachePolicy {
    /// Returns the number that stands for the policy in a store. A maximum age is positive, in
    /// milliseconds.
    pub(crate) const fn to_number(self) -> i64 {
        match self {
            Self::Default => 0,
            Self::NoStore => -1,
            Self::Revalidate => -2,
            // The cast loses nothing, because a TTL is at most 100 years.
            Self::MaxAge(ttl) => ttl.as_millis() as i64,
        }
    }

    /// Returns the policy of a number, or `None` if the number stands for no policy.
    pub(crate) fn from_number(number: i64) -> Option<Self> {
        match number {
            0 => Some(Self::Default),
            -1 => Some(Self::NoStore),
            -2 => Some(Self::Revalidate),
            _ => {
                let max_age = Duration::from_millis(u64::try_from(number).ok()?);
                Ttl::new(max_age).ok().map(Self::MaxAge)
            }
        }
    }
}
