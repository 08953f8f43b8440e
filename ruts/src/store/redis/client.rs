use std::{error::Error, future::Future, time::Duration};

use bytes::Bytes;

/// A connection, or several, of a client library that a [`RedisStore`](super::RedisStore) can work
/// with. Implemented for those that the [module](super) names.
pub trait RedisClient: Call {}

impl<C: Call> RedisClient for C {}

/// All that a store asks of a client.
pub trait Call: Send + Sync + 'static {
    /// Runs a script on the server that keeps `key`, at most once, and waits no longer than `timeout`
    /// for it.
    fn call(
        &self,
        script: Text,
        key: Bytes,
        arguments: Vec<Bytes>,
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
    /// The server answered with an error of this code. Nothing was changed.
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
#[error("no answer within {0:?}")]
pub(super) struct NoAnswer(pub(super) Duration);
