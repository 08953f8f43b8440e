use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::task::{JoinError, JoinSet};
use tracing::Instrument;

use super::{
    arguments::Arguments,
    client::{RedisClient, Reply},
    layout::principal_key,
    reply::{Answer, Entry},
    script::{self, Script},
    store::{NAME, RedisStore, corrupt},
};
use crate::{
    principal::PrincipalKey,
    store::{
        ListedSession, Loaded, PageRequest, Projection, RevokeTarget, SessionPage, StoreError,
        StoreErrorKind,
    },
    token::SessionId,
};

/// How many commands are sent at the same time.
const AT_ONCE: usize = 256;

/// A sign-in is not under way for longer than this, nor than the time of its commands.
const SETTLED: Duration = Duration::from_secs(10);

/// The sessions of a principal, on whichever servers they are.
impl<C: RedisClient> RedisStore<C> {
    pub(super) async fn ask_list(
        &self,
        script: &'static Script,
        principal: &PrincipalKey,
        arguments: Arguments,
    ) -> Result<Reply, StoreError> {
        self.run(script, principal_key(&self.way.prefix, principal), arguments.list()).await
    }

    /// For how long a sign-in may be under way.
    pub(super) fn under_way(&self) -> Duration {
        SETTLED.max(self.timeout * 4)
    }

    pub(super) async fn list(
        &self,
        principal: &PrincipalKey,
        page: PageRequest<'_>,
        fields: Projection<'_>,
    ) -> Result<SessionPage, StoreError> {
        let arguments = match page.after {
            Some(after) => Arguments::new(2).id(after),
            None => Arguments::new(2).constant(""),
        };
        let arguments = arguments.text(&page.limit.max(1).to_string());
        let reply = self.ask_list(&script::LIST, principal, arguments).await?;
        let mut answer = Answer::new(reply).ok_or_else(corrupt)?;
        let is_last = answer.bytes().flatten().as_deref() == Some(b"last");
        let entries = answer.entries().ok_or_else(corrupt)?;
        let next = entries.last().filter(|_| !is_last).map(|entry| entry.id);
        let loaded = self.load_all(principal, &entries, fields).await?;
        let over: Vec<&Entry> =
            entries.iter().zip(&loaded).filter(|(_, loaded)| loaded.is_none()).map(first).collect();
        self.leave(principal, &over).await?;
        let listed = entries.iter().zip(loaded);
        let listed = listed.filter_map(|(entry, loaded)| {
            loaded.map(|loaded| ListedSession { id: entry.id, loaded })
        });
        Ok(SessionPage { sessions: listed.collect(), next })
    }

    /// Ends sessions of a principal and says which.
    pub(super) async fn end_all(
        &self,
        principal: &PrincipalKey,
        target: RevokeTarget<'_>,
    ) -> Result<Vec<SessionId>, StoreError> {
        let arguments = match target {
            RevokeTarget::One(id) => Arguments::new(2).constant("=").id(id),
            RevokeTarget::All { except: Some(id) } => Arguments::new(2).constant("*").id(id),
            RevokeTarget::All { except: None } => Arguments::new(2).constant("*").constant(""),
        };
        let reply = self.ask_list(&script::REVOKE, principal, arguments).await?;
        let mut answer = Answer::new(reply).ok_or_else(corrupt)?;
        answer.bytes();
        let entries = answer.entries().ok_or_else(corrupt)?;
        let principal = *principal;
        let ended = self.each(&entries, move |store, id| async move {
            Ok(store.end_of(&principal, &id).await?.then_some(id))
        });
        let ended = ended.await?;
        self.leave(&principal, &entries.iter().collect::<Vec<_>>()).await?;
        Ok(ended.into_iter().flatten().collect())
    }

    /// What is there of each of these, in their order; `None` for one that is not the principal's.
    pub(super) async fn load_all(
        &self,
        principal: &PrincipalKey,
        entries: &[Entry],
        fields: Projection<'_>,
    ) -> Result<Vec<Option<Loaded>>, StoreError> {
        let named: Option<Arc<[String]>> = match fields {
            Projection::All => None,
            Projection::Named(names) => Some(names.iter().map(|name| (*name).to_owned()).collect()),
        };
        let principal = *principal;
        let load = move |store: Self, id: SessionId| {
            let named = named.clone();
            async move {
                let names: Option<Vec<&str>> =
                    named.as_ref().map(|names| names.iter().map(String::as_str).collect());
                let fields = names.as_deref().map_or(Projection::All, Projection::Named);
                store.load_of(&principal, &id, fields).await
            }
        };
        self.each(entries, load).await
    }

    /// Strikes out entries that were found to be over, and says how many.
    pub(super) async fn leave(
        &self,
        principal: &PrincipalKey,
        entries: &[&Entry],
    ) -> Result<usize, StoreError> {
        if entries.is_empty() {
            return Ok(0);
        }
        let arguments = Arguments::new(1 + 2 * entries.len()).millis(self.under_way().as_millis());
        let arguments = entries
            .iter()
            .fold(arguments, |arguments, entry| arguments.id(&entry.id).bytes(entry.mark.clone()));
        match self.ask_list(&script::LEAVE, principal, arguments).await? {
            Reply::Int(count) => usize::try_from(count).map_err(|_| corrupt()),
            _ => Err(corrupt()),
        }
    }

    /// Does the same with each of these, many at a time, and answers in their order.
    async fn each<T, F>(
        &self,
        entries: &[Entry],
        work: impl Fn(Self, SessionId) -> F,
    ) -> Result<Vec<T>, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let mut answers = Vec::with_capacity(entries.len());
        for some in entries.chunks(AT_ONCE) {
            let tasks: Vec<_> = (some.iter())
                .map(|entry| tokio::spawn(work(self.clone(), entry.id).in_current_span()))
                .collect();
            for task in tasks {
                answers.push(task.await.map_err(stopped)??);
            }
        }
        Ok(answers)
    }

    /// Runs a script without arguments at each of these keys.
    pub(super) async fn at_each(
        &self,
        script: &'static Script,
        keys: impl Iterator<Item = Bytes>,
    ) -> Result<(), StoreError> {
        let mut tasks = JoinSet::new();
        for key in keys {
            if tasks.len() >= AT_ONCE
                && let Some(done) = tasks.join_next().await
            {
                done.map_err(stopped)??;
            }
            let store = self.clone();
            let one = async move { store.run(script, key, Vec::new()).await };
            tasks.spawn(one.in_current_span());
        }
        while let Some(done) = tasks.join_next().await {
            done.map_err(stopped)??;
        }
        Ok(())
    }
}

pub(super) fn first<A, B>((first, _): (A, B)) -> A {
    first
}

/// The runtime is shutting down.
fn stopped(error: JoinError) -> StoreError {
    StoreError::new(NAME, StoreErrorKind::Unknown).with_source(error)
}
