//! [`Lift`]: decides for each request what becomes of its old session.
//!
//! | the request has | and | then |
//! | --- | --- | --- |
//! | an old session | no request has lifted it | it is lifted |
//! | an old session and the session it became | the old one was written since the last lift | the changes are lifted |
//! | an old session and the session it became | the old one was not written since | nothing; after the rollout the old one ends |
//! | an old session | it was lifted for another request | the request gets the session it became |
//! | an old session | the session it became has ended | the old one ends too |
//! | the session of a user | its old one was signed out | the session ends |

use std::{
    future::Future,
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue, header, request::Parts};
use ruts::{
    Session, SessionLayer,
    session::{LayerName, TokenStatus},
    store::Store,
};

use crate::{
    claim::{Claimed, Claims, Done, Lease},
    cookies::{self, OldCookie, SetCookie, set_cookie},
    error::Error,
    link::{LINK, Link},
    old::{OldSession, OldSessions},
    requests::{BoxFuture, in_session},
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

/// The work that is left for the response of a request.
#[derive(Default)]
pub(crate) struct Departure {
    /// The id of the live old session of this request. It ends if the response ends the session of
    /// ruts.
    old: Option<String>,
    /// The cookie of the lifted session, which the client does not have yet.
    set_cookie: Option<HeaderValue>,
    /// The old cookie is to be cleared.
    clear: bool,
}

/// A [`Lift`] as a trait object.
pub(crate) trait DynLift: Send + Sync {
    /// Prepares a request.
    fn arrive<'a>(&'a self, parts: &'a mut Parts) -> BoxFuture<'a, Result<Departure, Error>>;

    /// Completes the response to the request.
    fn depart<'a>(&'a self, departure: Departure, headers: &'a mut HeaderMap) -> BoxFuture<'a, ()>;
}

/// The session of a request.
struct Seen {
    status: TokenStatus,
    link: Option<Link>,
}

impl Seen {
    fn is_live(&self) -> bool {
        self.status == TokenStatus::Live
    }

    /// Returns whether the session was lifted from this state of the old one.
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
    fn arrive<'a>(&'a self, parts: &'a mut Parts) -> BoxFuture<'a, Result<Departure, Error>> {
        Box::pin(self.prepare(parts))
    }

    fn depart<'a>(&'a self, departure: Departure, headers: &'a mut HeaderMap) -> BoxFuture<'a, ()> {
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
    async fn prepare(&self, parts: &mut Parts) -> Result<Departure, Error> {
        let mut departure = Departure::default();
        let Some(old_id) = self.cookie.read(&parts.headers) else {
            // An old program removes its cookie at a sign-out, so the link is used to find the old session.
            let has_session = cookies::value(&parts.headers, &self.name).is_some();
            if has_session && self.rollout == Rollout::Running {
                let link = self.look(parts).await?.link;
                self.follow(parts, link, &mut departure).await?;
            }
            return Ok(departure);
        };
        let start = Instant::now();
        loop {
            // The old session is read before the new one. In the other order, a lift that ends in between
            // would look like a sign-out.
            let Some(old) = self.load(&old_id).await? else {
                self.without_old(parts, &old_id, &mut departure).await?;
                return Ok(departure);
            };
            let seen = self.look(parts).await?;
            if seen.is_lifted(&old, &old_id) {
                self.keep(parts, old_id, &mut departure).await?;
                return Ok(departure);
            }
            if seen.link.is_none() && old.is_empty() {
                self.forget(&old_id, &mut departure).await?;
                return Ok(departure);
            }
            let (lease, done) = match self.claims.begin(&old_id).await? {
                Claimed::Mine(lease, done) => (lease, done),
                Claimed::Revoked => {
                    self.end_old(&old_id).await?;
                    departure.clear = true;
                    return Ok(departure);
                }
                Claimed::Busy if start.elapsed() > PATIENCE => return Err(Error::Busy),
                Claimed::Busy => {
                    tokio::time::sleep(POLL).await;
                    continue;
                }
            };
            // The old session and the session of ruts are read again, because another request may
            // have lifted the old session before this request got the lease.
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
                    let again = self.adopt(parts, done, &seen, &old_id, &mut departure).await;
                    self.claims.release(lease).await?;
                    !again?
                }
                done => {
                    let lease = (lease, done);
                    !self.lift_now(parts, (&old_id, old), seen, lease, &mut departure).await?
                }
            };
            if is_done {
                return Ok(departure);
            }
        }
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
                Ok(Seen { status: session.token_status().await?, link })
            })
        };
        Ok(in_session(&self.sessions, parts, look).await?.0?)
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
                // Often the old library has only extended the lifetime of the old session.
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
                // This lift took longer than a lease, and another request has lifted the session meanwhile.
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
            // The client already has another session: for example, another user has signed in.
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
            // The secret has been replaced since. Only the response to the request that replaced it
            // carries the new one.
            (Seen { status: TokenStatus::Replaced { .. }, .. }, _) => Ok(false),
            // The session was signed out, revoked or has expired, and the old one must not revive it.
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

    /// Handles a request whose session has every value of the old one.
    async fn keep(
        &self,
        parts: &Parts,
        old_id: String,
        departure: &mut Departure,
    ) -> Result<(), Error> {
        match self.rollout {
            Rollout::Running => departure.old = Some(old_id),
            Rollout::Over => {
                // The link is removed first: to another request, a link to a missing old session
                // means a sign-out.
                self.unlink(parts).await?;
                self.end_old(&old_id).await?;
                departure.clear = true;
            }
        }
        Ok(())
    }

    /// Handles an old session without anything to lift. During the rollout it stays, because an old program
    /// may still write values to lift.
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
        // Another request may have lifted the old session and ended it.
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
        self.follow(parts, seen.link, departure).await
    }

    /// Ends the session of a request if the old session that it is linked to was signed out.
    ///
    /// The session of a guest stays: the old program may be signing the guest in, under another id.
    async fn follow(
        &self,
        parts: &Parts,
        link: Option<Link>,
        departure: &mut Departure,
    ) -> Result<(), Error> {
        let Some(link) = link else { return Ok(()) };
        if self.load(&link.id).await?.is_some() {
            departure.old = Some(link.id);
            return Ok(());
        }
        if link.has_expired() {
            return self.unlink(parts).await;
        }
        let end = |session: Session| -> BoxFuture<'_, Result<bool, ruts::Error>> {
            Box::pin(async move {
                // The link is read again, after the old session. Another request that ends the old
                // session removes the link first.
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
            tracing::info!("a session ends, because its old session was signed out");
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

    async fn complete(&self, departure: Departure, headers: &mut HeaderMap) {
        let Departure { old, set_cookie: lifted, mut clear } = departure;
        match (set_cookie(headers, &self.name), old, lifted) {
            (Some(SetCookie::Removal), Some(old_id), _) => {
                clear = true;
                if let Err(error) = self.end_old(&old_id).await {
                    // The next request with the old cookie ends the old session.
                    tracing::error!(%error, "a sign-out did not reach the old session");
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
    }
}
