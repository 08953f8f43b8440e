//! Lists and revokes the sessions of a principal: [`PrincipalList`].

use std::{borrow::Borrow, future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use tracing::Instrument;

use super::super::{
    driver::client::ScriptClient,
    error::corrupt,
    eval::Script,
    executor::{Executor, MAX_PARALLEL, Reader, task_failed},
    scripts::{BEGIN_REVOKE, LIST, REMOVE_ENTRIES, REVOKE},
    wire::{
        args::Arguments,
        keys::principal_key,
        reply::{ListEntry, Reply, ReplyItems, ScriptOutcome},
    },
};
use crate::{
    auth::PrincipalKey,
    store::{
        ListedSession, Loaded, PageRequest, Projection, RevokeTarget, SessionPage, StoreError,
    },
    token::SessionId,
};

/// Minimum of [`PrincipalList::longest_sign_in`].
const LONGEST_SIGN_IN: Duration = Duration::from_secs(10);

/// The list of a principal's sessions.
pub(in crate::store::redis) struct PrincipalList<'a, C> {
    executor: &'a Arc<Executor<C>>,
    principal: &'a PrincipalKey,
}

impl<'a, C: ScriptClient> PrincipalList<'a, C> {
    pub(in crate::store::redis) const fn new(
        executor: &'a Arc<Executor<C>>,
        principal: &'a PrincipalKey,
    ) -> Self {
        Self { executor, principal }
    }

    /// Returns a page of the live sessions. One round trip for the list, and one for each session
    /// of it, all at the same time.
    pub(in crate::store::redis) async fn page(
        &self,
        page: PageRequest<'_>,
        fields: Projection<'_>,
    ) -> Result<SessionPage, StoreError> {
        let arguments = match page.after {
            Some(after) => Arguments::new(2).id(after),
            None => Arguments::new(2).constant(""),
        };
        let arguments = arguments.text(&page.limit.max(1).to_string());
        let reply = self.run(&LIST, arguments).await?;
        let mut items = ReplyItems::new(reply).ok_or_else(corrupt)?;
        let is_last = items.bytes().flatten().as_deref() == Some(b"last");
        let entries = items.entries().ok_or_else(corrupt)?;
        let next = entries.last().filter(|_| !is_last).map(|entry| entry.id);
        let loaded = self.load_each(&entries, fields).await?;
        self.remove_ended(&entries, &loaded).await?;
        let listed = entries.iter().zip(loaded);
        let listed =
            listed.filter_map(|(entry, loaded)| Some(ListedSession::new(entry.id, loaded?)));
        Ok(SessionPage::new(listed.collect(), next))
    }

    /// Ends sessions, and returns their ids. Two round trips, and one for each session, all at the
    /// same time.
    ///
    /// It first notes in the list that sign-ins in progress may not complete, and then ends each
    /// session.
    pub(in crate::store::redis) async fn revoke(
        &self,
        target: RevokeTarget<'_>,
    ) -> Result<Vec<SessionId>, StoreError> {
        let arguments = match target {
            RevokeTarget::One(id) => Arguments::new(2).constant("=").id(id),
            RevokeTarget::All { except: Some(id) } => Arguments::new(2).constant("*").id(id),
            RevokeTarget::All { except: None } => Arguments::new(2).constant("*").constant(""),
        };
        let reply = self.run(&BEGIN_REVOKE, arguments).await?;
        let entries = ReplyItems::new(reply).and_then(ReplyItems::entries).ok_or_else(corrupt)?;
        let principal = *self.principal;
        let end = move |executor: Arc<Executor<C>>, id| async move {
            let list = PrincipalList::new(&executor, &principal);
            Ok(list.end_session(&id).await?.then_some(id))
        };
        let ended = self.for_each(&entries, end).await?;
        self.remove(&entries).await?;
        Ok(ended.into_iter().flatten().collect())
    }

    /// Ends a session if the principal is signed in to it, and returns whether it did.
    pub(super) async fn end_session(&self, id: &SessionId) -> Result<bool, StoreError> {
        let arguments = Arguments::for_session(self.principal.as_bytes(), [0, 0], "", 0);
        let outcome = self.executor.call_one(&REVOKE, id, arguments, self.executor.deadline());
        Ok(matches!(outcome.await?, ScriptOutcome::Done(_)))
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

    /// Reads each session. `None` for one that is not the principal's, or has ended.
    pub(super) async fn load_each(
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

    /// Removes the entries of sessions that were not loaded, and returns their number.
    pub(super) async fn remove_ended(
        &self,
        entries: &[ListEntry],
        loaded: &[Option<Loaded>],
    ) -> Result<usize, StoreError> {
        let ended = entries.iter().zip(loaded).filter(|(_, loaded)| loaded.is_none());
        self.remove(&ended.map(|(entry, _)| entry).collect::<Vec<_>>()).await
    }

    /// Removes entries, unless the session has joined again since, and returns their number.
    async fn remove(&self, entries: &[impl Borrow<ListEntry>]) -> Result<usize, StoreError> {
        if entries.is_empty() {
            return Ok(0);
        }
        let longest = self.longest_sign_in().as_millis();
        let mut arguments = Arguments::new(1 + 2 * entries.len()).millis(longest);
        for ListEntry { id, text } in entries.iter().map(Borrow::borrow) {
            arguments = arguments.id(id).bytes(text.clone());
        }
        match self.run(&REMOVE_ENTRIES, arguments).await? {
            Reply::Int(count) => usize::try_from(count).map_err(|_| corrupt()),
            _ => Err(corrupt()),
        }
    }

    /// Does the same with each session, many at a time, and returns the answers in their order.
    async fn for_each<T, F>(
        &self,
        entries: &[ListEntry],
        work: impl Fn(Arc<Executor<C>>, SessionId) -> F,
    ) -> Result<Vec<T>, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let mut answers = Vec::with_capacity(entries.len());
        for chunk in entries.chunks(MAX_PARALLEL) {
            let start = |entry: &ListEntry| {
                tokio::spawn(work(Arc::clone(self.executor), entry.id).in_current_span())
            };
            let tasks: Vec<_> = chunk.iter().map(start).collect();
            for task in tasks {
                answers.push(task.await.map_err(task_failed)??);
            }
        }
        Ok(answers)
    }
}
