//! Runs a [`Script`] on a server: by its SHA-1, or by its text after a probe.
//!
//! Used by the executor and the channel. The catalogue (`scripts`) uses the types of this file.
//! This file knows nothing about the catalogue, keys or sessions.

use std::time::Duration;

use bytes::Bytes;
use sha1::{Digest, Sha1};
use tokio::time::{Instant, sleep};

use super::{
    driver::client::{Call, CommandClient, ScriptName},
    error::{CommandError, TimedOut, UNFIT},
    wire::reply::Reply,
};

/// A script: the concatenated text of files of `lua/`.
pub(super) struct Script {
    text: Text,
    /// The same code for a server that refuses writes. `None` for a script that is not a read.
    read_only: Option<Text>,
    /// The script that asks a server whether it can run this script.
    probe: &'static str,
    on_unknown: OnUnknown,
}

/// The text of a script, and its SHA-1 in hexadecimal.
struct Text {
    text: String,
    sha1: String,
}

/// Name and text of a file.
pub(super) type File = (&'static str, &'static str);

/// The behaviour of a script on a server that is out of memory.
#[derive(Clone, Copy)]
pub(super) enum WhenFull {
    /// The script runs, because it frees memory or stores no value of a field.
    Allowed,
    /// The server refuses the script before its first command.
    Rejected,
    /// The script runs, and each of its commands that needs memory fails.
    #[cfg(feature = "layered-store")]
    Partial,
}

impl Script {
    pub(super) fn new(
        when_full: WhenFull,
        on_unknown: OnUnknown,
        probe: &'static str,
        files: &[&[File]],
    ) -> Self {
        let flags = match when_full {
            WhenFull::Allowed => "#!lua flags=allow-oom\n",
            WhenFull::Rejected => "#!lua\n",
            #[cfg(feature = "layered-store")]
            WhenFull::Partial => "",
        };
        let text = |flags: &str| {
            let texts = files.iter().copied().flatten().map(|(_, text)| *text);
            let text: String = [flags].into_iter().chain(texts).collect();
            let sha1 = Sha1::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect();
            Text { text, sha1 }
        };
        let is_read = matches!((when_full, on_unknown), (WhenFull::Allowed, OnUnknown::Resend));
        let read_only = is_read.then(|| text("#!lua flags=no-writes\n"));
        Self { text: text(flags), read_only, probe, on_unknown }
    }

    /// Runs the script. If the server does not know the script, probes the server, and then sends
    /// the text of the script. `keys` must not be empty.
    ///
    /// If a leader temporarily refuses writes, the read-only text of a read is sent. A replica
    /// would also run this text, but on old data. The read-write text is sent first, because a
    /// replica refuses it.
    pub(super) async fn call<C: CommandClient>(
        &'static self,
        client: &C,
        keys: &[Bytes],
        arguments: &[Bytes],
        deadline: Deadline,
    ) -> Result<Reply, CommandError> {
        let answer = self.call_text(&self.text, client, keys, arguments, deadline).await;
        match (&answer, &self.read_only) {
            (Err(error), Some(text)) if error.refuses_writes() => {
                self.call_text(text, client, keys, arguments, deadline).await
            }
            _ => answer,
        }
    }

    async fn call_text<C: CommandClient>(
        &self,
        Text { text, sha1 }: &'static Text,
        client: &C,
        keys: &[Bytes],
        arguments: &[Bytes],
        deadline: Deadline,
    ) -> Result<Reply, CommandError> {
        let call = |name| send(client, name, keys, arguments, self.on_unknown, deadline);
        match call(ScriptName::Sha1(sha1)).await {
            Err(CommandError::Server(code, _)) if code == "NOSCRIPT" => {
                probe(client, self.probe, &keys[..1], deadline).await?;
                call(ScriptName::Text(text)).await
            }
            answer => answer,
        }
    }
}

/// The moment by which an operation has to answer.
#[derive(Clone, Copy)]
pub(super) struct Deadline(Instant);

impl Deadline {
    pub(super) fn after(timeout: Duration) -> Self {
        Self(Instant::now() + timeout)
    }

    pub(super) const fn at(moment: Instant) -> Self {
        Self(moment)
    }

    /// Returns the time until the deadline, or an error if it has passed.
    pub(super) fn time_left(self) -> Result<Duration, CommandError> {
        let left = self.0.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(CommandError::NotSent(Box::new(TimedOut)));
        }
        Ok(left)
    }
}

/// Pause in which a client fetches the new slot map of a cluster.
const REMAPPING: Duration = Duration::from_millis(20);

/// Maximum number of retries of a command that certainly did not run, and the pause before the
/// first retry. Each further pause is twice as long as the previous one.
const MAX_RETRIES: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// Whether a command of unknown outcome is sent again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum OnUnknown {
    /// The command is sent a second time, because a second run does no harm.
    Resend,
    /// The caller gets the error.
    Fail,
}

impl OnUnknown {
    /// Returns the time for the next run of a command: half of the time that is left, if a second
    /// run follows.
    fn share_of(self, left: Duration) -> Duration {
        match self {
            Self::Resend => left / 2,
            Self::Fail => left,
        }
    }
}

/// Sends a script, and after a pause sends it again in these cases:
///
/// - The node refused the script because a different node has the key. In the pause, the client
///   fetches a new slot map.
/// - The script was not sent, or the server refused it because it cannot serve. In the pause, the
///   client connects again.
/// - The outcome is unknown, and the script may be repeated. In the pause, the client notices that
///   the connection has closed.
pub(super) async fn send<C: CommandClient>(
    client: &C,
    script: ScriptName,
    keys: &[Bytes],
    arguments: &[Bytes],
    mut on_unknown: OnUnknown,
    deadline: Deadline,
) -> Result<Reply, CommandError> {
    let mut retries = 0;
    loop {
        let call = Call::Script { name: script, keys, arguments };
        let left = deadline.time_left()?;
        let answer = client.call(call, on_unknown.share_of(left)).await;
        let Err(error) = &answer else { return answer };
        let pause = match error {
            CommandError::Server(code, _) if matches!(&**code, "MOVED" | "ASK" | "TRYAGAIN") => {
                REMAPPING
            }
            CommandError::OutcomeUnknown(_) if on_unknown == OnUnknown::Resend => {
                on_unknown = OnUnknown::Fail;
                FIRST_PAUSE
            }
            _ if error.is_not_done() && retries < MAX_RETRIES => {
                retries += 1;
                FIRST_PAUSE * 2_u32.pow(retries - 1)
            }
            _ => return answer,
        };
        if deadline.time_left().is_ok_and(|left| left > pause) {
            sleep(pause).await;
        } else {
            return answer;
        }
    }
}

/// Why a server cannot keep sessions.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error("the server cannot expire fields: Redis 7.4 or later, or Valkey 9 or later, is needed")]
    NoFieldExpiry,
    #[error("the Redis user is not allowed to run {0} in a script: allow the command in its ACL")]
    NotAllowed(String),
}

/// Asks the server of the key whether it can keep sessions. Without the probe, a script could fail
/// halfway and leave its first writes behind.
pub(super) async fn probe<C: CommandClient>(
    client: &C,
    probe: &'static str,
    key: &[Bytes],
    deadline: Deadline,
) -> Result<(), CommandError> {
    let unfit =
        match send(client, ScriptName::Text(probe), key, &[], OnUnknown::Resend, deadline).await {
            Ok(Reply::Int(1)) => return Ok(()),
            Ok(Reply::Bytes(answer)) => match answer.strip_prefix(b"denied ") {
                Some(command) => Unfit::NotAllowed(String::from_utf8_lossy(command).into_owned()),
                None => Unfit::NoFieldExpiry,
            },
            Ok(_) => Unfit::NoFieldExpiry,
            // The probe changes nothing and the script was not sent, so the outcome of the
            // operation is known.
            Err(CommandError::OutcomeUnknown(source)) => return Err(CommandError::NotSent(source)),
            Err(error) => return Err(error),
        };
    Err(CommandError::Server(UNFIT.to_owned(), Box::new(unfit)))
}
