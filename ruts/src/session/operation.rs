use bytes::Bytes;

use crate::store::{
    Access, ErasedReply, ErasedStore, Fields, Loaded, Lookup, Take, Touch, Update, Updated,
};

/// A store operation that needs access, so that it can be tried with more than one secret.
pub(super) trait Operation: Sync {
    type Answer: Send;

    fn run<'a>(
        &'a self,
        store: &'a dyn ErasedStore,
        access: Access<'a>,
    ) -> ErasedReply<'a, Lookup<Self::Answer>>;

    /// Whether a deletion that the store tells of was this request's own, given whether one of its
    /// own is unsettled.
    fn ended_is_ours(&self, unsettled: bool) -> bool {
        unsettled
    }
}

pub(super) struct Load<'a> {
    pub(super) fields: Fields<'a>,
    pub(super) touch: Option<Touch>,
}

impl Operation for Load<'_> {
    type Answer = Loaded;

    fn run<'a>(
        &'a self,
        store: &'a dyn ErasedStore,
        access: Access<'a>,
    ) -> ErasedReply<'a, Lookup<Loaded>> {
        store.load(access, self.fields, self.touch)
    }
}

impl Operation for Update<'_> {
    type Answer = Updated;

    fn run<'a>(
        &'a self,
        store: &'a dyn ErasedStore,
        access: Access<'a>,
    ) -> ErasedReply<'a, Lookup<Updated>> {
        store.update(access, *self)
    }
}

impl Operation for Take<'_> {
    type Answer = Option<Bytes>;

    fn run<'a>(
        &'a self,
        store: &'a dyn ErasedStore,
        access: Access<'a>,
    ) -> ErasedReply<'a, Lookup<Option<Bytes>>> {
        store.take(access, *self)
    }
}

pub(super) struct Delete {
    /// An earlier attempt may have succeeded unnoticed.
    pub(super) tried_before: bool,
}

impl Operation for Delete {
    type Answer = ();

    fn run<'a>(
        &'a self,
        store: &'a dyn ErasedStore,
        access: Access<'a>,
    ) -> ErasedReply<'a, Lookup<()>> {
        store.delete(access)
    }

    fn ended_is_ours(&self, _: bool) -> bool {
        self.tried_before
    }
}
