//! [`SignIn`]: adds a session to the list of its principal, and writes the session.
//!
//! Used by the store. Knows the executor and `list`. This type is not the public `session::SignIn`.

use std::sync::Arc;

use bytes::Bytes;
use tracing::Instrument;

use super::{
    super::{
        driver::client::CommandClient,
        error::{NAME, corrupt},
        eval::Script,
        executor::Executor,
        scripts::{CREATE, CREATE_SIGNED_IN, JOIN, UPDATE, UPDATE_SIGNED_IN, VERIFY, WITHDRAW},
        wire::{
            args::Arguments,
            keys::session_key,
            reply::{Reply, ReplyItems, ScriptOutcome},
        },
    },
    list::{PrincipalList, STEP},
};
use crate::{
    store::{
        NewSignIn, OnLimit, Projection, SessionLimit, StoreError, StoreErrorKind,
        contention::{SIGN_IN_ATTEMPTS, contended},
    },
    token::SessionId,
    ttl::Ttl,
};

/// Minimum length of a list that is trimmed. About one of `TRIM_EVERY` sign-ins trims its list.
///
/// A trim checks 64 entries, so on average four entries are checked for each sign-in. Each sign-in
/// adds one entry, so at most about a quarter of the sessions in a long list have ended.
const LONG_LIST: i64 = 32;
const TRIM_EVERY: u8 = 16;

/// The letter of an update that is only checked: see `lua/update_general.lua`.
const CHECK_ONLY: &[u8] = b"x";

/// A sign-in, and the write to the session that belongs to it.
///
/// A sign-in has three steps: it joins the principal list, writes the session, and verifies that
/// its mark is still in the list. A revocation first removes the marks from the list, and then ends
/// each session. If a sign-in writes its session after that, it does not find its mark, and ends
/// the session itself.
///
/// If one server keeps the list and the session, one script does all three steps atomically.
///
/// Within a process, the sign-ins of a principal that have a session limit run one at a time. The
/// limit does not depend on this, because other processes have turns of their own.
pub(in crate::store::redis) struct SignIn<'a> {
    pub(in crate::store::redis) id: &'a SessionId,
    pub(in crate::store::redis) who: NewSignIn<'a>,
    /// Time until the absolute deadline.
    pub(in crate::store::redis) absolute: Option<Ttl>,
    /// Whether the sign-in creates the session.
    pub(in crate::store::redis) creates: bool,
    /// Arguments of the session's script.
    pub(in crate::store::redis) arguments: Vec<Bytes>,
}

/// The outcome of the first step.
enum Joined {
    /// The session is listed. Holds the mark of the sign-in, or the answer of the session's script
    /// if one script did all steps. Also holds the number of listed sessions.
    Listed(Reply, i64),
    /// The update of the session would not apply. Holds the answer to it.
    NotApplied(ScriptOutcome),
    /// The list and the session have different slots. Nothing was done.
    CrossSlot,
}

impl SignIn<'_> {
    /// Signs in, and returns the outcome of the session's script.
    ///
    /// # Round trips
    ///
    /// One, or three on a cluster. More if other sessions have to end because of the limit.
    pub(in crate::store::redis) async fn run<C: CommandClient>(
        &self,
        executor: &Arc<Executor<C>>,
    ) -> Result<ScriptOutcome, StoreError> {
        let list = PrincipalList::new(executor, self.who.principal);
        let _turn = match self.who.limit {
            None => None,
            Some(_) => Some(
                executor.sign_in_turn(self.who.principal).await.ok_or_else(|| contended(NAME))?,
            ),
        };
        let [write, write_signed_in]: [&Script; 2] = match self.creates {
            true => [&CREATE, &CREATE_SIGNED_IN],
            false => [&UPDATE, &UPDATE_SIGNED_IN],
        };
        let session = [session_key(&executor.prefix, self.id)];
        if !executor.is_cross_slot() {
            let joined =
                self.join(executor, &list, write_signed_in, &session, &self.arguments).await?;
            match joined {
                Joined::Listed(reply, count) => {
                    self.trim_sometimes(executor, count);
                    return ScriptOutcome::new(reply);
                }
                Joined::NotApplied(outcome) => return Ok(outcome),
                Joined::CrossSlot => {}
            }
        }
        let (mark, count) = match self.join(executor, &list, &JOIN, &[], &[]).await? {
            Joined::Listed(Reply::Bytes(mark), count) => (mark, count),
            Joined::NotApplied(outcome) => return Ok(outcome),
            Joined::Listed(..) | Joined::CrossSlot => return Err(corrupt()),
        };
        let deadline = executor.deadline();
        let written = executor.call(write, &session, &self.arguments, deadline).await;
        let outcome = written.map_err(StoreError::from).and_then(ScriptOutcome::new);
        match &outcome {
            Ok(ScriptOutcome::Done(Reply::Bytes(_) | Reply::Int(_))) => {
                self.verify(&list, mark).await?;
                self.trim_sometimes(executor, count);
            }
            Err(error) if error.kind() == StoreErrorKind::OutcomeUnknown => {}
            Ok(_) | Err(_) => self.withdraw(&list, mark).await,
        }
        outcome
    }

    /// Joins the list. If the list is full, checks the update and then makes room. `script` may
    /// also write the session, with `arguments`.
    async fn join<C: CommandClient>(
        &self,
        executor: &Executor<C>,
        list: &PrincipalList<'_, C>,
        script: &'static Script,
        session: &[Bytes],
        arguments: &[Bytes],
    ) -> Result<Joined, StoreError> {
        let keys = [&[list.key()], session].concat();
        let max_sessions = self.who.limit.map_or(0, |limit| limit.sessions.max(1));
        let mut attempts = 0;
        loop {
            let own = Arguments::new(4).id(self.id).nonce()?;
            let own = own.ttl(self.listed_for(list)).text(&max_sessions.to_string());
            let arguments = [&own.into_list(), arguments].concat();
            let reply = match executor.call(script, &keys, &arguments, executor.deadline()).await {
                Err(error) if error.is_cross_slot() => return Ok(Joined::CrossSlot),
                reply => reply?,
            };
            let mut items = ReplyItems::new(reply).ok_or_else(corrupt)?;
            match (items.bytes().flatten().as_deref(), self.who.limit) {
                (Some(b"joined"), _) => {
                    let listed = (items.next(), items.number());
                    let (Some(reply), Some(count)) = listed else { return Err(corrupt()) };
                    return Ok(Joined::Listed(reply, count));
                }
                (Some(b"full"), Some(limit)) => {
                    if let Some(outcome) = self.check_update(executor).await? {
                        return Ok(Joined::NotApplied(outcome));
                    }
                    // The last attempt ends no session, because no session would take its place.
                    attempts += 1;
                    if attempts == SIGN_IN_ATTEMPTS {
                        return Err(match limit.on_limit {
                            OnLimit::EndOldest => contended(NAME),
                            OnLimit::Reject => StoreError::new(NAME, StoreErrorKind::SessionLimit),
                        });
                    }
                    self.make_room(list, limit).await?;
                }
                _ => return Err(corrupt()),
            }
        }
    }

    fn ends_oldest(&self) -> bool {
        self.who.limit.is_some_and(|limit| limit.on_limit == OnLimit::EndOldest)
    }

    /// Returns the answer to an update that would not apply. Such an update must not end other
    /// sessions. Returns `None` if the update would apply, or if the sign-in creates the session.
    async fn check_update<C: CommandClient>(
        &self,
        executor: &Executor<C>,
    ) -> Result<Option<ScriptOutcome>, StoreError> {
        let Some((head, rest)) = self.arguments.split_first().filter(|_| !self.creates) else {
            return Ok(None);
        };
        let arguments = [&[Bytes::from([head, CHECK_ONLY].concat())], rest].concat();
        let session = [session_key(&executor.prefix, self.id)];
        let reply = executor.call(&UPDATE, &session, &arguments, executor.deadline()).await?;
        let outcome = ScriptOutcome::new(reply)?;
        Ok(Some(outcome).filter(|outcome| !matches!(outcome, ScriptOutcome::Done(Reply::Int(_)))))
    }

    /// Removes the entries of ended sessions. If too many sessions are left, applies the limit.
    async fn make_room<C: CommandClient>(
        &self,
        list: &PrincipalList<'_, C>,
        limit: SessionLimit,
    ) -> Result<(), StoreError> {
        let max_sessions = limit.sessions.max(1) as usize;
        let (mut after, mut others) = (None, Vec::new());
        loop {
            let entries = list.entries(after.as_ref(), STEP).await?;
            let is_last = entries.len() < STEP;
            after = entries.last().map(|entry| entry.id);
            let kept = list.prune_ended(entries, Projection::Named(&[])).await?.into_iter();
            let kept = kept.filter(|(entry, _)| entry.id != *self.id);
            others.extend(kept.map(|(entry, _)| (entry.joined_at(), entry.id)));
            if others.len() >= max_sessions && limit.on_limit == OnLimit::Reject {
                return Err(StoreError::new(NAME, StoreErrorKind::SessionLimit));
            }
            if is_last {
                break;
            }
        }
        others.sort_unstable();
        others.truncate((others.len() + 1).saturating_sub(max_sessions));
        let oldest: Vec<SessionId> = others.into_iter().map(|(_, id)| id).collect();
        list.revoke_each(&oldest).await.map(drop)
    }

    /// Trims a long list after about one of [`TRIM_EVERY`] sign-ins, in a task of its own. A byte
    /// of the random session id selects these sign-ins.
    fn trim_sometimes<C: CommandClient>(&self, executor: &Arc<Executor<C>>, count: i64) {
        if count < LONG_LIST || !self.id.as_bytes()[0].is_multiple_of(TRIM_EVERY) {
            return;
        }
        let (executor, principal, id) = (Arc::clone(executor), *self.who.principal, *self.id);
        let trim = async move {
            // An error is ignored, because a later sign-in checks these entries.
            let _ = PrincipalList::new(&executor, &principal).trim(&id).await;
        };
        tokio::spawn(trim.in_current_span());
    }

    /// Verifies that no revocation has begun since the session joined the list. Otherwise ends the
    /// session, and fails unless the sign-in ends the oldest sessions at its limit.
    async fn verify<C: CommandClient>(
        &self,
        list: &PrincipalList<'_, C>,
        mark: Bytes,
    ) -> Result<(), StoreError> {
        let arguments = Arguments::new(3).id(self.id).bytes(mark).ttl(self.listed_for(list));
        let verified = match list.run(&VERIFY, arguments).await {
            Ok(Reply::Int(1)) => return Ok(()),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        // The session is not verified, so it ends. No client has its secret yet.
        let ended = list.end_session(self.id).await;
        match (verified, ended) {
            // A later sign-in in a different process may have ended this session to make room for
            // its own. Even so, this sign-in is not refused. Its session counts as ended right
            // after the sign-in.
            (Ok(()), Ok(_)) if self.ends_oldest() => Ok(()),
            (Ok(()), Ok(_)) | (Err(_), Ok(true)) => {
                Err(StoreError::new(NAME, StoreErrorKind::Revoked))
            }
            (Err(error), _) | (_, Err(error)) => {
                Err(StoreError::new(NAME, StoreErrorKind::OutcomeUnknown).with_source(error))
            }
        }
    }

    /// Removes the mark of a sign-in that failed. If that is not possible, the entry is removed
    /// later.
    async fn withdraw<C: CommandClient>(&self, list: &PrincipalList<'_, C>, mark: Bytes) {
        let arguments = Arguments::new(2).id(self.id).bytes(mark);
        let _ = list.run(&WITHDRAW, arguments).await;
    }

    /// Returns the time for which the session stays listed. It is longer than the time until the
    /// absolute deadline of the session, because the deadline is set later, and perhaps by a
    /// different clock. `None` without such a deadline.
    fn listed_for<C: CommandClient>(&self, list: &PrincipalList<'_, C>) -> Option<Ttl> {
        let longest = self.absolute?.as_duration().saturating_add(list.longest_sign_in());
        Some(Ttl::new(longest).unwrap_or(Ttl::MAX))
    }
}
