//! [`DynStore`]: a [`Store`] as a trait object.
//!
//! Created by the layer and called by the session, so that `Session` has no store type parameter.
//! Each call except `wait_for_change` and `hint_cache_policy` gets a tracing span and a timing
//! metric. Answers are passed on unchanged.

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
    contract::Store,
    error::StoreError,
    request::{
        Change, Create, Credentials, PageRequest, Projection, RevokeTarget, TakeField, Touch,
        Update,
    },
    response::{Expiry, Loaded, Refused, SessionMeta, SessionPage, Updated, Written},
};
use crate::{auth::PrincipalKey, cache_policy::CachePolicy, event, token::SessionId};

/// Future of a store's answer.
pub(crate) type StoreFuture<'a, T> =
    Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Type of a store, to compare with the type that a handler names.
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

/// A [`Store`] as a trait object. Its methods are the methods of the contract that a session needs.
pub(crate) trait DynStore: Send + Sync {
    fn store_type(&self) -> StoreType;
    fn hint_cache_policy(&self, name: &str, cache_policy: CachePolicy);
    fn load<'a>(
        &'a self,
        credentials: Credentials<'a>,
        fields: Projection<'a>,
        touch: Option<Touch>,
    ) -> StoreFuture<'a, Result<Loaded, Refused>>;
    fn create<'a>(&'a self, create: Create<'a>) -> StoreFuture<'a, Written<()>>;
    fn update<'a>(
        &'a self,
        credentials: Credentials<'a>,
        update: Update<'a>,
    ) -> StoreFuture<'a, Result<Written<Updated>, Refused>>;
    fn take<'a>(
        &'a self,
        credentials: Credentials<'a>,
        take: TakeField<'a>,
    ) -> StoreFuture<'a, Result<Written<Option<Bytes>>, Refused>>;
    fn delete<'a>(
        &'a self,
        credentials: Credentials<'a>,
    ) -> StoreFuture<'a, Result<Written<()>, Refused>>;
    fn inspect<'a>(&'a self, id: &'a SessionId) -> StoreFuture<'a, Option<SessionMeta>>;
    fn expiry<'a>(&'a self, id: &'a SessionId) -> StoreFuture<'a, Option<Expiry>>;
    fn wait_for_change(&self, id: &SessionId) -> Pin<Box<dyn Future<Output = ()> + Send>>;
    fn list_by_principal<'a>(
        &'a self,
        principal: &'a PrincipalKey,
        page: PageRequest<'a>,
        fields: Projection<'a>,
    ) -> StoreFuture<'a, SessionPage>;
    fn revoke<'a>(
        &'a self,
        principal: &'a PrincipalKey,
        target: RevokeTarget<'a>,
    ) -> StoreFuture<'a, Written<Vec<SessionId>>>;
    fn revoke_everyone(&self) -> StoreFuture<'_, Written<()>>;
}

impl<S: Store> DynStore for S {
    fn store_type(&self) -> StoreType {
        StoreType::of::<S>()
    }

    fn hint_cache_policy(&self, name: &str, cache_policy: CachePolicy) {
        Store::hint_cache_policy(self, name, cache_policy);
    }

    fn load<'a>(
        &'a self,
        credentials: Credentials<'a>,
        fields: Projection<'a>,
        touch: Option<Touch>,
    ) -> StoreFuture<'a, Result<Loaded, Refused>> {
        let span = span(self, "load", &fields);
        Box::pin(
            measured(self, "load", Store::load(self, credentials, fields, touch)).instrument(span),
        )
    }

    fn create<'a>(&'a self, create: Create<'a>) -> StoreFuture<'a, Written<()>> {
        let names = Names(create.fields.iter().map(|field| field.name));
        let span = span(self, "create", &names);
        Box::pin(measured(self, "create", Store::create(self, create)).instrument(span))
    }

    fn update<'a>(
        &'a self,
        credentials: Credentials<'a>,
        update: Update<'a>,
    ) -> StoreFuture<'a, Result<Written<Updated>, Refused>> {
        let names = Names(update.changes.iter().map(Change::name));
        let span = span(self, "update", &names);
        Box::pin(
            measured(self, "update", Store::update(self, credentials, update)).instrument(span),
        )
    }

    fn take<'a>(
        &'a self,
        credentials: Credentials<'a>,
        take: TakeField<'a>,
    ) -> StoreFuture<'a, Result<Written<Option<Bytes>>, Refused>> {
        let span = span(self, "take", &take.name);
        Box::pin(measured(self, "take", Store::take(self, credentials, take)).instrument(span))
    }

    fn delete<'a>(
        &'a self,
        credentials: Credentials<'a>,
    ) -> StoreFuture<'a, Result<Written<()>, Refused>> {
        let span = span(self, "delete", &"");
        Box::pin(measured(self, "delete", Store::delete(self, credentials)).instrument(span))
    }

    fn inspect<'a>(&'a self, id: &'a SessionId) -> StoreFuture<'a, Option<SessionMeta>> {
        let span = span(self, "inspect", &"");
        Box::pin(measured(self, "inspect", Store::inspect(self, id)).instrument(span))
    }

    fn expiry<'a>(&'a self, id: &'a SessionId) -> StoreFuture<'a, Option<Expiry>> {
        let span = span(self, "expiry", &"");
        Box::pin(measured(self, "expiry", Store::expiry(self, id)).instrument(span))
    }

    fn wait_for_change(&self, id: &SessionId) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(Store::wait_for_change(self, id))
    }

    fn list_by_principal<'a>(
        &'a self,
        principal: &'a PrincipalKey,
        page: PageRequest<'a>,
        fields: Projection<'a>,
    ) -> StoreFuture<'a, SessionPage> {
        let span = span(self, "list_by_principal", &fields);
        Box::pin(
            measured(
                self,
                "list_by_principal",
                Store::list_by_principal(self, principal, page, fields),
            )
            .instrument(span),
        )
    }

    fn revoke<'a>(
        &'a self,
        principal: &'a PrincipalKey,
        target: RevokeTarget<'a>,
    ) -> StoreFuture<'a, Written<Vec<SessionId>>> {
        let span = span(self, "revoke", &"");
        Box::pin(measured(self, "revoke", Store::revoke(self, principal, target)).instrument(span))
    }

    fn revoke_everyone(&self) -> StoreFuture<'_, Written<()>> {
        let span = span(self, "revoke_everyone", &"");
        Box::pin(measured(self, "revoke_everyone", Store::revoke_everyone(self)).instrument(span))
    }
}

pin_project! {
    /// A timed call. It is not an async function, because the future of an async function would
    /// hold `call` twice: as the argument, and as the awaited future.
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

/// Names of fields, formatted as a list only if a subscriber records them.
struct Names<I>(I);

impl<'a, I: Iterator<Item = &'a str> + Clone> fmt::Debug for Names<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.clone()).finish()
    }
}
