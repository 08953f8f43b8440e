//! A sign-in under a limit on the sessions of a principal: [`SignInLimit`].
//!
//! Used by [`LayeredStore`](super::LayeredStore) for every sign-in. Decides whether to repeat a
//! refused sign-in. Sends nothing.

use std::time::Duration;

use tokio::time::Instant;

use super::tiers::NAME;
use crate::{
    auth::PrincipalKey,
    store::{
        NewSignIn, OnLimit, SessionLimit, StoreError, StoreErrorKind, Written,
        contention::{SIGN_IN_ATTEMPTS, contended},
    },
    turns::{Turn, Turns},
};

/// A sign-in under a session limit.
///
/// The origin must not end the oldest sessions itself, because the cache would keep their entries.
/// So the layered store asks the origin to refuse the sign-in. It then ends the oldest sessions
/// itself and repeats the sign-in. Within a process, such sign-ins of a principal run one at a
/// time: otherwise each would take the room that another one has made.
pub(super) struct SignInLimit<'a> {
    /// The sign-in that is sent to the origin. Its limit, if there is one, has `OnLimit::Reject`.
    pub(super) who: NewSignIn<'a>,
    ends_oldest: bool,
    attempts: usize,
    /// How long the cache may still serve a session that was ended for this sign-in.
    stale_for: Option<Duration>,
}

impl<'a> SignInLimit<'a> {
    pub(super) fn new(who: NewSignIn<'a>) -> Self {
        let ends_oldest = who.limit.is_some_and(|limit| limit.on_limit == OnLimit::EndOldest);
        let limit = who.limit.map(SessionLimit::rejecting);
        Self { who: who.limit(limit), ends_oldest, attempts: 0, stale_for: None }
    }

    /// Waits for the turn of a sign-in that ends the oldest sessions, until `end`. Other sign-ins
    /// need no turn.
    pub(super) async fn turn<'t>(
        &self,
        turns: &'t Turns<PrincipalKey>,
        end: Instant,
    ) -> Result<Option<Turn<'t, PrincipalKey>>, StoreError> {
        if !self.ends_oldest {
            return Ok(None);
        }
        turns.wait(*self.who.principal, end).await.map(Some).ok_or_else(|| contended(NAME))
    }

    /// Returns the limit if the caller has to end the oldest sessions and repeat the sign-in.
    /// Otherwise returns `None`, and `answer` is final.
    ///
    /// # Errors
    ///
    /// [`StoreErrorKind::Unavailable`] if the attempts are used up.
    pub(super) fn retry<T>(
        &mut self,
        answer: &Result<T, StoreError>,
    ) -> Result<Option<SessionLimit>, StoreError> {
        let is_refused =
            answer.as_ref().is_err_and(|error| error.kind() == StoreErrorKind::SessionLimit);
        if !is_refused || !self.ends_oldest {
            return Ok(None);
        }
        self.attempts += 1;
        if self.attempts < SIGN_IN_ATTEMPTS { Ok(self.who.limit) } else { Err(contended(NAME)) }
    }

    /// Records that sessions were ended to make room.
    pub(super) fn note_ended(&mut self, ended: &Written<()>) {
        self.stale_for = self.stale_for.max(ended.stale_for);
    }

    /// Returns the answer to the sign-in. Its `stale_for` also covers the sessions that were ended
    /// for the sign-in.
    pub(super) fn answer<T>(&self, written: Written<T>) -> Written<T> {
        let stale_for = self.stale_for.max(written.stale_for);
        written.stale_for(stale_for)
    }
}
