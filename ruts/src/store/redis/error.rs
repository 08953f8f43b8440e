//! [`CommandError`], the failure of one command, and the [`StoreError`] that it becomes.
//!
//! Used throughout the store. Depends on no other file of this folder.

use std::error::Error;

use crate::store::{StoreError, StoreErrorKind};

/// Name of the store in errors and traces.
pub(super) const NAME: &str = "redis";

/// Error code for a server that cannot keep sessions or cache entries. No server makes this code:
/// it comes from the store after a failed probe, and from a script of the cache.
pub(super) const UNFIT: &str = "UNFIT";

/// The error of a driver.
pub(super) type Source = Box<dyn Error + Send + Sync>;

/// Why a command failed.
#[derive(Debug)]
pub enum CommandError {
    /// The server answered with an error that has this code.
    Server(String, Source),
    /// The command was never sent.
    NotSent(Source),
    /// The command was sent, or may have been, and no usable answer came.
    OutcomeUnknown(Source),
}

impl CommandError {
    /// Returns whether a cluster refused a script because its keys have different slots.
    pub(super) fn is_cross_slot(&self) -> bool {
        matches!(self, Self::Server(code, _) if code == "CROSSSLOT")
    }

    /// Returns whether the server refused the command before it ran, because the server cannot
    /// serve now or the connection is not authenticated.
    pub(super) fn is_of_wrong_server(&self) -> bool {
        let Self::Server(code, _) = self else { return false };
        matches!(&**code, "READONLY" | "MASTERDOWN" | "LOADING" | "CLUSTERDOWN" | "NOAUTH")
    }

    /// Returns whether the error has the code for an unknown command, or for a command that this
    /// user may not run.
    pub(super) fn is_of_unknown_command(&self) -> bool {
        matches!(self, Self::Server(code, _) if matches!(&**code, "ERR" | "NOPERM"))
    }

    /// Returns whether a leader refused a command that writes, because persistence fails or too few
    /// replicas are connected.
    pub(super) fn refuses_writes(&self) -> bool {
        matches!(self, Self::Server(code, _) if matches!(&**code, "MISCONF" | "NOREPLICAS"))
    }

    /// Returns whether the command certainly did not run, and may succeed if it is sent again.
    pub(super) fn is_not_done(&self) -> bool {
        matches!(self, Self::NotSent(_)) || self.is_of_wrong_server()
    }
}

impl From<CommandError> for StoreError {
    fn from(error: CommandError) -> Self {
        let (kind, source) = match error {
            CommandError::NotSent(source) => (StoreErrorKind::Unavailable, source),
            CommandError::OutcomeUnknown(source) => (StoreErrorKind::OutcomeUnknown, source),
            CommandError::Server(code, source) => (kind_of(&code), source),
        };
        Self::new(NAME, kind).with_source(source)
    }
}

fn kind_of(code: &str) -> StoreErrorKind {
    match code {
        "OOM" => StoreErrorKind::Full,
        "WRONGTYPE" | "CORRUPT" => StoreErrorKind::Corrupt,
        UNFIT | "NOAUTH" | "NOPERM" | "WRONGPASS" => StoreErrorKind::Unsupported,
        // The script was aborted, perhaps after its first write.
        "ERR" => StoreErrorKind::OutcomeUnknown,
        _ => StoreErrorKind::Unavailable,
    }
}

/// The answer did not come within the timeout.
#[derive(Debug, thiserror::Error)]
#[error("the server did not answer in time")]
pub(super) struct TimedOut;

/// The runtime is shutting down.
#[derive(Debug, thiserror::Error)]
#[error("the runtime shut down before the answer came")]
struct RuntimeShutdown;

/// The server answered in a form that no script produces.
#[derive(Debug, thiserror::Error)]
#[error("the answer does not have the format that the script returns")]
pub(super) struct MalformedReply;

/// The error for data in a format that no release writes.
pub(super) fn corrupt() -> StoreError {
    StoreError::new(NAME, StoreErrorKind::Corrupt)
}

/// The error of a request that waited too long to be sent.
pub(super) fn timed_out() -> StoreError {
    StoreError::new(NAME, StoreErrorKind::Unavailable).with_source(TimedOut)
}

/// The error of a request whose runtime shut down.
pub(super) fn shut_down() -> StoreError {
    StoreError::new(NAME, StoreErrorKind::OutcomeUnknown).with_source(RuntimeShutdown)
}

/// The error of a [`MalformedReply`].
pub(super) fn malformed() -> StoreError {
    StoreError::new(NAME, StoreErrorKind::OutcomeUnknown).with_source(MalformedReply)
}
