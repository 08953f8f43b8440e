//! [`ReadFuture`], [`WriteFuture`], [`LoadFuture`]: the named futures that accessors return.
//!
//! Made by `entry`, `edit`, `sign_in` and `handle`. They decode values, and know nothing about
//! stores.

use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
};

use super::{
    config::Unreadable,
    map::SessionMap,
    value,
    values::{Values, ValuesDecoder},
};
use crate::{
    crypto::field_cipher::Plaintext,
    error::Error,
    field::{Field, Readable},
};

/// A renewal of the secret, or of the deadlines, before the response is sent.
pub(crate) type Renewal = Pin<Box<dyn Future<Output = ()> + Send>>;

pub(super) type Boxed<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// A write. Nothing happens until it is awaited.
///
/// # Cancel safety
///
/// If the future is dropped before it is ready, the write takes place as a whole or not at all.
#[must_use = "nothing is written until this is awaited"]
pub struct WriteFuture<'a, T = ()>(Boxed<'a, T>);

impl<'a, T> WriteFuture<'a, T> {
    pub(super) fn new(write: impl Future<Output = Result<T, Error>> + Send + 'a) -> Self {
        Self(Box::pin(write))
    }
}

impl<T> Future for WriteFuture<'_, T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

/// A read of one field.
///
/// # Cancel safety
///
/// Dropping the future is harmless. The future blocks the other operations of its request if it was
/// polled once, and is then neither polled nor dropped.
#[must_use = "nothing is read until this is awaited"]
pub struct ReadFuture<'a, T, M> {
    stored: Boxed<'a, Option<Plaintext>>,
    field: Field<T, M>,
    unreadable: Unreadable,
}

impl<'a, T, M> ReadFuture<'a, T, M> {
    pub(super) fn new(
        field: Field<T, M>,
        stored: Boxed<'a, Option<Plaintext>>,
        unreadable: Unreadable,
    ) -> Self {
        Self { stored, field, unreadable }
    }
}

impl<T, M: Readable<T>> Future for ReadFuture<'_, T, M> {
    type Output = Result<M::Value, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let stored = ready!(self.stored.as_mut().poll(cx))?;
        let value = value::decode(self.field, stored.as_ref(), self.unreadable)?;
        Poll::Ready(Ok(self.field.mode().value(value)))
    }
}

/// A read of all fields of a schema.
///
/// # Cancel safety
///
/// The same as for [`ReadFuture`].
#[must_use = "nothing is read until this is awaited"]
pub struct LoadFuture<'a, V> {
    fields: Boxed<'a, SessionMap>,
    values: PhantomData<fn() -> V>,
}

impl<'a, V> LoadFuture<'a, V> {
    pub(super) fn new(fields: Boxed<'a, SessionMap>) -> Self {
        Self { fields, values: PhantomData }
    }
}

impl<V: Values> Future for LoadFuture<'_, V> {
    type Output = Result<V, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let fields = ready!(self.fields.as_mut().poll(cx))?;
        Poll::Ready(ValuesDecoder::decode(&fields))
    }
}

impl<T> fmt::Debug for WriteFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WriteFuture")
    }
}

impl<T, M> fmt::Debug for ReadFuture<'_, T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReadFuture({:?})", self.field)
    }
}

impl<V> fmt::Debug for LoadFuture<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LoadFuture")
    }
}
