//! [`Lift`]: lifts, ends or keeps the old session of each request. Called by `layer`. Knows
//! cookies, claims and links, and nothing about tower.
//!
//! | the request has | and | then |
//! | --- | --- | --- |
//! | an old session | no request has lifted it | it is lifted |
//! | an old session | its lift was refused | the request continues without it |
//! | an old session and the session it became | the old library has written to the old session since the last lift | the changes are lifted |
//! | an old session and the session it became | the old library has not written to the old session since the last lift | nothing changes; after the rollout the old session ends |
//! | an old session and the session it became | the user has signed in or stepped up in ruts since | the old session ends |
//! | an old session | it was lifted for another request | the request gets the session it became |
//! | an old session | the session it became has ended | the old session ends, too |
//! | an old session and the session of a user who was not lifted from it | it names the same user | it is lifted |
//! | an old session and the session of a user who was not lifted from it | it names a different user | the old session ends |
//! | an old session and the session of a user who was not lifted from it | it names no user | it is ignored; after the rollout it ends |
//! | the session of a user | its old session was signed out | the session ends |
//!
//! Any host of the domain can set the old cookie, and an attacker knows the old cookies of their
//! own sessions. So the old cookie opens a session only while [`Seen::opens_with`] is true.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue, request::Parts};
use ruts::{
    Session,
    auth::PrincipalKey,
    layer::Companion,
    session::{LayerName, TokenStatus},
    store::{Expiry, Store},
    token::SessionId,
};

use crate::{
    claim::{Claimed, Claims, Done, Outcome},
    cookies::{self, OldCookie, SetCookie, set_cookie},
    error::Error,
    link::{Digest, LINK, Link, OldState, SignIn},
    old::{OldSession, OldSessions},
    requests::BoxFuture,
    seen::Seen,
    sessions::Sessions,
};

/// Time between two checks of a claim that another request holds.
const POLL: Duration = Duration::from_millis(20);
/// Maximum wait for another request, three times the lease of a claim.
const PATIENCE: Duration = Duration::from_secs(30);
/// Maximum number of lifts for one request. An attacker who has planted an old cookie can write to
/// the old session again and again, so that each lift leaves another change.
const LIFTS: u8 = 3;
/// Stands for the state of an old session that cannot be decoded.
const UNREADABLE: Digest = [0; 2];

/// Whether programs with the old library still serve requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rollout {
    Running,
    Over,
}

/// The settings of a [`LiftLayer`](crate::LiftLayer).
pub(crate) struct Lift<O, F, S, L> {
    pub(crate) sessions: Sessions<L>,
    pub(crate) claims: Claims<S>,
    pub(crate) cookie: OldCookie,
    pub(crate) old: O,
    pub(crate) lift: F,
    pub(crate) rollout: Rollout,
}

/// The work that remains for the response to a request.
#[derive(Default)]
pub(crate) struct Departure {
    /// The live old sessions of this request: one that its cookie names, and one that its session
    /// was lifted from.
    old: Vec<KeptOld>,
    /// Number of lifts that this request has begun.
    lifts: u8,
    /// The cookie of the lifted session. The client does not have this cookie yet.
    set_cookie: Option<HeaderValue>,
    /// Whether the response has to remove the old cookie.
    clear: bool,
}

/// An old session that stays live during a request. It ends if the response ends the ruts session
/// or changes its sign-in.
struct KeptOld {
    id: String,
    /// Whether the ruts session was lifted from it.
    is_linked: bool,
    /// The user who was signed in to the ruts session.
    user: Option<PrincipalKey>,
    /// The request, for the checks of the client.
    parts: Parts,
}

impl KeptOld {
    fn new(id: &str, seen: &Seen, parts: &Parts) -> Self {
        let is_linked = seen.link_to(id).is_some();
        Self { id: id.to_owned(), is_linked, user: seen.user(), parts: parts.clone() }
    }
}

/// The next step of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// The sessions may have changed, so the request has to be examined again.
    Again,
    /// The application can handle the request.
    Ready,
}

/// The result of the work under a lease.
struct Lifted {
    next: Next,
    outcome: Outcome,
    /// The cookie of the session, if the lift has changed it.
    cookie: Option<HeaderValue>,
    /// Whether the lift has started the session.
    is_new: bool,
}

impl Lifted {
    /// Nothing was lifted.
    fn not(next: Next) -> Self {
        Self { next, outcome: Outcome::Unchanged, cookie: None, is_new: false }
    }
}

impl Departure {
    /// Returns the headers of the response to a request that failed. A lift may have replaced the
    /// secret of the client's session before it failed.
    pub(crate) fn headers_of_failure(self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(cookie) = self.set_cookie {
            cookies::add_set_cookie(&mut headers, cookie);
        }
        headers
    }
}

/// A [`Lift`] as a trait object.
pub(crate) trait DynLift: Send + Sync {
    /// Prepares a request.
    fn arrive<'a>(
        &'a self,
        parts: &'a mut Parts,
        departure: &'a mut Departure,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// Completes the response to the request. Fails if a sign-in or sign-out did not reach the old
    /// session.
    fn depart<'a>(
        &'a self,
        departure: Departure,
        headers: &'a mut HeaderMap,
    ) -> BoxFuture<'a, Result<(), Error>>;
}

impl<O, F, R, S, L> DynLift for Lift<O, F, S, L>
where
    O: OldSessions,
    F: Fn(OldSession, Session) -> R + Send + Sync,
    R: Future<Output = Result<(), Error>> + Send + 'static,
    S: Store,
    L: LayerName,
{
    fn arrive<'a>(
        &'a self,
        parts: &'a mut Parts,
        departure: &'a mut Departure,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            self.prepare(parts, departure).await?;
            parts.extensions.insert(Companion::Acts);
            Ok(())
        })
    }

    fn depart<'a>(
        &'a self,
        departure: Departure,
        headers: &'a mut HeaderMap,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.complete(departure, headers))
    }
}

impl<O, F, R, S, L> Lift<O, F, S, L>
where
    O: OldSessions,
    F: Fn(OldSession, Session) -> R + Send + Sync,
    R: Future<Output = Result<(), Error>> + Send + 'static,
    S: Store,
    L: LayerName,
{
    async fn prepare(&self, parts: &mut Parts, departure: &mut Departure) -> Result<(), Error> {
        let Some(old_id) = self.cookie.read(&parts.headers) else {
            // An old program removes its cookie at a sign-out. So a request without this cookie
            // finds the old session by its link.
            let has_session = cookies::value(&parts.headers, &self.sessions.name).is_some();
            if has_session && self.rollout == Rollout::Running {
                let seen = self.sessions.look(parts).await?;
                self.follow(parts, seen, departure).await?;
            }
            return Ok(());
        };
        let start = Instant::now();
        while self.examine(parts, &old_id, departure).await? == Next::Again {
            if start.elapsed() > PATIENCE {
                return Err(Error::Busy);
            }
        }
        Ok(())
    }

    async fn examine(
        &self,
        parts: &mut Parts,
        old_id: &str,
        departure: &mut Departure,
    ) -> Result<Next, Error> {
        // The old session is read before the new session. In the other order, a lift that ends in
        // between would look like a sign-out.
        let (state, examined) = match self.load(old_id).await {
            Ok(Some(old)) => {
                let state = old.state(old_id);
                (state.digest(), self.lift_if_due(parts, (old, state), departure).await)
            }
            Ok(None) => {
                self.without_old(parts, old_id, departure).await?;
                return Ok(Next::Ready);
            }
            Err(error) => (UNREADABLE, Err(error)),
        };
        match examined {
            Err(error) if error.is_refusal() => {
                self.refuse(old_id, state, error).await?;
                self.leave(parts, old_id, departure).await
            }
            examined => examined,
        }
    }

    async fn lift_if_due(
        &self,
        parts: &mut Parts,
        (old, state): (OldSession, OldState),
        departure: &mut Departure,
    ) -> Result<Next, Error> {
        let old_id = &*state.id;
        let seen = self.sessions.look(parts).await?;
        if seen.is_lifted(&state) {
            return self.keep(parts, old_id, seen, departure).await;
        }
        if seen.link.is_none() && old.is_empty() {
            return self.forget(parts, old_id, &seen, departure).await;
        }
        if departure.lifts == LIFTS || self.claims.is_refused(old_id, state.digest()).await? {
            return self.leave(parts, old_id, departure).await;
        }
        let linked = seen.link_to(old_id).is_some();
        let user = seen.user();
        if user.is_some() && (!linked || seen.has_own_sign_in()) {
            // A different host of the domain can set the old cookie. So an old session that does
            // not name the signed-in user must not get near the user's session.
            let mut tried = old;
            if linked {
                tried.since(seen.link.as_ref());
            }
            let named = self.user_named_by(parts, tried).await?;
            if linked && named.is_some() {
                return self.retire(parts, old_id, departure).await;
            }
            if !linked && named != user {
                return self.reject(parts, old_id, seen, named.is_some(), departure).await;
            }
        }
        self.lift_once(parts, &state, user, departure).await
    }

    /// Returns the user whom the lift of an old session would sign in. Only the lift function knows
    /// this user. So it runs with a store that holds nothing and is dropped afterwards.
    async fn user_named_by(
        &self,
        parts: &Parts,
        old: OldSession,
    ) -> Result<Option<PrincipalKey>, Error> {
        let job = |session: Session| -> BoxFuture<'_, Result<Option<PrincipalKey>, Error>> {
            Box::pin(async move {
                (self.lift)(old, session.clone()).await?;
                Ok(session.signed_in().await?.map(|signed_in| signed_in.principal))
            })
        };
        self.sessions.try_out(parts, job).await?
    }

    /// Handles an old session that does not name the user of the session.
    async fn reject(
        &self,
        parts: &mut Parts,
        old_id: &str,
        seen: Seen,
        names_user: bool,
        departure: &mut Departure,
    ) -> Result<Next, Error> {
        if self.follow(parts, seen, departure).await? {
            // The old library has signed the user out, and has started the old session since.
            self.sessions.forget(parts);
            return Ok(Next::Again);
        }
        match names_user || self.rollout == Rollout::Over {
            true => self.end(old_id, departure).await,
            false => Ok(Next::Ready),
        }
    }

    /// Notes that an old session in this state cannot be lifted, so that it is not tried at each
    /// request.
    async fn refuse(&self, old_id: &str, state: Digest, error: Error) -> Result<(), Error> {
        if !error.is_of_request() {
            if self.claims.is_refused(old_id, state).await? {
                return Ok(());
            }
            if let Claimed::Mine(lease, _) = self.claims.begin(old_id).await? {
                self.claims.finish(&lease, &Outcome::Refused(state)).await?;
            }
        }
        let cause: &dyn std::error::Error = &error;
        match error.is_of_request() {
            true => tracing::debug!(error = cause, "this request cannot lift an old session"),
            false => tracing::error!(
                error = cause,
                "an old session cannot be lifted: its requests continue without it"
            ),
        }
        Ok(())
    }

    /// Leaves an old session as it is. The session of the request still follows the old session
    /// that it was lifted from.
    async fn leave(
        &self,
        parts: &mut Parts,
        old_id: &str,
        departure: &mut Departure,
    ) -> Result<Next, Error> {
        let seen = self.sessions.look(parts).await?;
        let is_linked = seen.link_to(old_id).is_some();
        if is_linked && seen.has_own_sign_in() {
            return self.retire(parts, old_id, departure).await;
        }
        let kept = KeptOld::new(old_id, &seen, parts);
        if !is_linked && self.follow(parts, seen, departure).await? {
            // The session has ended, so the request has to be examined without it.
            self.sessions.forget(parts);
            return Ok(Next::Again);
        }
        departure.old.push(kept);
        Ok(Next::Ready)
    }

    async fn load(&self, old_id: &str) -> Result<Option<OldSession>, Error> {
        self.old.load(old_id).await.map_err(Error::Old)
    }

    /// Returns whether the old session can be read and has changed since the lift.
    async fn has_news(&self, old_id: &str, seen: &Seen) -> Result<bool, Error> {
        match self.load(old_id).await {
            Err(error) if error.is_refusal() => Ok(false),
            old => Ok(old?.is_some_and(|old| !seen.is_lifted(&old.state(old_id)))),
        }
    }

    async fn end_old(&self, old_id: &str) -> Result<(), Error> {
        self.old.delete(old_id).await.map_err(Error::Old)
    }

    /// Lifts an old session, unless another request is lifting it or has lifted it. `user` is
    /// signed in to the session that gets the values.
    async fn lift_once(
        &self,
        parts: &mut Parts,
        state: &OldState,
        user: Option<PrincipalKey>,
        departure: &mut Departure,
    ) -> Result<Next, Error> {
        let (lease, done) = match self.claims.begin(&state.id).await? {
            Claimed::Mine(lease, done) => (lease, done),
            Claimed::Busy => {
                tokio::time::sleep(POLL).await;
                return Ok(Next::Again);
            }
            Claimed::Revoked => return self.end(&state.id, departure).await,
        };
        departure.lifts += 1;
        // No code between here and `finish` returns early, so that no failure keeps the lease.
        let lifted = self.lift_claimed(parts, state, user, done, departure).await;
        let outcome = lifted.as_ref().map_or(&Outcome::Unchanged, |lifted| &lifted.outcome);
        let finished = self.claims.finish(&lease, outcome).await;
        let Lifted { next, cookie, is_new, .. } = match (lifted, &finished) {
            (Err(error), Err(cause)) => {
                tracing::warn!(%cause, "the next lift of this session has to wait until the lease expires");
                return Err(error);
            }
            (lifted, _) => lifted?,
        };
        if let Some(cookie) = cookie {
            let with_cookie = self.sessions.with_cookie(parts, &cookie);
            if is_new && matches!(finished, Ok(false)) {
                // This lift took longer than a lease, and another request has lifted the session in
                // that time.
                self.sessions.end(&with_cookie).await?;
                return Ok(Next::Again);
            }
            *parts = with_cookie;
            departure.set_cookie = Some(cookie);
        }
        finished.map(|_| next)
    }

    /// Lifts an old session under a lease, if its state and the user of the session are still the
    /// same.
    async fn lift_claimed(
        &self,
        parts: &mut Parts,
        state: &OldState,
        user: Option<PrincipalKey>,
        done: Option<Done>,
        departure: &mut Departure,
    ) -> Result<Lifted, Error> {
        let old_id = &*state.id;
        // Another request may have lifted the old session before this request got the lease.
        let (old, seen) = (self.load(old_id).await?, self.sessions.look(parts).await?);
        let is_due = |old: &OldSession| {
            let now = old.state(old_id);
            now.digests == state.digests && seen.user() == user && !seen.is_lifted(&now)
        };
        let Some(old) = old.filter(is_due) else { return Ok(Lifted::not(Next::Again)) };
        let has_cookie = matches!(done, Some(Done::Opens(_)));
        match done {
            Some(Done::Closed) => return self.end(old_id, departure).await.map(Lifted::not),
            Some(done) if seen.link_to(old_id).is_none() => {
                if let Some(next) = self.adopt(parts, done, &seen, old_id, departure).await? {
                    return Ok(Lifted::not(next));
                }
            }
            _ => {}
        }
        self.lift_into(parts, old_id, old, seen, has_cookie, departure).await
    }

    /// Lifts an old session into the session of the request.
    async fn lift_into(
        &self,
        parts: &mut Parts,
        old_id: &str,
        mut old: OldSession,
        seen: Seen,
        has_cookie: bool,
        departure: &mut Departure,
    ) -> Result<Lifted, Error> {
        old.since(seen.link.as_ref());
        let mut state = old.state(old_id);
        let (is_new, before) = (!seen.is_live(), seen.sign_in);
        let has_own_sign_in = seen.has_own_sign_in();
        // Whether a lift has signed the user in, perhaps from an old session with a different id.
        let was_opened = seen.link.as_ref().is_some_and(|link| link.opens) && !has_own_sign_in;
        let former = seen.link.filter(|link| link.old.id == old_id);
        let job = |session: Session| -> BoxFuture<'_, Result<Option<(bool, SessionId)>, Error>> {
            Box::pin(async move {
                // In many cases the old library has only extended the lifetime of the old session.
                // Then there is nothing to write.
                let lifted = match old.has_changes() {
                    true => (self.lift)(old, session.clone()).await,
                    false => Ok(()),
                };
                if is_new && lifted.is_err() {
                    return lifted.map(|()| None);
                }
                let Some(meta) = session.metadata().await? else { return lifted.map(|()| None) };
                let now = SignIn::of(&meta);
                let is_same = now.zip(before).is_some_and(|(now, before)| now.is(&before));
                let has_signed_in = now.is_some() && !is_same;
                // The old cookie must not open a session whose user had signed in in ruts, even if
                // the lift has signed this user in again.
                let mut opens = is_new || if before.is_some() { was_opened } else { has_signed_in };
                // The level of `now` may be lower, because of the client. So the link keeps the
                // sign-in of `before`, which was read without a check of the client.
                let mut sign_in = if is_same { before } else { now };
                if let Some(former) = &former
                    && !has_signed_in
                {
                    (sign_in, opens) = (former.sign_in, former.opens && !has_own_sign_in);
                }
                if lifted.is_err() {
                    // The lift may have signed the user in before it failed. The link then lets a
                    // sign-out end both sessions, and the next lift tries all values again.
                    state.digests = former.map(|former| former.old.digests).unwrap_or_default();
                }
                let link = Link { old: state, sign_in, opens, moved: false };
                session.entry(LINK).set(&link).await?;
                lifted.map(|()| session.id().map(|id| (opens, id)))
            })
        };
        let (lifted, headers) = self.sessions.run(parts, job).await?;
        let cookie = match set_cookie(&headers, &self.sessions.name) {
            Some(SetCookie::Value(cookie)) => Some(cookie.clone()),
            Some(SetCookie::Removal) | None => None,
        };
        let (opens, id) = match lifted {
            Ok(Some(lifted)) => lifted,
            Ok(None) => {
                let seen = self.sessions.look(parts).await?;
                return self.forget(parts, old_id, &seen, departure).await.map(Lifted::not);
            }
            Err(error) => {
                self.undo(parts, is_new, cookie, departure).await;
                return Err(error);
            }
        };
        let outcome = match &cookie {
            Some(cookie) if opens => Outcome::Done(Done::Opens(cookie.clone())),
            _ if has_cookie => Outcome::Unchanged,
            _ => Outcome::Done(Done::Joined(id)),
        };
        tracing::info!("an old session was lifted");
        Ok(Lifted { next: Next::Again, outcome, cookie, is_new })
    }

    /// Ends the session that a failed lift has started, because no client gets its cookie. If the
    /// client already had this session, it stays, and the client gets the cookie.
    async fn undo(
        &self,
        parts: &mut Parts,
        is_new: bool,
        cookie: Option<HeaderValue>,
        departure: &mut Departure,
    ) {
        let Some(cookie) = cookie else { return };
        let with_cookie = self.sessions.with_cookie(parts, &cookie);
        if !is_new {
            *parts = with_cookie;
            departure.set_cookie = Some(cookie);
        } else if let Err(error) = self.sessions.end(&with_cookie).await {
            tracing::warn!(%error, "the session of a failed lift stays until it expires");
        }
    }

    /// Gives the request the session that another request has lifted. `None` if the old session has
    /// to be lifted again.
    async fn adopt(
        &self,
        parts: &mut Parts,
        done: Done,
        seen: &Seen,
        old_id: &str,
        departure: &mut Departure,
    ) -> Result<Option<Next>, Error> {
        let (status, opens) = match done {
            Done::Opens(cookie) => {
                let with_cookie = self.sessions.with_cookie(parts, &cookie);
                let lifted = self.sessions.look(&with_cookie).await?;
                let opens = lifted.opens_with(old_id);
                if opens && !seen.is_live() {
                    *parts = with_cookie;
                    departure.set_cookie = Some(cookie);
                    return Ok(Some(Next::Again));
                }
                (lifted.status, opens)
            }
            Done::Joined(id) => (self.claims.status(&id).await?, true),
            Done::Closed => return self.end(old_id, departure).await.map(Some),
        };
        match status {
            // The client has a session of its own, for example because it has lost a cookie. That
            // session gets the values, too.
            TokenStatus::Live if opens => Ok(None),
            // The secret has been replaced since. Only the response to the request that replaced
            // the secret carries the new secret.
            TokenStatus::Replaced { .. } => Ok(None),
            // The user may have been active at old instances since, which do not extend the
            // session.
            TokenStatus::Expired { by: Some(Expiry::Idle) } if self.rollout == Rollout::Running => {
                Ok(None)
            }
            // The session was signed out or revoked, or it has expired. The old session must not
            // revive it.
            _ => self.end(old_id, departure).await.map(Some),
        }
    }

    /// Handles a request whose session has every value of the old session.
    async fn keep(
        &self,
        parts: &Parts,
        old_id: &str,
        seen: Seen,
        departure: &mut Departure,
    ) -> Result<Next, Error> {
        if seen.has_own_sign_in() {
            return self.retire(parts, old_id, departure).await;
        }
        match self.rollout {
            Rollout::Running => departure.old.push(KeptOld::new(old_id, &seen, parts)),
            // The link is marked first, because to other requests, a link to a missing old session
            // means a sign-out. If another request has replaced the secret of the session, that
            // request ends the old session.
            Rollout::Over if self.sessions.mark_moved(parts).await? => {
                self.claims.hand_over(old_id).await?;
                return self.end(old_id, departure).await;
            }
            Rollout::Over => {}
        }
        Ok(Next::Ready)
    }

    /// Handles an old session without values to lift. During the rollout it stays, because an old
    /// program may still write such values.
    async fn forget(
        &self,
        parts: &Parts,
        old_id: &str,
        seen: &Seen,
        departure: &mut Departure,
    ) -> Result<Next, Error> {
        match self.rollout {
            Rollout::Running => departure.old.push(KeptOld::new(old_id, seen, parts)),
            Rollout::Over => return self.end(old_id, departure).await,
        }
        Ok(Next::Ready)
    }

    /// Ends an old session and removes its cookie.
    async fn end(&self, old_id: &str, departure: &mut Departure) -> Result<Next, Error> {
        self.end_old(old_id).await?;
        departure.clear = true;
        Ok(Next::Ready)
    }

    /// Ends the old session of a session with a sign-in of its own, which the old cookie must not
    /// open.
    async fn retire(
        &self,
        parts: &Parts,
        old_id: &str,
        departure: &mut Departure,
    ) -> Result<Next, Error> {
        self.retire_old(parts, old_id).await?;
        departure.clear = true;
        Ok(Next::Ready)
    }

    async fn retire_old(&self, parts: &Parts, old_id: &str) -> Result<(), Error> {
        // The claim is closed first. So if a later step fails, no request lifts the old session
        // again.
        self.claims.close(old_id).await?;
        self.end_old(old_id).await?;
        self.sessions.unlink(parts).await
    }

    /// Handles a request whose old cookie names no live old session.
    async fn without_old(
        &self,
        parts: &mut Parts,
        old_id: &str,
        departure: &mut Departure,
    ) -> Result<(), Error> {
        departure.clear = self.rollout == Rollout::Over;
        let seen = self.sessions.look(parts).await?;
        if !seen.is_live()
            && let Some(Done::Opens(cookie)) = self.claims.find(old_id).await?
        {
            let with_cookie = self.sessions.with_cookie(parts, &cookie);
            let lifted = self.sessions.look(&with_cookie).await?;
            if !lifted.opens_with(old_id) {
                return Ok(());
            }
            // The old session was signed out or has expired, unless another request has lifted and
            // ended it. Only in the last case may its cookie still open the session.
            if lifted.link_to(old_id).is_some_and(|link| link.moved) {
                *parts = with_cookie;
                departure.set_cookie = Some(cookie);
            } else {
                self.follow(&with_cookie, lifted, &mut Departure::default()).await?;
            }
            return Ok(());
        }
        self.follow(parts, seen, departure).await.map(drop)
    }

    /// Ends the session of a request if the old session that it is linked to was signed out.
    /// Returns whether it has ended.
    ///
    /// The session of a guest stays: the old program may be signing the guest in, under a different
    /// id.
    async fn follow(
        &self,
        parts: &Parts,
        seen: Seen,
        departure: &mut Departure,
    ) -> Result<bool, Error> {
        let Some(link) = seen.link.as_ref().filter(|link| !link.moved) else { return Ok(false) };
        let old_id = &*link.old.id;
        let is_missing = match self.load(old_id).await {
            Ok(old) => old.is_none(),
            Err(error) if error.is_refusal() => false,
            Err(error) => return Err(error),
        };
        match (is_missing, seen.has_own_sign_in()) {
            (false, true) => self.retire_old(parts, old_id).await?,
            (false, false) => departure.old.push(KeptOld::new(old_id, &seen, parts)),
            (true, true) => self.sessions.unlink(parts).await?,
            (true, false) if link.old.has_expired() => self.sessions.unlink(parts).await?,
            (true, false) => return self.sessions.end_signed_out(parts, old_id).await,
        }
        Ok(false)
    }

    async fn complete(&self, departure: Departure, headers: &mut HeaderMap) -> Result<(), Error> {
        let Departure { old, set_cookie: lifted, mut clear, .. } = departure;
        match (set_cookie(headers, &self.sessions.name), lifted) {
            (Some(SetCookie::Removal), _) => {
                for KeptOld { id, .. } in &old {
                    self.claims.close(id).await?;
                    self.end_old(id).await?;
                    clear = true;
                }
            }
            (Some(SetCookie::Value(cookie)), _) => {
                for old in &old {
                    clear |= self.settle(old, cookie).await?;
                }
            }
            (None, Some(cookie)) => cookies::add_set_cookie(headers, cookie),
            (None, None) => {}
        }
        if clear {
            self.cookie.clear(headers);
        }
        Ok(())
    }

    /// Handles a response that changes the secret of the session. Returns whether the old session
    /// has ended.
    async fn settle(&self, old: &KeptOld, cookie: &HeaderValue) -> Result<bool, Error> {
        let parts = self.sessions.with_cookie(&old.parts, cookie);
        let seen = self.sessions.look(&parts).await?;
        if seen.link_to(&old.id).is_some() && !seen.has_own_sign_in() {
            // If the client loses this cookie, it gets the cookie again when it presents its old
            // cookie.
            if seen.opens_with(&old.id) {
                self.claims.renew(&old.id, cookie.clone()).await?;
            }
            return Ok(false);
        }
        if !old.is_linked && seen.user() == old.user {
            return Ok(false);
        }
        // An old instance may have written to a guest's old session during the request that signed
        // the guest in. The next request lifts this write, and then ends the old session.
        if old.user.is_none()
            && seen.link_to(&old.id).is_some()
            && self.has_news(&old.id, &seen).await?
        {
            return Ok(false);
        }
        self.retire_old(&parts, &old.id).await?;
        Ok(true)
    }
}
