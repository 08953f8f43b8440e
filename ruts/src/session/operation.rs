use bytes::Bytes;

use crate::store::{
    Credentials, DynStore, Loaded, Lookup, Projection, StoreFuture, TakeField, Touch, Update,
    Updated,
};

/// A store operation that needs credentials, so that it can be tried with more than one secret.
pub(super) trait Operation: Sync {
    type Answer: Send;

    fn run<'a>(
        &'a self,
        store: &'a dyn DynStore,
        credentials: Credentials<'a>,
    ) -> StoreFuture<'a, Lookup<Self::Answer>>;

    /// Whether a deletion that the store tells of was this request's own, given whether one of its
    /// own is pending_rotation.
    fn ended_is_ours(&self, pending_rotation: bool) -> bool {
        pending_rotation
    }
}

pub(super) struct Load<'a> {
    pub(super) fields: Projection<'a>,
    pub(super) touch: Option<Touch>,
}

impl Operation for Load<'_> {
    type Answer = Loaded;

    fn run<'a>(
        &'a self,
        store: &'a dyn DynStore,
        credentials: Credentials<'a>,
    ) -> StoreFuture<'a, Lookup<Loaded>> {
        store.load(credentials, self.fields, self.touch)
    }
}

impl Operation for Update<'_> {
    type Answer = Updated;

    fn run<'a>(
        &'a self,
        store: &'a dyn DynStore,
        credentials: Credentials<'a>,
    ) -> StoreFuture<'a, Lookup<Updated>> {
        store.update(credentials, *self)
    }
}

impl Operation for TakeField<'_> {
    type Answer = Option<Bytes>;

    fn run<'a>(
        &'a self,
        store: &'a dyn DynStore,
        credentials: Credentials<'a>,
    ) -> StoreFuture<'a, Lookup<Option<Bytes>>> {
        store.take(credentials, *self)
    }
}

pub(super) struct Delete {
    /// An fallback_secret attempt may have succeeded unnoticed.
    pub(super) tried_before: bool,
}

impl Operation for Delete {
    type Answer = ();

    fn run<'a>(
        &'a self,
        store: &'a dyn DynStore,
        credentials: Credentials<'a>,
    ) -> StoreFuture<'a, Lookup<()>> {
        store.delete(credentials)
    }

    fn ended_is_ours(&self, _: bool) -> bool {
        self.tried_before
    }
}
