use std::{
    any::TypeId,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::Bytes;
use pin_project_lite::pin_project;
use tracing::{Instrument, Span, debug_span};

use super::{
    Access, Change, Confirmed, Create, Fields, Listing, Loaded, Lookup, Meta, Page, Revoked, Store,
    StoreError, Take, Touch, Update, Updated, Whom,
};
use crate::{event, principal::PrincipalKey, token::Handle, ttl::Hot};

/// The answer of a store, to come.
pub(crate) type ErasedReply<'a, T> =
    Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Which type a store has, for handlers that name one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StoreType {
    pub(crate) id: TypeId,
    pub(crate) name: &'static str,
}

impl StoreType {
    pub(crate) fn of<S: 'static>() -> Self {
        Self { id: TypeId::of::<S>(), name: std::any::type_name::<S>() }
    }
}

/// [`Store`] as an object, each call in a span of its own.
pub(crate) trait ErasedStore: Send + Sync {
    fn store_type(&self) -> StoreType;
    fn declare(&self, name: &str, hot: Hot);
    fn load<'a>(
        &'a self,
        access: Access<'a>,
        fields: Fields<'a>,
        touch: Option<Touch>,
    ) -> ErasedReply<'a, Lookup<Loaded>>;
    fn create<'a>(&'a self, create: Create<'a>) -> ErasedReply<'a, ()>;
    fn update<'a>(
        &'a self,
        access: Access<'a>,
        update: Update<'a>,
    ) -> ErasedReply<'a, Lookup<Updated>>;
    fn take<'a>(
        &'a self,
        access: Access<'a>,
        take: Take<'a>,
    ) -> ErasedReply<'a, Lookup<Option<Bytes>>>;
    fn delete<'a>(&'a self, access: Access<'a>) -> ErasedReply<'a, Lookup<()>>;
    fn peek<'a>(&'a self, handle: &'a Handle) -> ErasedReply<'a, Option<Meta>>;
    fn changed(&self, handle: &Handle) -> Pin<Box<dyn Future<Output = ()> + Send>>;
    fn find<'a>(
        &'a self,
        principal: &'a PrincipalKey,
        page: Page<'a>,
        fields: Fields<'a>,
    ) -> ErasedReply<'a, Listing>;
    fn revoke<'a>(
        &'a self,
        principal: &'a PrincipalKey,
        whom: Whom<'a>,
    ) -> ErasedReply<'a, Revoked>;
    fn revoke_everyone(&self) -> ErasedReply<'_, Confirmed>;
}

impl<S: Store> ErasedStore for S {
    fn store_type(&self) -> StoreType {
        StoreType::of::<S>()
    }

    fn declare(&self, name: &str, hot: Hot) {
        Store::declare(self, name, hot);
    }

    fn load<'a>(
        &'a self,
        access: Access<'a>,
        fields: Fields<'a>,
        touch: Option<Touch>,
    ) -> ErasedReply<'a, Lookup<Loaded>> {
        let span = span(self, "load", &fields);
        Box::pin(measured(self, "load", Store::load(self, access, fields, touch)).instrument(span))
    }

    fn create<'a>(&'a self, create: Create<'a>) -> ErasedReply<'a, ()> {
        let names = Names(create.fields.iter().map(|field| field.name));
        let span = span(self, "create", &names);
        Box::pin(measured(self, "create", Store::create(self, create)).instrument(span))
    }

    fn update<'a>(
        &'a self,
        access: Access<'a>,
        update: Update<'a>,
    ) -> ErasedReply<'a, Lookup<Updated>> {
        let names = Names(update.changes.iter().map(Change::name));
        let span = span(self, "update", &names);
        Box::pin(measured(self, "update", Store::update(self, access, update)).instrument(span))
    }

    fn take<'a>(
        &'a self,
        access: Access<'a>,
        take: Take<'a>,
    ) -> ErasedReply<'a, Lookup<Option<Bytes>>> {
        let span = span(self, "take", &take.name);
        Box::pin(measured(self, "take", Store::take(self, access, take)).instrument(span))
    }

    fn delete<'a>(&'a self, access: Access<'a>) -> ErasedReply<'a, Lookup<()>> {
        let span = span(self, "delete", &"");
        Box::pin(measured(self, "delete", Store::delete(self, access)).instrument(span))
    }

    fn peek<'a>(&'a self, handle: &'a Handle) -> ErasedReply<'a, Option<Meta>> {
        let span = span(self, "peek", &"");
        Box::pin(measured(self, "peek", Store::peek(self, handle)).instrument(span))
    }

    fn changed(&self, handle: &Handle) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(Store::changed(self, handle))
    }

    fn find<'a>(
        &'a self,
        principal: &'a PrincipalKey,
        page: Page<'a>,
        fields: Fields<'a>,
    ) -> ErasedReply<'a, Listing> {
        let span = span(self, "find", &fields);
        Box::pin(
            measured(self, "find", Store::find(self, principal, page, fields)).instrument(span),
        )
    }

    fn revoke<'a>(
        &'a self,
        principal: &'a PrincipalKey,
        whom: Whom<'a>,
    ) -> ErasedReply<'a, Revoked> {
        let span = span(self, "revoke", &"");
        Box::pin(measured(self, "revoke", Store::revoke(self, principal, whom)).instrument(span))
    }

    fn revoke_everyone(&self) -> ErasedReply<'_, Confirmed> {
        let span = span(self, "revoke_everyone", &"");
        Box::pin(measured(self, "revoke_everyone", Store::revoke_everyone(self)).instrument(span))
    }
}

pin_project! {
    /// A call, timed. An async function would hold the call twice: as its argument, and while it waits.
    struct Measured<F> {
        store: &'static str,
        operation: &'static str,
        begun: Instant,
        #[pin]
        call: F,
    }
}

fn measured<F>(store: &impl Store, operation: &'static str, call: F) -> Measured<F> {
    Measured { store: store.name(), operation, begun: Instant::now(), call }
}

impl<T, F: Future<Output = Result<T, StoreError>>> Future for Measured<F> {
    type Output = Result<T, StoreError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.call.poll(cx));
        event::store_called(this.store, this.operation, this.begun.elapsed(), answer.is_ok());
        Poll::Ready(answer)
    }
}

fn span(store: &impl Store, operation: &'static str, fields: &dyn fmt::Debug) -> Span {
    debug_span!("session_store", store = store.name(), operation, ?fields)
}

/// Names of fields as a list, written only if somebody listens.
struct Names<I>(I);

impl<'a, I: Iterator<Item = &'a str> + Clone> fmt::Debug for Names<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.clone()).finish()
    }
}
