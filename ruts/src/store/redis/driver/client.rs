//! The interface to a client library: [`Connector`] and [`Connection`].
//!
//! Implemented by the drivers. [`Connections`](super::connections::Connections) makes a
//! [`CommandClient`] of them. `eval` and the executor call this `CommandClient`. Knows nothing
//! about sessions.

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

/// A client that provides the settings of the store's connections.
pub trait Connect: Send + Sync + 'static {
    type Connector: Connector;

    /// Returns a connector for each connection that the settings ask for. Does no I/O.
    fn connectors(&self) -> Vec<Self::Connector>;
}

/// Opens connections.
pub trait Connector: Send + Sync + 'static {
    type Connection: Connection;

    /// Opens a connection that is independent of all other connections. Dropping the future leaves
    /// no connection or task behind.
    fn connect(&self) -> impl Future<Output = Result<Self::Connection, Source>> + Send;
}

/// A connection to a server, or to all nodes of a cluster. Dropping this value closes the
/// connection.
pub trait Connection: Send + Sync + 'static {
    /// Returns whether the connection is known to be closed.
    fn is_closed(&self) -> bool;

    /// Sends a call at most once. The caller stops waiting after `timeout`.
    fn call(
        &self,
        call: Call<'_>,
        timeout: Duration,
    ) -> impl Future<Output = Result<Reply, CommandError>> + Send;
}

/// A client that runs scripts and commands.
pub(in crate::store::redis) trait CommandClient:
    Send + Sync + 'static
{
    /// Sends a call at most once, and waits for its reply for at most `timeout`.
    fn call(
        &self,
        call: Call<'_>,
        timeout: Duration,
    ) -> impl Future<Output = Result<Reply, CommandError>> + Send;
}

/// A message to a server, with one reply.
#[derive(Clone, Copy)]
pub enum Call<'a> {
    /// A script, for the server that keeps the first of its keys.
    Script {
        /// The name of the script in a command.
        name: ScriptName,
        /// The keys of the script.
        keys: &'a [Bytes],
        /// Its arguments.
        arguments: &'a [Bytes],
    },
    /// Pipelined commands for the server that keeps `key`. Together they are not atomic. The reply
    /// is a list of their replies. If one command fails, the call fails with its error.
    Commands {
        /// A key with the hash tag of all commands.
        key: &'a Bytes,
        /// The pipelined commands.
        commands: &'a [Command; 3],
    },
}

impl Call<'_> {
    /// Returns the key whose server gets the call.
    pub(super) fn key(&self) -> Option<&Bytes> {
        match self {
            Self::Script { keys, .. } => keys.first(),
            Self::Commands { key, .. } => Some(key),
        }
    }
}

/// A command that is not a script.
pub struct Command {
    /// Name of the command.
    pub name: &'static str,
    /// Its arguments.
    pub arguments: Vec<Bytes>,
}

/// The way in which a command names its script.
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
