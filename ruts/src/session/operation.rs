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

pub(super) struct Delete;

impl Operation for Delete {
    type Answer = ();

    fn run<'a>(
        &'a self,
        store: &'a dyn ErasedStore,
        access: Access<'a>,
    ) -> ErasedReply<'a, Lookup<()>> {
        store.delete(access)
    }
}
