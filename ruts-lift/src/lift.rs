//! [`Lift`]: lifts, ends or keeps the old session of each request. Called by `layer`. Knows
//! cookies, claims and links, and nothing about tower.
//!
//! | the request has | and | then |
//! | --- | --- | --- |
//! | an old session | no request has lifted it | it is lifted |
//! | an old session and the session it became | the old library has written to the old session since the last lift | the changes are lifted |
//! | an old session and the session it became | the old library has not written to the old session since the last lift | nothing changes; after the rollout the old session ends |
//! | an old session | it was lifted for another request | the request gets the session it became |
//! | an old session | the session it became has ended | the old session ends, too |
//! | the session of a user | its old session was signed out | the session ends |

use std::{
    future::Future,
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue, Request, header, request::Parts};
use ruts::{
    Session, SessionLayer,
    auth::PrincipalKey,
    layer::Companion,
    session::{LayerName, TokenStatus},
    store::Store,
};

use crate::{
    claim::{Claimed, Claims, Done, Lease},
    cookies::{self, OldCookie, SetCookie, set_cookie},
    error::Error,
    link::{LINK, Link},
    old::{OldSession, OldSessions},
    requests::{BoxFuture, in_session, look_at_session},
};

/// Time between two checks of a claim that another request holds.
const POLL: Duration = Duration::from_millis(20);
/// Maximum wait for another request, three times the lease of a claim.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whether programs with the old library still serve requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rollout {
    Running,
    Over,
}

/// The settings of a [`LiftLayer`](crate::LiftLayer).
pub(crate) struct Lift<O, F, S, L> {
    pub(crate) sessions: SessionLayer<L>,
    /// Name of the session cookie.
    pub(crate) name: String,
    pub(crate) claims: Claims<S>,
    pub(crate) cookie: OldCookie,
    pub(crate) old: O,
    pub(crate) lift: F,
    pub(crate) rollout: Rollout,
}

/// The work that remains for the response to a request.
#[derive(Default)]
pub(crate) struct Departure {
    /// The id of the live old session of this request. The old session ends if the response ends the ruts
    /// session, or signs its user out.
    old: Option<String>,
    /// The user who was signed in to the ruts session.
    user: Option<PrincipalKey>,
    /// The cookie of the lifted session. The client does not have this cookie yet.
    set_cookie: Option<HeaderValue>,
    /// Whether the response has to remove the old cookie.
    clear: bool,
}

impl Departure {
    /// Returns the headers of the response to a request that failed. A lift may have replaced the secret of
    /// the client's session before it failed.
    pub(crate) fn headers_of_failure(self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(cookie) = self.set_cookie {
            headers.insert(header::SET_COOKIE, cookie);
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
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

    /// Completes the response to the request. Fails if a sign-out did not reach the old session.
    fn depart<'a>(
        &'a self,
        departure: Departure,
        headers: &'a mut HeaderMap,
    ) -> BoxFuture<'a, Result<(), Error>>;
}

/// The session of a request.
struct Seen {
    status: TokenStatus,
    user: Option<PrincipalKey>,
    link: Option<Link>,
}

impl Seen {
    fn is_live(&self) -> bool {
        self.status == TokenStatus::Live
    }

    /// Returns whether the session was lifted from this state of the old session.
    fn is_lifted(&self, old: &OldSession, old_id: &str) -> bool {
        self.link.as_ref().is_some_and(|link| *link == old.link(old_id))
    }

    fn is_linked_to(&self, old_id: &str) -> bool {
        self.link.as_ref().is_some_and(|link| link.id == old_id)
    }
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
            // An old program removes its cookie at a sign-out. So a request without this cookie finds the old
            // session by its link.
            let has_session = cookies::value(&parts.headers, &self.name).is_some();
            if has_session && self.rollout == Rollout::Running {
                let seen = self.look(parts).await?;
                self.follow(parts, seen, departure).await?;
            }
            return Ok(());
        };
        let start = Instant::now();
        loop {
            // The old session is read before the new session. In the other order, a lift that ends in between
            // would look like a sign-out.
            let Some(old) = self.load(&old_id).await? else {
                return self.without_old(parts, &old_id, departure).await;
            };
            let seen = self.look(parts).await?;
            if seen.is_lifted(&old, &old_id) {
                return self.keep(parts, old_id, seen, departure).await;
            }
            if seen.link.is_none() && old.is_empty() {
                return self.forget(&old_id, departure).await;
            }
            let (lease, done) = match self.claims.begin(&old_id).await? {
                Claimed::Mine(lease, done) => (lease, done),
                Claimed::Revoked => {
                    self.end_old(&old_id).await?;
                    departure.clear = true;
                    return Ok(());
                }
                Claimed::Busy if start.elapsed() > PATIENCE => return Err(Error::Busy),
                Claimed::Busy => {
                    tokio::time::sleep(POLL).await;
                    continue;
                }
            };
            // The old session and the ruts session are read again, because another request may have
            // lifted the old session before this request got the lease.
            let (old, seen) = (self.load(&old_id).await?, self.look(parts).await?);
            let old = match old {
                Some(old) if !seen.is_lifted(&old, &old_id) => old,
                _ => {
                    self.claims.release(lease).await?;
                    continue;
                }
            };
            let is_done = match done {
                Some(done) if !seen.is_linked_to(&old_id) => {
                    let again = self.adopt(parts, done, &seen, &old_id, departure).await;
                    self.claims.release(lease).await?;
                    !again?
                }
                // A different host of the domain can set the old cookie. This cookie must not replace the
                // user who is signed in.
                None if self.is_of_another_user(parts, &seen, &old_id).await? => {
                    self.claims.release(lease).await?;
                    self.end_old(&old_id).await?;
                    departure.clear = true;
                    true
                }
                done => {
                    let lease = (lease, done);
                    !self.lift_now(parts, (&old_id, old), seen, lease, departure).await?
                }
            };
            if is_done {
                return Ok(());
            }
        }
    }

    /// Returns whether a user is signed in to the session of the request, and a different user to an old
    /// session that was never lifted. Only the lift function knows the user of the old session. So this
    /// method runs the lift function in a session that ends immediately.
    ///
    /// Returns `false` if the ruts session is linked to a different old session that has ended. In this case,
    /// the old library itself may have signed the different user in, under a new id.
    async fn is_of_another_user(
        &self,
        parts: &Parts,
        seen: &Seen,
        old_id: &str,
    ) -> Result<bool, Error> {
        let Some(user) = seen.user.filter(|_| !seen.is_linked_to(old_id)) else {
            return Ok(false);
        };
        if let Some(link) = &seen.link
            && self.load(&link.id).await?.is_none()
        {
            return Ok(false);
        }
        let Some(old) = self.load(old_id).await? else { return Ok(false) };
        let mut without_session = parts.clone();
        cookies::remove(&mut without_session.headers, &self.name);
        without_session.headers.remove(header::AUTHORIZATION);
        let job = |session: Session| -> BoxFuture<'_, Result<Option<PrincipalKey>, Error>> {
            Box::pin(async move {
                let lifted = (self.lift)(old, session.clone()).await;
                let signed_in = session.signed_in().await?;
                session.delete().await?;
                lifted.map(|()| signed_in.map(|signed_in| signed_in.principal))
            })
        };
        let other = in_session(&self.sessions, &without_session, job).await?.0?;
        Ok(other.is_some_and(|other| other != user))
    }

    async fn load(&self, old_id: &str) -> Result<Option<OldSession>, Error> {
        self.old.load(old_id).await.map_err(Error::Old)
    }

    async fn end_old(&self, old_id: &str) -> Result<(), Error> {
        self.old.delete(old_id).await.map_err(Error::Old)
    }

    /// Reads the session of the request. No round trip without a session cookie.
    async fn look(&self, parts: &Parts) -> Result<Seen, Error> {
        let look = |session: Session| -> BoxFuture<'_, Result<Seen, ruts::Error>> {
            Box::pin(async move {
                let link = session.entry(LINK).await?;
                let user = session.signed_in().await?.map(|signed_in| signed_in.principal);
                Ok(Seen { status: session.token_status().await?, user, link })
            })
        };
        Ok(look_at_session(&self.sessions, parts, look).await??)
    }

    /// Lifts an old session into the session of the request. Returns whether the request has to be
    /// examined again.
    async fn lift_now(
        &self,
        parts: &mut Parts,
        (old_id, mut old): (&str, OldSession),
        seen: Seen,
        (lease, done): (Lease, Option<Done>),
        departure: &mut Departure,
    ) -> Result<bool, Error> {
        old.since(seen.link.as_ref());
        let link = old.link(old_id);
        let job = |session: Session| -> BoxFuture<'_, Result<bool, Error>> {
            Box::pin(async move {
                // In many cases the old library has only extended the lifetime of the old session. Then there
                // is nothing to write.
                if old.has_changes() {
                    (self.lift)(old, session.clone()).await?;
                }
                let has_session = session.verify().await?.is_some();
                if has_session {
                    session.entry(LINK).set(&link).await?;
                }
                Ok(has_session)
            })
        };
        let (lifted, headers) = in_session(&self.sessions, parts, job).await?;
        match lifted {
            Ok(true) => {}
            Ok(false) => {
                self.claims.release(lease).await?;
                self.forget(old_id, departure).await?;
                return Ok(false);
            }
            Err(error) => {
                self.undo(parts, &seen, &headers, departure).await;
                if let Err(error) = self.claims.release(lease).await {
                    tracing::warn!(%error, "the next lift of this session has to wait until the lease expires");
                }
                return Err(error);
            }
        }
        let fresh = match set_cookie(&headers, &self.name) {
            Some(SetCookie::Value(cookie)) => Some(cookie.clone()),
            Some(SetCookie::Removal) | None => None,
        };
        let noted = fresh.clone().or(done.and_then(|done| done.set_cookie));
        let is_mine = self.claims.finish(lease, noted.as_ref()).await?;
        let client_had_none = !seen.is_live();
        if let Some(cookie) = fresh {
            let client_cookies = parts.headers.get_all(header::COOKIE).into_iter().cloned();
            let client_cookies: Vec<HeaderValue> = client_cookies.collect();
            cookies::replace(&mut parts.headers, &self.name, &cookie);
            if !is_mine && client_had_none {
                // This lift took longer than a lease, and another request has lifted the session in that
                // time.
                self.end_session(parts).await?;
                parts.headers.remove(header::COOKIE);
                for cookie in client_cookies {
                    parts.headers.append(header::COOKIE, cookie);
                }
                return Ok(true);
            }
            departure.set_cookie = Some(cookie);
        }
        tracing::info!("an old session was lifted");
        Ok(true)
    }

    /// Ends the session that a failed lift has started, because no client gets its cookie. If the client
    /// already had this session, it stays, and the client gets the cookie.
    async fn undo(
        &self,
        parts: &Parts,
        seen: &Seen,
        headers: &HeaderMap,
        departure: &mut Departure,
    ) {
        let Some(SetCookie::Value(cookie)) = set_cookie(headers, &self.name) else { return };
        if seen.is_live() {
            departure.set_cookie = Some(cookie.clone());
            return;
        }
        let mut parts = parts.clone();
        cookies::replace(&mut parts.headers, &self.name, cookie);
        if let Err(error) = self.end_session(&parts).await {
            tracing::warn!(%error, "the session of a failed lift stays until it expires");
        }
    }

    /// Gives the request the session that another request has lifted. Returns whether the request has to be
    /// examined again.
    async fn adopt(
        &self,
        parts: &mut Parts,
        done: Done,
        seen: &Seen,
        old_id: &str,
        departure: &mut Departure,
    ) -> Result<bool, Error> {
        if seen.is_live() {
            // The client already has a different session: for example, a different user has signed
            // in.
            self.end_old(old_id).await?;
            departure.clear = true;
            return Ok(false);
        }
        let Some(cookie) = done.set_cookie else { return Ok(false) };
        match self.look_with(parts, &cookie).await? {
            (lifted, with_cookie) if lifted.is_live() => {
                *parts = with_cookie;
                departure.set_cookie = Some(cookie);
                Ok(true)
            }
            // The secret has been replaced since. Only the response to the request that replaced
            // the secret carries the new secret.
            (Seen { status: TokenStatus::Replaced { .. }, .. }, _) => Ok(false),
            // The session was signed out or revoked, or it has expired. The old session must not revive it.
            _ => {
                self.end_old(old_id).await?;
                departure.clear = true;
                Ok(false)
            }
        }
    }

    async fn look_with(&self, parts: &Parts, cookie: &HeaderValue) -> Result<(Seen, Parts), Error> {
        let mut parts = parts.clone();
        cookies::replace(&mut parts.headers, &self.name, cookie);
        Ok((self.look(&parts).await?, parts))
    }

    /// Handles a request whose session has every value of the old session.
    async fn keep(
        &self,
        parts: &Parts,
        old_id: String,
        seen: Seen,
        departure: &mut Departure,
    ) -> Result<(), Error> {
        match self.rollout {
            Rollout::Running => (departure.old, departure.user) = (Some(old_id), seen.user),
            Rollout::Over => {
                // The link is removed first, because to other requests, a link to a missing old session
                // means a sign-out.
                self.unlink(parts).await?;
                self.end_old(&old_id).await?;
                departure.clear = true;
            }
        }
        Ok(())
    }

    /// Handles an old session without values to lift. During the rollout it stays, because an old program may
    /// still write such values.
    async fn forget(&self, old_id: &str, departure: &mut Departure) -> Result<(), Error> {
        if self.rollout == Rollout::Over {
            self.end_old(old_id).await?;
            departure.clear = true;
        }
        Ok(())
    }

    /// Handles a request whose old cookie names no live old session.
    async fn without_old(
        &self,
        parts: &mut Parts,
        old_id: &str,
        departure: &mut Departure,
    ) -> Result<(), Error> {
        departure.clear = self.rollout == Rollout::Over;
        let mut seen = self.look(parts).await?;
        // Another request may have lifted the old session and ended it. Then the claim holds the cookie of
        // the lifted session.
        if !seen.is_live()
            && let Some(cookie) = self.claims.find(old_id).await?.and_then(|done| done.set_cookie)
        {
            let (lifted, with_cookie) = self.look_with(parts, &cookie).await?;
            if lifted.is_live() {
                *parts = with_cookie;
                departure.set_cookie = Some(cookie);
                seen = lifted;
            }
        }
        self.follow(parts, seen, departure).await
    }

    /// Ends the session of a request if the old session that it is linked to was signed out.
    ///
    /// The session of a guest stays: the old program may be signing the guest in, under a different
    /// id.
    async fn follow(
        &self,
        parts: &Parts,
        Seen { link, user, .. }: Seen,
        departure: &mut Departure,
    ) -> Result<(), Error> {
        let Some(link) = link else { return Ok(()) };
        if self.load(&link.id).await?.is_some() {
            (departure.old, departure.user) = (Some(link.id), user);
            return Ok(());
        }
        if link.has_expired() {
            return self.unlink(parts).await;
        }
        let end = |session: Session| -> BoxFuture<'_, Result<bool, ruts::Error>> {
            Box::pin(async move {
                // The link is read again, after the old session. If another request ends the old session, it
                // removes the link first. So a link that is still there means a sign-out.
                let now = session.entry(LINK).await?;
                let is_meant = now.is_some_and(|now| now.id == link.id)
                    && session.signed_in().await?.is_some();
                if is_meant {
                    session.delete().await?;
                }
                Ok(is_meant)
            })
        };
        if in_session(&self.sessions, parts, end).await?.0? {
            tracing::info!("a session ends, because its old session was signed out or has expired");
        }
        Ok(())
    }

    async fn unlink(&self, parts: &Parts) -> Result<(), Error> {
        let unlink = |session: Session| -> BoxFuture<'_, Result<bool, ruts::Error>> {
            Box::pin(async move { session.entry(LINK).remove().await })
        };
        match in_session(&self.sessions, parts, unlink).await?.0 {
            // If the session has ended, nothing is left to unlink.
            Ok(_) | Err(ruts::Error::Ended) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn end_session(&self, parts: &Parts) -> Result<(), Error> {
        let end = |session: Session| -> BoxFuture<'_, Result<(), ruts::Error>> {
            Box::pin(async move { session.delete().await })
        };
        Ok(in_session(&self.sessions, parts, end).await?.0?)
    }

    async fn complete(&self, departure: Departure, headers: &mut HeaderMap) -> Result<(), Error> {
        let Departure { old, user, set_cookie: lifted, mut clear } = departure;
        match (set_cookie(headers, &self.name), old, lifted) {
            (Some(SetCookie::Removal), Some(old_id), _) => {
                self.end_old(&old_id).await?;
                clear = true;
            }
            (Some(SetCookie::Value(cookie)), Some(old_id), _) => {
                let cookie = cookie.clone();
                if self.has_signed_out(user, &cookie).await? {
                    self.end_old(&old_id).await?;
                    clear = true;
                } else {
                    // If the client loses this cookie, it gets the cookie again when it presents its old
                    // cookie.
                    self.claims.renew(&old_id, &cookie).await?;
                }
            }
            (None, _, Some(cookie)) => {
                headers.append(header::SET_COOKIE, cookie);
                headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            }
            _ => {}
        }
        if clear {
            self.cookie.clear(headers);
        }
        Ok(())
    }

    /// Returns whether the user is no longer signed in to the session of a cookie.
    async fn has_signed_out(
        &self,
        user: Option<PrincipalKey>,
        cookie: &HeaderValue,
    ) -> Result<bool, Error> {
        if user.is_none() {
            return Ok(false);
        }
        let mut parts = Request::new(()).into_parts().0;
        cookies::replace(&mut parts.headers, &self.name, cookie);
        let look = |session: Session| -> BoxFuture<'_, Result<bool, ruts::Error>> {
            Box::pin(async move { Ok(session.signed_in().await?.is_none()) })
        };
        let is_guest = look_at_session(&self.sessions, &parts, look).await??;
        if is_guest {
            // The link is removed first, because to other requests, a link to a missing old session means a
            // sign-out.
            self.unlink(&parts).await?;
        }
        Ok(is_guest)
    }
}
