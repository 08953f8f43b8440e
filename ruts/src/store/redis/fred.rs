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

use super::client::{Call, Connect, Failure, Reply, Text};

impl Connect for Client {
    type Link = Link;

    fn link(self: Arc<Self>) -> Link {
        Link::new([&*self])
    }
}

impl Connect for Pool {
    type Link = Link;

    fn link(self: Arc<Self>) -> Link {
        Link::new(self.clients())
    }
}

/// The connections of a client or pool, used in turn.
pub struct Link {
    lines: Vec<Arc<Line>>,
    next: AtomicUsize,
}

impl Link {
    fn new<'a>(clients: impl IntoIterator<Item = &'a Client>) -> Self {
        let lines = clients.into_iter().map(|client| Arc::new(Line::new(client))).collect();
        Self { lines, next: AtomicUsize::new(0) }
    }

    /// One that is up, if any is. Those that are down are revived.
    fn line(&self) -> Option<&Line> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        (0..self.lines.len())
            .map(|offset| &self.lines[first.wrapping_add(offset) % self.lines.len()])
            .find(|line| line.is_up())
            .map(|line| &**line)
    }
}

impl Call for Link {
    async fn call(
        &self,
        script: Text,
        keys: &[Bytes],
        arguments: &[Bytes],
        timeout: Duration,
    ) -> Result<Reply, Failure> {
        let line = self.line().ok_or_else(|| {
            Failure::Unsent(Box::new(Error::new(ErrorKind::IO, "the client is not connected")))
        })?;
        // fred would wait for a reconnection and send again; by itself it waits for ever. The attempts
        // are for redirections only: with fewer than these, one would end the client's task.
        let client = line.client.with_options(&Options {
            max_attempts: Some(3),
            max_redirections: Some(1),
            timeout: Some(timeout),
            fail_fast: true,
            cluster_hash: Some(ClusterHash::Offset(2)),
            ..Options::default()
        });
        // Not fred's own `eval`: it would forget the options.
        let (name, text) = script.command();
        let command = CustomCommand::new_static(name, ClusterHash::Offset(2), false);
        // All as bytes: fred would check text, and take a logarithm to write a number.
        let count = match keys.len() {
            1 => Bytes::from_static(b"1"),
            many => many.to_string().into(),
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
                line.note(&error);
                Err(failure(error))
            }
        }
    }
}

/// A client and whether it is of any use.
///
/// The task that drives a client of fred ends with its connection, unless the client has a reconnect
/// policy with attempts left. Nothing tells so: the client stays "connected", and what is sent waits
/// for ever. So this listens for errors, and starts the task again.
struct Line {
    client: Client,
    trouble: Mutex<Trouble>,
}

struct Trouble {
    errors: Receiver<(Error, Option<Server>)>,
    /// A connection broke since the task was started.
    broke: bool,
    /// The task has ended, for another reason.
    ended: bool,
    reviving: bool,
}

/// How long to wait after a failed attempt to connect.
const PAUSE: Duration = Duration::from_millis(100);

impl Line {
    fn new(client: &Client) -> Self {
        let trouble =
            Trouble { errors: client.error_rx(), broke: false, ended: false, reviving: false };
        Self { client: client.clone(), trouble: Mutex::new(trouble) }
    }

    fn is_up(self: &Arc<Self>) -> bool {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match trouble.errors.try_recv() {
                Ok(_) | Err(TryRecvError::Lagged(_)) => trouble.broke = true,
                Err(TryRecvError::Empty) => break,
                // The owner has closed the client, and perhaps opened it again.
                Err(TryRecvError::Closed) => {
                    trouble.errors = self.client.error_rx();
                    (trouble.broke, trouble.ended) = (false, false);
                }
            }
        }
        if !trouble.ended && (!trouble.broke || self.reconnects()) {
            return self.client.is_connected();
        }
        if !trouble.reviving {
            trouble.reviving = true;
            tokio::spawn(Arc::clone(self).revive());
        }
        false
    }

    /// Takes note of an error with which the task ends: to be sent to a node of a cluster that it is
    /// not connected to, for one.
    fn note(&self, error: &Error) {
        let ends = match error.kind() {
            ErrorKind::Routing => error.details() != TOO_MANY_REDIRECTIONS,
            ErrorKind::Canceled => true,
            _ => false,
        };
        // Otherwise its owner has closed it.
        if ends && self.client.is_connected() {
            self.trouble.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
        }
    }

    /// Whether the client does so by itself.
    fn reconnects(&self) -> bool {
        self.client.client_reconnect_policy().is_some_and(|policy| {
            policy.max_attempts() == 0 || policy.attempts() < policy.max_attempts()
        })
    }

    async fn revive(self: Arc<Self>) {
        let errors = self.client.error_rx();
        let revived = self.client.init().await.is_ok();
        if !revived {
            sleep(PAUSE).await;
        }
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.reviving = false;
        if revived {
            trouble.errors = errors;
            (trouble.broke, trouble.ended) = (false, false);
        }
    }
}

fn reply(value: Value) -> Result<Reply, Failure> {
    Ok(match value {
        Value::Null => Reply::Nil,
        Value::Integer(number) => Reply::Int(number),
        Value::Bytes(bytes) => Reply::Bytes(bytes),
        Value::String(text) => Reply::Bytes(text.into_inner()),
        Value::Array(items) => {
            Reply::Array(items.into_iter().map(reply).collect::<Result<_, _>>()?)
        }
        _ => {
            let error = Error::new(ErrorKind::Protocol, "an answer that no script gives");
            return Err(Failure::Lost(Box::new(error)));
        }
    })
}

const TOO_MANY_REDIRECTIONS: &str = "Too many redirections.";

/// fred tells an error of the server from one of its own by the text alone: the server's begin with
/// a code in capitals.
fn failure(error: Error) -> Failure {
    use ErrorKind::{Backpressure, Canceled, IO, Parse, Protocol, Routing, Timeout};
    let code: String =
        error.details().chars().take_while(|char| char.is_ascii_uppercase()).collect();
    match error.kind() {
        Backpressure => Failure::Unsent(Box::new(error)),
        Routing if error.details() == TOO_MANY_REDIRECTIONS => {
            Failure::Refused("MOVED".to_owned(), Box::new(error))
        }
        IO | Timeout | Canceled | Parse | Protocol | Routing => Failure::Lost(Box::new(error)),
        _ if code.len() > 1 => Failure::Refused(code, Box::new(error)),
        _ => Failure::Lost(Box::new(error)),
    }
}
