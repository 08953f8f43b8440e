//! [`PrincipalList`]: lists and revokes the sessions of a principal.
//!
//! Used by the store and by `sign_in`. Knows the executor, and nothing about the store.

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;

use super::super::{
    driver::client::CommandClient,
    error::{NAME, corrupt},
    eval::Script,
    executor::{Executor, Reader},
    parallel::run_all,
    scripts::{BEGIN_REVOKE, EXIST, LIST, REMOVE_ENTRIES, REVOKE},
    wire::{
        args::Arguments,
        keys::principal_key,
        reply::{ListEntry, Reply, ReplyItems, flags},
    },
};
use crate::{
    auth::PrincipalKey,
    store::{
        ListedSession, Loaded, PageRequest, Projection, REVOKED_RETENTION, RevokeTarget,
        SessionPage, StoreError, StoreErrorKind,
    },
    token::SessionId,
    ttl::Ttl,
};

/// Minimum of [`PrincipalList::longest_sign_in`].
const LONGEST_SIGN_IN: Duration = Duration::from_secs(10);

/// Maximum number of entries that a script changes. While a script runs, the server does nothing
/// else.
pub(super) const STEP: usize = 256;

/// Maximum number of sessions that a script ends.
const MAX_ENDED: usize = 64;

/// Minimum number of entries for which a script first checks which sessions exist. Sessions of
/// fewer entries are read without this check.
const MANY: usize = 16;

/// Maximum number of entries that are checked when a sign-in trims a long list.
const TRIMMED: usize = 64;

/// An entry that stays in the list, and its session. `None` while the sign-in is in progress.
type Kept = (ListEntry, Option<Loaded>);

/// The server has evicted keys, so a principal list may be incomplete.
#[derive(Debug, thiserror::Error)]
#[error(
    "the server has evicted keys, so the list of a principal may lack live sessions: set \
     `maxmemory-policy noeviction`"
)]
struct Evicted;

/// The list of a principal's sessions.
pub(in crate::store::redis) struct PrincipalList<'a, C> {
    executor: &'a Arc<Executor<C>>,
    principal: &'a PrincipalKey,
}

impl<'a, C: CommandClient> PrincipalList<'a, C> {
    pub(in crate::store::redis) const fn new(
        executor: &'a Arc<Executor<C>>,
        principal: &'a PrincipalKey,
    ) -> Self {
        Self { executor, principal }
    }

    /// Returns a page of the live sessions.
    ///
    /// For each step of at most [`STEP`] entries, takes these round trips:
    ///
    /// - one for the list,
    /// - one more if there are at least [`MANY`] entries,
    /// - one for each session, up to 256 at the same time,
    /// - one to remove the entries of ended sessions, if there are any.
    pub(in crate::store::redis) async fn page(
        &self,
        page: PageRequest<'_>,
        fields: Projection<'_>,
    ) -> Result<SessionPage, StoreError> {
        let limit = page.limit.max(1);
        let (mut step, mut after, mut found) = (limit.min(STEP), page.after.copied(), Vec::new());
        loop {
            let mut entries = self.entries(after.as_ref(), step + 1).await?;
            let is_last = entries.len() <= step;
            entries.truncate(step);
            after = entries.last().map(|entry| entry.id);
            let (live, absent) = self.sort(entries, fields).await?;
            found.extend(
                live.into_iter().map(|(entry, loaded)| ListedSession::new(entry.id, loaded)),
            );
            // If the leader refuses writes, the page is still returned.
            if let Err(error) = self.remove(&absent).await {
                tracing::debug!(store = NAME, %error, "entries of ended sessions stay");
            }
            if is_last || found.len() >= limit {
                let is_over = is_last && found.len() <= limit;
                found.truncate(limit);
                let next = found.last().filter(|_| !is_over).map(|listed| listed.id);
                return Ok(SessionPage::new(found, next));
            }
            step = STEP;
        }
    }

    /// Ends sessions, and returns their ids.
    ///
    /// Takes two round trips for every [`STEP`] entries, and one for every [`MAX_ENDED`] sessions.
    /// On a cluster, each session takes a round trip of its own.
    ///
    /// A step first notes in the list that sign-ins in progress must not complete. Then it ends the
    /// sessions, and finally removes their entries. If the process dies halfway, live sessions keep
    /// their entries.
    pub(in crate::store::redis) async fn revoke(
        &self,
        target: RevokeTarget<'_>,
    ) -> Result<Vec<SessionId>, StoreError> {
        let except = match target {
            RevokeTarget::One(id) => return self.revoke_each(&[*id]).await,
            RevokeTarget::All { except } => except,
        };
        let mut ended = Vec::new();
        let mut after = Bytes::new();
        loop {
            let arguments = Arguments::new(4).constant("*");
            let arguments = match except {
                Some(id) => arguments.id(id),
                None => arguments.constant(""),
            };
            let arguments = arguments.bytes(after).text(&STEP.to_string());
            let (last, ids) = self.revoke_step(arguments).await?;
            ended.extend(ids);
            match &*last {
                b"" => return Ok(ended),
                b"evicted" => {
                    let error = StoreError::new(NAME, StoreErrorKind::Unsupported);
                    return Err(error.with_source(Evicted));
                }
                _ => after = last,
            }
        }
    }

    /// Ends the given sessions to which the principal is signed in, and returns their ids.
    pub(super) async fn revoke_each(
        &self,
        ids: &[SessionId],
    ) -> Result<Vec<SessionId>, StoreError> {
        let mut ended = Vec::new();
        for ids in ids.chunks(STEP) {
            let arguments = Arguments::new(1 + ids.len()).constant("=");
            ended.extend(self.revoke_step(ids.iter().fold(arguments, Arguments::id)).await?.1);
        }
        Ok(ended)
    }

    /// Ends the sessions of a step. Returns the first item of the script's answer, and the ended
    /// sessions.
    async fn revoke_step(
        &self,
        arguments: Arguments,
    ) -> Result<(Bytes, Vec<SessionId>), StoreError> {
        let reply = self.run(&BEGIN_REVOKE, arguments).await?;
        let mut items = ReplyItems::new(reply).ok_or_else(corrupt)?;
        let last = items.bytes().flatten().ok_or_else(corrupt)?;
        let entries = items.entries().ok_or_else(corrupt)?;
        let mut ended = Vec::new();
        for entries in entries.chunks(MAX_ENDED) {
            ended.extend(self.end_sessions(entries).await?);
        }
        self.remove(&entries).await?;
        Ok((last, ended))
    }

    /// Ends sessions, and returns their ids.
    async fn end_sessions(&self, entries: &[ListEntry]) -> Result<Vec<SessionId>, StoreError> {
        let ids: Vec<SessionId> = entries.iter().map(|entry| entry.id).collect();
        let are_ended = match self.call_sessions(&REVOKE, &ids, self.revocation()).await? {
            Some(are_ended) => are_ended,
            None => {
                let principal = *self.principal;
                let end = move |executor: Arc<Executor<C>>, id| async move {
                    PrincipalList::new(&executor, &principal).end_session(&id).await
                };
                self.for_each(entries, end).await?
            }
        };
        Ok(ids.into_iter().zip(are_ended).filter_map(|(id, is)| is.then_some(id)).collect())
    }

    /// Ends a session if the principal is signed in to it, and returns whether it did.
    pub(super) async fn end_session(&self, id: &SessionId) -> Result<bool, StoreError> {
        let are_ended = self.call_sessions(&REVOKE, &[*id], self.revocation()).await?;
        Ok(are_ended.ok_or_else(corrupt)? == [true])
    }

    /// Returns the arguments of a revocation.
    fn revocation(&self) -> Arguments {
        let retention = Ttl::from_duration(REVOKED_RETENTION).as_millis();
        Arguments::for_session(self.principal.as_bytes(), [retention, 0], "", 0)
    }

    /// Runs a script that answers 1 or 0 for each session. Returns `None` if their keys have
    /// different slots.
    async fn call_sessions(
        &self,
        script: &'static Script,
        ids: &[SessionId],
        arguments: Arguments,
    ) -> Result<Option<Vec<bool>>, StoreError> {
        if ids.len() > 1 && self.executor.is_cross_slot() {
            return Ok(None);
        }
        let (keys, deadline) = (self.executor.session_keys(ids.iter()), self.executor.deadline());
        match self.executor.call_batch(script, &keys, arguments, deadline).await? {
            Some(reply) => flags(reply, ids.len()).map(Some).ok_or_else(corrupt),
            None => Ok(None),
        }
    }

    /// Returns at most `limit` entries after a session, ordered by id.
    pub(super) async fn entries(
        &self,
        after: Option<&SessionId>,
        limit: usize,
    ) -> Result<Vec<ListEntry>, StoreError> {
        let arguments = match after {
            Some(after) => Arguments::new(2).id(after),
            None => Arguments::new(2).constant(""),
        };
        let reply = self.run(&LIST, arguments.text(&limit.to_string())).await?;
        ReplyItems::new(reply).and_then(ReplyItems::entries).ok_or_else(corrupt)
    }

    /// Checks the next [`TRIMMED`] entries after a session, and removes the entries of ended
    /// sessions.
    pub(super) async fn trim(&self, after: &SessionId) -> Result<(), StoreError> {
        let entries = self.entries(Some(after), TRIMMED).await?;
        self.prune_ended(entries, Projection::Named(&[])).await.map(drop)
    }

    /// Reads the sessions of entries, and removes the entries of ended sessions. Returns the
    /// entries that stay.
    pub(super) async fn prune_ended(
        &self,
        entries: Vec<ListEntry>,
        fields: Projection<'_>,
    ) -> Result<Vec<Kept>, StoreError> {
        let (live, absent) = self.sort(entries, fields).await?;
        let removed = self.remove(&absent).await?;
        let in_progress = absent.into_iter().zip(removed).filter(|(_, is_removed)| !is_removed);
        let in_progress = in_progress.map(|(entry, _)| (entry, None));
        let live = live.into_iter().map(|(entry, loaded)| (entry, Some(loaded)));
        Ok(live.chain(in_progress).collect())
    }

    /// Reads the sessions of entries. Returns the live sessions, and the entries of the other
    /// sessions.
    async fn sort(
        &self,
        entries: Vec<ListEntry>,
        fields: Projection<'_>,
    ) -> Result<(Vec<(ListEntry, Loaded)>, Vec<ListEntry>), StoreError> {
        let ids: Vec<SessionId> = entries.iter().map(|entry| entry.id).collect();
        let exist = match ids.len() {
            MANY.. => self.call_sessions(&EXIST, &ids, Arguments::new(0)).await?,
            _ => None,
        };
        let exist = exist.unwrap_or_else(|| vec![true; ids.len()]);
        let (mut existing, mut absent) = (Vec::new(), Vec::new());
        for (entry, exists) in entries.into_iter().zip(exist) {
            if exists { &mut existing } else { &mut absent }.push(entry);
        }
        let loaded = self.load_each(&existing, fields).await?;
        let mut live = Vec::with_capacity(existing.len());
        for (entry, loaded) in existing.into_iter().zip(loaded) {
            match loaded {
                Some(loaded) => live.push((entry, loaded)),
                None => absent.push(entry),
            }
        }
        Ok((live, absent))
    }

    /// Runs a script of the list.
    pub(super) async fn run(
        &self,
        script: &'static Script,
        arguments: Arguments,
    ) -> Result<Reply, StoreError> {
        self.executor.run(script, self.key(), arguments).await
    }

    /// Returns the key of the list.
    pub(super) fn key(&self) -> Bytes {
        principal_key(&self.executor.prefix, self.principal)
    }

    /// Returns the longest time in which a sign-in may be in progress.
    pub(super) fn longest_sign_in(&self) -> Duration {
        LONGEST_SIGN_IN.max(self.executor.timeout * 4)
    }

    /// Reads each session. Returns `None` for a session that has ended, or to which the principal
    /// is not signed in.
    async fn load_each(
        &self,
        entries: &[ListEntry],
        fields: Projection<'_>,
    ) -> Result<Vec<Option<Loaded>>, StoreError> {
        let named: Option<Arc<[String]>> = match fields {
            Projection::All => None,
            Projection::Named(names) => Some(names.iter().map(|name| (*name).to_owned()).collect()),
        };
        let principal = *self.principal;
        let load = move |executor: Arc<Executor<C>>, id| {
            let named = named.clone();
            async move {
                let names: Option<Vec<&str>> =
                    named.as_ref().map(|names| names.iter().map(String::as_str).collect());
                let fields = names.as_deref().map_or(Projection::All, Projection::Named);
                let reader = Reader::Principal(&principal);
                Ok(executor.load(reader, &id, fields, None).await?.ok())
            }
        };
        self.for_each(entries, load).await
    }

    /// Removes entries, except those whose session has joined again or may still be joining.
    /// Returns, for each entry, whether it was removed.
    async fn remove(&self, entries: &[ListEntry]) -> Result<Vec<bool>, StoreError> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let longest = self.longest_sign_in().as_millis();
        let arguments = Arguments::new(1 + entries.len()).millis(longest);
        let members = entries.iter().map(|entry| entry.member.clone());
        let reply = self.run(&REMOVE_ENTRIES, members.fold(arguments, Arguments::bytes)).await?;
        flags(reply, entries.len()).ok_or_else(corrupt)
    }

    /// Runs `work` for each session, up to 256 at the same time, and returns the answers in order.
    async fn for_each<T, F>(
        &self,
        entries: &[ListEntry],
        work: impl Fn(Arc<Executor<C>>, SessionId) -> F,
    ) -> Result<Vec<T>, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        run_all(entries.iter().map(|entry| work(Arc::clone(self.executor), entry.id))).await
    }
}
