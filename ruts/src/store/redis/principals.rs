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
        Access, Fields, Limit, Listed, Listing, Loaded, Lookup, OnLimit, Page, SignIn, Store,
        StoreError, StoreErrorKind, Whom,
    },
    token::Handle,
    ttl::Ttl,
};

/// How often room is made for a session before the sign-in is refused.
const TRIES: usize = 8;

/// How many commands are sent at the same time.
const AT_ONCE: usize = 256;

/// A sign-in is not under way for longer than this, nor than the time of its commands.
const SETTLED: Duration = Duration::from_secs(10);

/// The sessions of a principal, on whichever servers they are.
///
/// A sign-in joins the principal's list, then writes the session, then makes sure that it is still
/// listed. A revocation first strikes out what the list names, then ends each session. So a session that
/// is not yet there when it is looked for finds itself struck out, and is ended by its own sign-in.
impl<C: RedisClient> RedisStore<C> {
    async fn ask_list(
        &self,
        script: &'static Script,
        principal: &PrincipalKey,
        arguments: Arguments,
    ) -> Result<Reply, StoreError> {
        self.run(script, principal_key(&self.prefix, principal), arguments.list()).await
    }

    /// Makes sure that no revocation came between, or ends the session.
    pub(super) async fn verify(
        &self,
        handle: &Handle,
        principal: &PrincipalKey,
        mark: Bytes,
        longest: Option<Ttl>,
    ) -> Result<(), StoreError> {
        let arguments = Arguments::new(3).handle(handle).bytes(mark).ttl(self.listed_for(longest));
        let verified = match self.ask_list(&script::VERIFY, principal, arguments).await {
            Ok(Reply::Int(1)) => return Ok(()),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        // Nobody has the secret yet, and nobody shall.
        let ended = self.end_of(principal, handle).await;
        match (verified, ended) {
            (Ok(()), Ok(_)) | (Err(_), Ok(true)) => {
                Err(StoreError::new(NAME, StoreErrorKind::Revoked))
            }
            (Err(error), _) | (_, Err(error)) => {
                Err(StoreError::new(NAME, StoreErrorKind::Unknown).with_source(error))
            }
        }
    }

    /// Takes back what a sign-in has joined that was refused. If this fails, it is left out after a while.
    pub(super) async fn withdraw(&self, handle: &Handle, principal: &PrincipalKey, mark: Bytes) {
        let arguments = Arguments::new(2).handle(handle).bytes(mark);
        let _ = self.ask_list(&script::WITHDRAW, principal, arguments).await;
    }

    /// The entry must not be over before its session, which begins later, maybe by another clock.
    fn listed_for(&self, longest: Option<Ttl>) -> Option<Ttl> {
        let longest = longest?.as_duration().saturating_add(self.under_way());
        Some(Ttl::new(longest).unwrap_or(Ttl::MAX))
    }

    /// For how long a sign-in may be.
    fn under_way(&self) -> Duration {
        SETTLED.max(self.timeout * 4)
    }

    /// Joins the list, and makes room for that if need be: not before `access` opens the session that
    /// is to be signed in. The answer is the mark of the sign-in.
    pub(super) async fn join(
        &self,
        handle: &Handle,
        who: &SignIn<'_>,
        longest: Option<Ttl>,
        access: Option<Access<'_>>,
    ) -> Result<Lookup<Bytes>, StoreError> {
        let longest = self.listed_for(longest);
        let most = who.limit.map_or(0, |limit| limit.sessions.max(1));
        for _ in 0..TRIES {
            let arguments =
                Arguments::new(4).handle(handle).nonce()?.ttl(longest).text(&most.to_string());
            let reply = self.ask_list(&script::JOIN, who.principal, arguments).await?;
            let mut answer = Answer::new(reply).ok_or_else(corrupt)?;
            match (answer.bytes().flatten().as_deref(), who.limit) {
                (Some(b"joined"), _) => {
                    return answer.bytes().flatten().map(Lookup::Found).ok_or_else(corrupt);
                }
                (Some(b"full"), Some(limit)) => {
                    if let Some(access) = access {
                        match self.load(access, Fields::Named(&[]), None).await?.map(drop) {
                            Lookup::Found(()) => {}
                            refused => return Ok(refused.map(|()| Bytes::new())),
                        }
                    }
                    let others = answer.entries().ok_or_else(corrupt)?;
                    // Boxed: it is rare, and would make every sign-in's future as large.
                    Box::pin(self.make_room(who.principal, others, limit)).await?;
                }
                _ => return Err(corrupt()),
            }
        }
        Err(StoreError::new(NAME, StoreErrorKind::Limit))
    }

    /// Strikes out what is over, and if that is not enough, does as the limit says.
    async fn make_room(
        &self,
        principal: &PrincipalKey,
        others: Vec<Entry>,
        limit: Limit,
    ) -> Result<(), StoreError> {
        let loaded = self.load_all(principal, &others, Fields::Named(&[])).await?;
        let over: Vec<&Entry> =
            others.iter().zip(&loaded).filter(|(_, loaded)| loaded.is_none()).map(first).collect();
        if self.leave(principal, &over).await? > 0 {
            return Ok(());
        }
        if limit.on_limit == OnLimit::Reject {
            return Err(StoreError::new(NAME, StoreErrorKind::Limit));
        }
        let mut oldest: Vec<&Entry> = others.iter().collect();
        oldest.sort_by_key(|entry| (entry.joined(), entry.handle));
        oldest.truncate((others.len() + 1).saturating_sub(limit.sessions.max(1) as usize));
        for entry in oldest {
            self.end_all(principal, Whom::One(&entry.handle)).await?;
        }
        Ok(())
    }

    pub(super) async fn list(
        &self,
        principal: &PrincipalKey,
        page: Page<'_>,
        fields: Fields<'_>,
    ) -> Result<Listing, StoreError> {
        let arguments = match page.after {
            Some(after) => Arguments::new(2).handle(after),
            None => Arguments::new(2).constant(""),
        };
        let arguments = arguments.text(&page.limit.max(1).to_string());
        let reply = self.ask_list(&script::LIST, principal, arguments).await?;
        let mut answer = Answer::new(reply).ok_or_else(corrupt)?;
        let is_last = answer.bytes().flatten().as_deref() == Some(b"last");
        let entries = answer.entries().ok_or_else(corrupt)?;
        let next = entries.last().filter(|_| !is_last).map(|entry| entry.handle);
        let loaded = self.load_all(principal, &entries, fields).await?;
        let over: Vec<&Entry> =
            entries.iter().zip(&loaded).filter(|(_, loaded)| loaded.is_none()).map(first).collect();
        self.leave(principal, &over).await?;
        let listed = entries.iter().zip(loaded);
        let listed = listed.filter_map(|(entry, loaded)| {
            loaded.map(|loaded| Listed { handle: entry.handle, loaded })
        });
        Ok(Listing { sessions: listed.collect(), next })
    }

    /// Ends sessions of a principal and says which.
    pub(super) async fn end_all(
        &self,
        principal: &PrincipalKey,
        whom: Whom<'_>,
    ) -> Result<Vec<Handle>, StoreError> {
        let arguments = match whom {
            Whom::One(handle) => Arguments::new(2).constant("=").handle(handle),
            Whom::All { except: Some(handle) } => Arguments::new(2).constant("*").handle(handle),
            Whom::All { except: None } => Arguments::new(2).constant("*").constant(""),
        };
        let reply = self.ask_list(&script::REVOKE, principal, arguments).await?;
        let mut answer = Answer::new(reply).ok_or_else(corrupt)?;
        answer.bytes();
        let entries = answer.entries().ok_or_else(corrupt)?;
        let principal = *principal;
        let ended = self.each(&entries, move |store, handle| async move {
            Ok(store.end_of(&principal, &handle).await?.then_some(handle))
        });
        let ended = ended.await?;
        self.leave(&principal, &entries.iter().collect::<Vec<_>>()).await?;
        Ok(ended.into_iter().flatten().collect())
    }

    /// What is there of each of these, in their order; `None` for one that is not the principal's.
    async fn load_all(
        &self,
        principal: &PrincipalKey,
        entries: &[Entry],
        fields: Fields<'_>,
    ) -> Result<Vec<Option<Loaded>>, StoreError> {
        let named: Option<Arc<[String]>> = match fields {
            Fields::All => None,
            Fields::Named(names) => Some(names.iter().map(|name| (*name).to_owned()).collect()),
        };
        let principal = *principal;
        let load = move |store: Self, handle: Handle| {
            let named = named.clone();
            async move {
                let names: Option<Vec<&str>> =
                    named.as_ref().map(|names| names.iter().map(String::as_str).collect());
                let fields = names.as_deref().map_or(Fields::All, Fields::Named);
                store.load_of(&principal, &handle, fields).await
            }
        };
        self.each(entries, load).await
    }

    /// Strikes out entries that were found to be over, and says how many.
    async fn leave(
        &self,
        principal: &PrincipalKey,
        entries: &[&Entry],
    ) -> Result<usize, StoreError> {
        if entries.is_empty() {
            return Ok(0);
        }
        let arguments = Arguments::new(1 + 2 * entries.len()).millis(self.under_way().as_millis());
        let arguments = entries.iter().fold(arguments, |arguments, entry| {
            arguments.handle(&entry.handle).bytes(entry.mark.clone())
        });
        match self.ask_list(&script::LEAVE, principal, arguments).await? {
            Reply::Int(count) => usize::try_from(count).map_err(|_| corrupt()),
            _ => Err(corrupt()),
        }
    }

    /// Does the same with each of these, many at a time, and answers in their order.
    async fn each<T, F>(
        &self,
        entries: &[Entry],
        work: impl Fn(Self, Handle) -> F,
    ) -> Result<Vec<T>, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let mut answers = Vec::with_capacity(entries.len());
        for some in entries.chunks(AT_ONCE) {
            let tasks: Vec<_> = (some.iter())
                .map(|entry| tokio::spawn(work(self.clone(), entry.handle).in_current_span()))
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

fn first<A, B>((first, _): (A, B)) -> A {
    first
}

/// The runtime is shutting down.
fn stopped(error: JoinError) -> StoreError {
    StoreError::new(NAME, StoreErrorKind::Unknown).with_source(error)
}
