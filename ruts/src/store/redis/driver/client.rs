//! The interface to a client library: [`Connector`] and [`Connection`].
//!
//! Implemented by the drivers. [`Connections`](super::connections::Connections) makes a
//! [`ScriptClient`] of them, which `eval` uses.

use std::{future::Future, time::Duration};

use bytes::Bytes;

use super::super::{
    error::{CommandError, Source},
    wire::reply::Reply,
};

/// A client for a [`RedisStore`](crate::store::redis::RedisStore). Implemented for the clients that
/// the [module](crate::store::redis) names.
pub trait RedisClient: Connect {}

impl<C: Connect> RedisClient for C {}

/// A client whose settings the store connects with.
pub trait Connect: Send + Sync + 'static {
    type Connector: Connector;

    /// Returns a connector for each connection that the client asks for. Waits for nothing.
    fn connectors(&self) -> Vec<Self::Connector>;
}

/// Opens connections.
pub trait Connector: Send + Sync + 'static {
    type Connection: Connection;

    /// Opens a connection, independent of all others. Dropping the future leaves nothing behind.
    fn connect(&self) -> impl Future<Output = Result<Self::Connection, Source>> + Send;
}

/// A connection to a server, or to all nodes of a cluster. Dropping it closes it.
pub trait Connection: Send + Sync + 'static {
    /// Whether it is known to be closed for good.
    fn is_closed(&self) -> bool;

    /// Runs a script on the server that keeps the first of `keys`, at most once. The caller stops
    /// waiting after `timeout`.
    fn call(
        &self,
        script: ScriptName,
        keys: &[Bytes],
        arguments: &[Bytes],
        timeout: Duration,
    ) -> impl Future<Output = Result<Reply, CommandError>> + Send;
}

/// A client that runs scripts.
pub(in crate::store::redis) trait ScriptClient:
    Send + Sync + 'static
{
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
