//! A field as a store keeps it: [`FieldRecord`].
//!
//! Used by the session record, and by the stores that keep the parts of a record in columns. Plain
//! data.

use std::{fmt, time::Duration};

use bytes::Bytes;

use crate::{cache_policy::CachePolicy, store::request::FieldWrite};

#[derive(Clone, PartialEq, Eq)]
pub(in crate::store) struct FieldRecord {
    pub(in crate::store) value: Bytes,
    pub(in crate::store) expires: Option<Duration>,
    pub(in crate::store) cache_policy: CachePolicy,
}

impl FieldRecord {
    /// Creates the field that is written at the moment `now`.
    pub(super) fn new(write: &FieldWrite<'_>, now: Duration) -> Self {
        Self {
            value: write.value.clone(),
            expires: write.ttl.map(|ttl| now.saturating_add(ttl.as_duration())),
            cache_policy: write.cache_policy,
        }
    }

    pub(super) fn is_live(&self, now: Duration) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }
}

/// Shows only the length of the value.
impl fmt::Debug for FieldRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FieldRecord")
            .field("bytes", &self.value.len())
            .field("expires", &self.expires)
            .field("cache_policy", &self.cache_policy)
            .finish()
    }
}
