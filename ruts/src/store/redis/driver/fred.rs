//! fred: `Client` and `Pool`.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use ::fred::{
    clients::{Client, Pool},
    error::{Error, ErrorKind},
    interfaces::{ClientLike, EventInterface},
    types::{
        ClusterHash, CustomCommand, Value,
        config::{Options, Server},
    },
};
use bytes::Bytes;
use tokio::{
    sync::broadcast::{Receiver, error::TryRecvError},
    time::sleep,
};

use super::{
    super::{
        error::{CommandError, MalformedReply},
        wire::reply::Reply,
    },
    client::{Connect, ScriptClient, ScriptName},
};

impl Connect for Client {
    type Scripts = ConnectionPool;

    fn scripts(self: Arc<Self>) -> ConnectionPool {
        ConnectionPool::new([&*self])
    }
}

impl Connect for Pool {
    type Scripts = ConnectionPool;

    fn scripts(self: Arc<Self>) -> ConnectionPool {
        ConnectionPool::new(self.clients())
    }
}

/// The connections of a client or pool, used in turn.
pub struct ConnectionPool {
    connections: Vec<Arc<Connection>>,
    next: AtomicUsize,
}

impl ConnectionPool {
    fn new<'a>(clients: impl IntoIterator<Item = &'a Client>) -> Self {
        let connections = clients.into_iter().map(|client| Arc::new(Connection::new(client)));
        Self { connections: connections.collect(), next: AtomicUsize::new(0) }
    }

    /// Returns the next connection that is up, if there is one. Revives those that are down on the
    /// way.
    fn connection(&self) -> Option<&Connection> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        (0..self.connections.len())
            .map(|offset| &self.connections[first.wrapping_add(offset) % self.connections.len()])
            .find(|connection| connection.is_up())
            .map(|connection| &**connection)
    }
}

impl ScriptClient for ConnectionPool {
    async fn call(
        &self,
        script: ScriptName,
        keys: &[Bytes],
        arguments: &[Bytes],
        timeout: Duration,
    ) -> Result<Reply, CommandError> {
        let connection = self.connection().ok_or_else(|| {
            let error = Error::new(ErrorKind::IO, "the client is not connected");
            CommandError::NotSent(Box::new(error))
        })?;
        // By default fred waits for a reconnection and sends again, without a time limit. The
        // attempts are for redirections only: with fewer of them, a redirection ends the client's
        // task.
        let client = connection.client.with_options(&Options {
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
        match client.custom(command, arguments).await {
            Ok(value) => reply(value),
            Err(error) => {
                connection.note_error(&error);
                Err(command_error(error))
            }
        }
    }
}

/// A client, and whether it works.
///
/// The task that drives a client of fred ends with its connection, unless the client has a
/// reconnect policy with attempts left. Then the client still counts as connected, and its commands
/// wait without a limit. So this type listens for errors, and starts the task again.
struct Connection {
    client: Client,
    health: Mutex<Health>,
}

struct Health {
    errors: Receiver<(Error, Option<Server>)>,
    /// A connection broke since the task was started.
    is_broken: bool,
    /// The task has ended for another reason.
    has_ended: bool,
    is_reviving: bool,
}

/// Time to wait after a failed attempt to connect.
const PAUSE: Duration = Duration::from_millis(100);

impl Connection {
    fn new(client: &Client) -> Self {
        let health = Health {
            errors: client.error_rx(),
            is_broken: false,
            has_ended: false,
            is_reviving: false,
        };
        Self { client: client.clone(), health: Mutex::new(health) }
    }

    fn is_up(self: &Arc<Self>) -> bool {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match health.errors.try_recv() {
                Ok(_) | Err(TryRecvError::Lagged(_)) => health.is_broken = true,
                Err(TryRecvError::Empty) => break,
                // The application has closed the client, and perhaps opened it again.
                Err(TryRecvError::Closed) => {
                    health.errors = self.client.error_rx();
                    (health.is_broken, health.has_ended) = (false, false);
                }
            }
        }
        if !health.has_ended && (!health.is_broken || self.reconnects()) {
            return self.client.is_connected();
        }
        if !health.is_reviving {
            health.is_reviving = true;
            tokio::spawn(Arc::clone(self).revive());
        }
        false
    }

    /// Notes an error that ends the task, such as that of a command for a node of a cluster without
    /// a connection.
    fn note_error(&self, error: &Error) {
        let ends_task = match error.kind() {
            ErrorKind::Routing => error.details() != TOO_MANY_REDIRECTIONS,
            ErrorKind::Canceled => true,
            _ => false,
        };
        // Otherwise the application has closed the client.
        if ends_task && self.client.is_connected() {
            self.health.lock().unwrap_or_else(PoisonError::into_inner).has_ended = true;
        }
    }

    /// Whether the client reconnects by itself.
    fn reconnects(&self) -> bool {
        self.client.client_reconnect_policy().is_some_and(|policy| {
            policy.max_attempts() == 0 || policy.attempts() < policy.max_attempts()
        })
    }

    async fn revive(self: Arc<Self>) {
        let errors = self.client.error_rx();
        let is_revived = self.client.init().await.is_ok();
        if !is_revived {
            sleep(PAUSE).await;
        }
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        health.is_reviving = false;
        if is_revived {
            health.errors = errors;
            (health.is_broken, health.has_ended) = (false, false);
        }
    }
}

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
