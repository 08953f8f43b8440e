//! The interface to a client library: [`ScriptClient`].
//!
//! Implemented by the drivers, used by `eval`.

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;

use super::super::{error::CommandError, wire::reply::Reply};

/// A client for a [`RedisStore`](crate::store::redis::RedisStore). Implemented for the clients that
/// the [module](crate::store::redis) names.
pub trait RedisClient: Connect {}

impl<C: Connect> RedisClient for C {}

/// A client that can become a [`ScriptClient`].
pub trait Connect: Send + Sync + 'static {
    /// The client as the store uses it.
    type Scripts: ScriptClient;

    /// Prepares the client. Waits for nothing.
    fn scripts(self: Arc<Self>) -> Self::Scripts;
}

/// A client that runs scripts.
pub trait ScriptClient: Send + Sync + 'static {
    /// Runs a script on the server that keeps the first of `keys`, at most once, within `timeout`.
    fn call(
        &self,
        script: ScriptName,
        keys: &[Bytes],
        arguments: &[Bytes],
        timeout: Duration,
    ) -> impl Future<Output = Result<Reply, CommandError>> + Send;
}

/// The script of a command.
#[derive(Debug, Clone, Copy)]
pub enum ScriptName {
    /// The SHA-1 of its text, in hexadecimal.
    Sha1(&'static str),
    /// The text itself.
    Text(&'static str),
}

impl ScriptName {
    /// Returns the command and its first argument.
    pub(super) const fn command(self) -> (&'static str, &'static str) {
        match self {
            Self::Sha1(sha1) => ("EVALSHA", sha1),
            Self::Text(text) => ("EVAL", text),
        }
    }
}
