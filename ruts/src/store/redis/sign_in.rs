use bytes::Bytes;

use super::{
    arguments::Arguments,
    client::{RedisClient, Reply},
    layout::{key, principal_key},
    principals::first,
    reply::{Answer, Entry, Said},
    script::{self, Deadline, Script},
    store::{NAME, RedisStore, corrupt},
};
use crate::{
    store::{
        Credentials, Lookup, NewSignIn, OnLimit, Projection, RevokeTarget, SessionLimit, Store,
        StoreError, StoreErrorKind,
    },
    token::SessionId,
    ttl::Ttl,
};

/// How often room is made for a session before the sign-in is refused.
const TRIES: usize = 8;

/// A sign-in, and the session by which it is done.
///
/// It joins the principal's list, then writes the session, then makes sure that it is still listed. A
/// revocation first strikes out what the list names, then ends each session. So a session that is not yet
/// there when it is looked for finds itself struck out, and is ended by its own sign-in. Where one server
/// keeps the list and the session, one script does all that, and nothing can come between.
pub(super) struct SigningIn<'a> {
    pub(super) id: &'a SessionId,
    pub(super) who: NewSignIn<'a>,
    pub(super) longest: Option<Ttl>,
    /// What opens the session, if it is there.
    pub(super) credentials: Option<Credentials<'a>>,
    /// The arguments of the session's own script.
    pub(super) session: Vec<Bytes>,
}

/// What the first step came to.
enum Joined {
    /// In the list; with what the script said then.
    Is(Reply),
    /// The session is not open to who signs in.
    No(Lookup<()>),
    /// The list and the session are on different nodes: nothing was done.
    Scattered,
}

impl SigningIn<'_> {
    /// What the session's script says of it. One round trip; three on a cluster; more if room has to be made.
    pub(super) async fn carry_out<C: RedisClient>(
        &self,
        store: &RedisStore<C>,
    ) -> Result<Said, StoreError> {
        let [alone, signed_in] = match self.credentials {
            None => [&script::CREATE, &script::CREATE_SIGNED_IN],
            Some(_) => [&script::UPDATE, &script::UPDATE_SIGNED_IN],
        };
        let session = [key(&store.way.prefix, self.id)];
        if !store.way.is_scattered() {
            match self.join(store, signed_in, &session, &self.session).await? {
                Joined::Is(said) => return Said::new(said).ok_or_else(corrupt),
                Joined::No(refused) => return Ok(Said::No(refused)),
                Joined::Scattered => {}
            }
        }
        let mark = match self.join(store, &script::JOIN, &[], &[]).await? {
            Joined::Is(Reply::Bytes(mark)) => mark,
            Joined::No(refused) => return Ok(Said::No(refused)),
            Joined::Is(_) | Joined::Scattered => return Err(corrupt()),
        };
        let limit = Deadline::new(store.timeout);
        let said = store.way.call(alone, &session, &self.session, limit).await;
        let said = said.map_err(|failure| failure.into_error(NAME));
        let said = said.and_then(|reply| Said::new(reply).ok_or_else(corrupt));
        match &said {
            Ok(Said::Found(Reply::Bytes(_) | Reply::Int(_))) => self.verify(store, mark).await?,
            Err(error) if error.kind() == StoreErrorKind::Unknown => {}
            Ok(_) | Err(_) => self.withdraw(store, mark).await,
        }
        said
    }

    /// Joins the list, and makes room for that if need be: not before the session is known to be open.
    /// `script` may do more then, at the session, with more arguments.
    async fn join<C: RedisClient>(
        &self,
        store: &RedisStore<C>,
        script: &'static Script,
        session: &[Bytes],
        more: &[Bytes],
    ) -> Result<Joined, StoreError> {
        let list = principal_key(&store.way.prefix, self.who.principal);
        let keys = [&[list], session].concat();
        let most = self.who.limit.map_or(0, |limit| limit.sessions.max(1));
        for _ in 0..TRIES {
            let arguments = Arguments::new(4).id(self.id).nonce()?;
            let arguments = arguments.ttl(self.listed_for(store)).text(&most.to_string());
            let arguments = [&arguments.list(), more].concat();
            let limit = Deadline::new(store.timeout);
            let reply = match store.way.call(script, &keys, &arguments, limit).await {
                Err(failure) if failure.is_scattered() => return Ok(Joined::Scattered),
                reply => reply.map_err(|failure| failure.into_error(NAME))?,
            };
            let mut answer = Answer::new(reply).ok_or_else(corrupt)?;
            match (answer.bytes().flatten().as_deref(), self.who.limit) {
                (Some(b"joined"), _) => return answer.next().map(Joined::Is).ok_or_else(corrupt),
                (Some(b"full"), Some(limit)) => {
                    if let Some(credentials) = self.credentials {
                        match store.load(credentials, Projection::Named(&[]), None).await?.map(drop)
                        {
                            Lookup::Found(()) => {}
                            refused => return Ok(Joined::No(refused)),
                        }
                    }
                    let others = answer.entries().ok_or_else(corrupt)?;
                    self.make_room(store, others, limit).await?;
                }
                _ => return Err(corrupt()),
            }
        }
        Err(StoreError::new(NAME, StoreErrorKind::SessionLimit))
    }

    /// Strikes out what is over, and if that is not enough, does as the limit says.
    async fn make_room<C: RedisClient>(
        &self,
        store: &RedisStore<C>,
        others: Vec<Entry>,
        limit: SessionLimit,
    ) -> Result<(), StoreError> {
        let principal = self.who.principal;
        let loaded = store.load_all(principal, &others, Projection::Named(&[])).await?;
        let over: Vec<&Entry> =
            others.iter().zip(&loaded).filter(|(_, loaded)| loaded.is_none()).map(first).collect();
        if store.leave(principal, &over).await? > 0 {
            return Ok(());
        }
        if limit.on_limit == OnLimit::Reject {
            return Err(StoreError::new(NAME, StoreErrorKind::SessionLimit));
        }
        let mut oldest: Vec<&Entry> = others.iter().collect();
        oldest.sort_by_key(|entry| (entry.joined(), entry.id));
        oldest.truncate((others.len() + 1).saturating_sub(limit.sessions.max(1) as usize));
        for entry in oldest {
            store.end_all(principal, RevokeTarget::One(&entry.id)).await?;
        }
        Ok(())
    }

    /// Makes sure that no revocation came between, or ends the session.
    async fn verify<C: RedisClient>(
        &self,
        store: &RedisStore<C>,
        mark: Bytes,
    ) -> Result<(), StoreError> {
        let principal = self.who.principal;
        let arguments = Arguments::new(3).id(self.id).bytes(mark).ttl(self.listed_for(store));
        let verified = match store.ask_list(&script::VERIFY, principal, arguments).await {
            Ok(Reply::Int(1)) => return Ok(()),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        // Nobody has the secret yet, and nobody shall.
        let ended = store.end_of(principal, self.id).await;
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
    async fn withdraw<C: RedisClient>(&self, store: &RedisStore<C>, mark: Bytes) {
        let arguments = Arguments::new(2).id(self.id).bytes(mark);
        let _ = store.ask_list(&script::WITHDRAW, self.who.principal, arguments).await;
    }

    /// The entry must not be over before its session, which begins later, maybe by another clock.
    fn listed_for<C: RedisClient>(&self, store: &RedisStore<C>) -> Option<Ttl> {
        let longest = self.longest?.as_duration().saturating_add(store.under_way());
        Some(Ttl::new(longest).unwrap_or(Ttl::MAX))
    }
}
