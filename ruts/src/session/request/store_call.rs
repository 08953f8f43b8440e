//! [`StoreCall`]: a store call that can be tried again with other credentials.
//!
//! Run by `exchange` and `orphan`. Each implementation is one method of the store contract.

use bytes::Bytes;

use crate::store::{
    Credentials, DynStore, Loaded, Projection, Refused, StoreFuture, TakeField, Touch, Update,
    Updated, Written,
};

/// A store call that gets its credentials as an argument, so that it can be tried with more than
/// one secret.
pub(super) trait StoreCall: Sync {
    type Answer: Send;
    /// Type that the store returns.
    type Output: Send;

    fn run<'a>(
        &'a self,
        store: &'a dyn DynStore,
        credentials: Credentials<'a>,
    ) -> StoreFuture<'a, Result<Self::Output, Refused>>;

    /// Returns whether a job may run this operation. A job has no client that could receive a
    /// token.
    fn is_for_jobs(&self) -> bool;

    /// Returns the answer, and how long a cache may be stale.
    fn written(output: Self::Output) -> Written<Self::Answer>;

    /// Returns whether a deletion that the store reports was made by this request. `is_pending`
    /// means that a deletion by this request has an unknown outcome.
    fn deleted_by_us(&self, is_pending: bool) -> bool {
        is_pending
    }
}

pub(super) struct Load<'a> {
    pub(super) fields: Projection<'a>,
    pub(super) touch: Option<Touch>,
}

impl StoreCall for Load<'_> {
    type Answer = Loaded;
    type Output = Loaded;

    fn run<'a>(
        &'a self,
        store: &'a dyn DynStore,
        credentials: Credentials<'a>,
    ) -> StoreFuture<'a, Result<Loaded, Refused>> {
        store.load(credentials, self.fields, self.touch)
    }

    fn is_for_jobs(&self) -> bool {
        true
    }

    fn written(loaded: Loaded) -> Written<Loaded> {
        Written::new(loaded)
    }
}

impl StoreCall for Update<'_> {
    type Answer = Updated;
    type Output = Written<Updated>;

    fn run<'a>(
        &'a self,
        store: &'a dyn DynStore,
        credentials: Credentials<'a>,
    ) -> StoreFuture<'a, Result<Written<Updated>, Refused>> {
        store.update(credentials, *self)
    }

    fn is_for_jobs(&self) -> bool {
        !self.needs_current_secret()
    }

    fn written(written: Self::Output) -> Written<Updated> {
        written
    }
}

impl StoreCall for TakeField<'_> {
    type Answer = Option<Bytes>;
    type Output = Written<Option<Bytes>>;

    fn run<'a>(
        &'a self,
        store: &'a dyn DynStore,
        credentials: Credentials<'a>,
    ) -> StoreFuture<'a, Result<Written<Option<Bytes>>, Refused>> {
        store.take(credentials, *self)
    }

    fn is_for_jobs(&self) -> bool {
        !self.needs_current_secret()
    }

    fn written(written: Self::Output) -> Written<Option<Bytes>> {
        written
    }
}

pub(super) struct Delete {
    /// Whether an earlier attempt of this request may have succeeded.
    pub(super) tried_before: bool,
}

impl StoreCall for Delete {
    type Answer = ();
    type Output = Written<()>;

    fn run<'a>(
        &'a self,
        store: &'a dyn DynStore,
        credentials: Credentials<'a>,
    ) -> StoreFuture<'a, Result<Written<()>, Refused>> {
        store.delete(credentials)
    }

    /// Returns false: a deletion counts as the user's own sign-out. A job revokes the session
    /// instead.
    fn is_for_jobs(&self) -> bool {
        false
    }

    fn written(written: Self::Output) -> Written<()> {
        written
    }

    fn deleted_by_us(&self, _: bool) -> bool {
        self.tried_before
    }
}
