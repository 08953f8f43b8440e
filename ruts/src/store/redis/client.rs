use std::{error::Error, future::Future, sync::Arc, time::Duration};

use bytes::Bytes;

/// A client of a library that a [`RedisStore`](super::RedisStore) can work with. Implemented for those
/// that the [module](super) names.
pub trait RedisClient: Connect {}

impl<C: Connect> RedisClient for C {}

/// What a client becomes in the hands of a store.
pub trait Connect: Send + Sync + 'static {
    /// What the store calls.
    type Link: Call;

    /// Takes it in hand. Does not wait for anything.
    fn link(self: Arc<Self>) -> Self::Link;
}

/// All that a store asks of a client.
pub trait Call: Send + Sync + 'static {
    /// Runs a script on the server that keeps the first of `keys`, at most once, and waits no longer than
    /// `timeout` for it.
    fn call(
        &self,
        script: Text,
        keys: &[Bytes],
        arguments: &[Bytes],
        timeout: Duration,
    ) -> impl Future<Output = Result<Reply, Failure>> + Send;
}

/// How a script is named.
#[derive(Debug, Clone, Copy)]
pub enum Text {
    /// By the SHA-1 of its text, in hexadecimal.
    Hash(&'static str),
    /// By the text itself.
    Whole(&'static str),
}

impl Text {
    pub(super) const fn command(self) -> (&'static str, &'static str) {
        match self {
            Self::Hash(hash) => ("EVALSHA", hash),
            Self::Whole(text) => ("EVAL", text),
        }
    }
}

/// What a script answers with.
pub enum Reply {
    /// Nothing.
    Nil,
    /// A whole number.
    Int(i64),
    /// Bytes.
    Bytes(Bytes),
    /// Several of them.
    Array(Vec<Self>),
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Failure {
    /// The server answered with an error of this code.
    Refused(String, Source),
    /// The command was never sent.
    Unsent(Source),
    /// The command was sent, or may have been, and no answer came.
    Lost(Source),
}

/// What the client library said.
pub(super) type Source = Box<dyn Error + Send + Sync>;

/// The answer took longer than the store waits.
#[derive(Debug, thiserror::Error)]
#[error("no answer in time")]
pub(super) struct NoAnswer;
