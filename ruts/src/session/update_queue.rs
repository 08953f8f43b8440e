//! The queue of a session for updates of its fields: [`turn`].
//!
//! Called by `request`. `Entry::update` is a compare-and-set: of several concurrent updates, only
//! one succeeds at each attempt. The queue runs the updates of one process one at a time. The write
//! still compares, because other processes have their own queues.

use std::{sync::LazyLock, time::Duration};

use crate::{
    token::SessionId,
    turns::{Turn, Turns},
};

/// Time after which an update leaves a queue in which no turn has begun, and runs alongside the
/// others. This time bounds the wait if the store does not answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Waits for the turn of an update of the session. `None` if no turn of the queue begins within
/// [`PATIENCE`].
pub(super) async fn turn(id: SessionId) -> Option<Turn<'static, SessionId>> {
    static UPDATES: LazyLock<Turns<SessionId>> = LazyLock::new(Turns::default);
    UPDATES.wait_while_moving(id, PATIENCE).await
}
