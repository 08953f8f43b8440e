//! fred: `Client` and `Pool`.

use std::{future::ready, pin::pin, time::Duration};

use ::fred::{
    clients::{Client, Pool},
    error::{Error, ErrorKind},
    interfaces::ClientLike,
    types::{
        ClusterHash, CustomCommand, Value,
        config::{Config, Options},
    },
};
use bytes::Bytes;
use tokio::{sync::watch, task::AbortHandle};

use super::{
    super::{
        error::{CommandError, MalformedReply, Source},
        wire::reply::Reply,
    },
    client::{Connect, Connection, Connector, ScriptName},
};

impl Connect for Client {
    type Connector = FredConnector;

    fn connectors(&self) -> Vec<FredConnector> {
        vec![FredConnector(self.clone())]
    }
}

impl Connect for Pool {
    type Connector = FredConnector;

    fn connectors(&self) -> Vec<FredConnector> {
        self.clients().iter().cloned().map(FredConnector).collect()
    }
}

/// Opens connections with the settings of a client.
///
/// The client itself stays unused. A client with a reconnect policy decides alone when to give up a
/// connection, and the task of one without a policy ends with its first connection.
pub struct FredConnector(Client);

impl Connector for FredConnector {
    type Connection = FredConnection;

    async fn connect(&self) -> Result<FredConnection, Source> {
        let config = Config { fail_fast: true, ..self.0.client_config() };
        let connection = self.0.connection_config().clone();
        let client = Client::new(config, Some(self.0.perf_config()), Some(connection), None);
        let observer = client.clone();
        let mut connected = pin!(observer.wait_for_connect());
        // It notices the outcome from its first poll on.
        tokio::select! {
            biased;
            _ = &mut connected => {}
            () = ready(()) => {}
        }
        let mut task = client.connect();
        // From here on, dropping this future ends the task.
        let (alive, ended) = watch::channel(());
        let connection = FredConnection { client, task: task.abort_handle(), ended };
        tokio::select! {
            biased;
            connected = &mut connected => connected?,
            ended = &mut task => {
                ended??;
                return Err(Closed.into());
            }
        }
        tokio::spawn(async move {
            let _ = task.await;
            drop(alive);
        });
        Ok(connection)
    }
}

/// A client without a reconnect policy. The task that drives it ends with its connection.
pub struct FredConnection {
    client: Client,
    task: AbortHandle,
    /// Its sender is gone once the task has ended.
    ended: watch::Receiver<()>,
}

impl Drop for FredConnection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Connection for FredConnection {
    fn is_closed(&self) -> bool {
        self.ended.has_changed().is_err()
    }

    async fn call(
        &self,
        script: ScriptName,
        keys: &[Bytes],
        arguments: &[Bytes],
        timeout: Duration,
    ) -> Result<Reply, CommandError> {
        // By default fred waits for a reconnection and sends again, without a time limit. The
        // attempts are for redirections only: with fewer of them, a redirection ends the client's
        // task.
        let client = self.client.with_options(&Options {
            max_attempts: Some(3),
            max_redirections: Some(1),
            timeout: Some(timeout),
            fail_fast: true,
            cluster_hash: Some(ClusterHash::Offset(2)),
            ..Options::default()
        });
        // fred's own `eval` ignores the options.
        let (name, text) = script.command();
        let command = CustomCommand::new_static(name, ClusterHash::Offset(2), false);
        // All as bytes: fred checks that text is UTF-8, and takes a logarithm to write a number.
        let count = match keys.len() {
            1 => Bytes::from_static(b"1"),
            count => count.to_string().into(),
        };
        let arguments = [Bytes::from_static(text.as_bytes()), count]
            .into_iter()
            .chain(keys.iter().cloned())
            .chain(arguments.iter().cloned())
            .map(Value::Bytes)
            .collect();
        let mut ended = self.ended.clone();
        tokio::select! {
            biased;
            answer = client.custom(command, arguments) => {
                answer.map_err(command_error).and_then(reply)
            }
            // A command that comes after the end of the task has no answer.
            _ = ended.changed() => Err(CommandError::OutcomeUnknown(Closed.into())),
        }
    }
}

/// The connection has closed.
#[derive(Debug, thiserror::Error)]
#[error("the connection was closed")]
struct Closed;

fn reply(value: Value) -> Result<Reply, CommandError> {
    Ok(match value {
        Value::Null => Reply::Nil,
        Value::Integer(number) => Reply::Int(number),
        Value::Bytes(bytes) => Reply::Bytes(bytes),
        Value::String(text) => Reply::Bytes(text.into_inner()),
        Value::Array(items) => {
            Reply::Array(items.into_iter().map(reply).collect::<Result<_, _>>()?)
        }
        _ => return Err(CommandError::OutcomeUnknown(Box::new(MalformedReply))),
    })
}

const TOO_MANY_REDIRECTIONS: &str = "Too many redirections.";

/// Sorts an error. fred tells an error of the server from one of its own by the text alone: the
/// text of a server begins with a code in capitals.
fn command_error(error: Error) -> CommandError {
    use ErrorKind::{Backpressure, Canceled, IO, Parse, Protocol, Routing, Timeout};
    let code: String =
        error.details().chars().take_while(|char| char.is_ascii_uppercase()).collect();
    match error.kind() {
        Backpressure => CommandError::NotSent(Box::new(error)),
        Routing if error.details() == TOO_MANY_REDIRECTIONS => {
            CommandError::Server("MOVED".to_owned(), Box::new(error))
        }
        IO | Timeout | Canceled | Parse | Protocol | Routing => {
            CommandError::OutcomeUnknown(Box::new(error))
        }
        _ if code.len() > 1 => CommandError::Server(code, Box::new(error)),
        _ => CommandError::OutcomeUnknown(Box::new(error)),
    }
}
