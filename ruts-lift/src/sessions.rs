//! [`Sessions`]: reads and changes the ruts session of a request.
//!
//! Used by `lift`, which decides what happens to a session. Knows nothing about old sessions except
//! the link to them.

use http::{HeaderMap, HeaderValue, header, request::Parts};
use ruts::{Session, SessionLayer, session::LayerName, store::memory::MemoryStore};

use crate::{
    cookies,
    error::Error,
    link::{LINK, Link, SignIn},
    requests::{BoxFuture, in_session, look_at_session},
    seen::Seen,
};

/// The ruts sessions of a layer.
pub(crate) struct Sessions<L> {
    pub(crate) layer: SessionLayer<L>,
    /// Name of the session cookie.
    pub(crate) name: String,
}

impl<L: LayerName> Sessions<L> {
    /// Reads the session of the request. One round trip, or two if a user is signed in. None
    /// without a session cookie.
    pub(crate) async fn look(&self, parts: &Parts) -> Result<Seen, Error> {
        let look = |session: Session| -> BoxFuture<'_, Result<Seen, ruts::Error>> {
            Box::pin(async move {
                let link = match session.entry(LINK).await {
                    // Another release may have written the link. It must not lock the client out.
                    Err(ruts::Error::Decode { .. } | ruts::Error::Newer { .. }) => None,
                    link => link?,
                };
                let signed_in = session.signed_in().await?;
                // Two sign-ins of one user differ by their time. This time needs the age of the
                // session, which only the metadata has.
                let meta = match signed_in {
                    Some(_) => session.metadata().await?,
                    None => None,
                };
                let sign_in = meta.as_ref().and_then(SignIn::of);
                Ok(Seen { status: session.token_status().await?, signed_in, sign_in, link })
            })
        };
        Ok(look_at_session(&self.layer, parts, look).await??)
    }

    /// Returns the request with the session of a cookie.
    pub(crate) fn with_cookie(&self, parts: &Parts, cookie: &HeaderValue) -> Parts {
        let mut parts = parts.clone();
        cookies::replace(&mut parts.headers, &self.name, cookie);
        parts
    }

    /// Removes the session cookie from a request.
    pub(crate) fn forget(&self, parts: &mut Parts) {
        cookies::remove(&mut parts.headers, &self.name);
    }

    /// Runs `job` with the session of the request. Returns its result and the headers of the
    /// layer's response.
    pub(crate) async fn run<'a, T, F>(
        &self,
        parts: &Parts,
        job: F,
    ) -> Result<(T, HeaderMap), ruts::Error>
    where
        T: Send + 'a,
        F: FnOnce(Session) -> BoxFuture<'a, T> + Send + 'a,
    {
        in_session(&self.layer, parts, job).await
    }

    /// Runs `job` with a new session. Its store holds nothing else, and is dropped afterwards.
    pub(crate) async fn try_out<'a, T, F>(&self, parts: &Parts, job: F) -> Result<T, ruts::Error>
    where
        T: Send + 'a,
        F: FnOnce(Session) -> BoxFuture<'a, T> + Send + 'a,
    {
        let mut parts = parts.clone();
        self.forget(&mut parts);
        parts.headers.remove(header::AUTHORIZATION);
        let trial = self.layer.with_store(MemoryStore::new());
        in_session(&trial, &parts, job).await.map(|(output, _)| output)
    }

    /// Notes in the session that the lift ends the old session. Returns `false` if the session has
    /// ended.
    pub(crate) async fn mark_moved(&self, parts: &Parts) -> Result<bool, Error> {
        let mark = |session: Session| -> BoxFuture<'_, Result<bool, ruts::Error>> {
            Box::pin(async move {
                let mark = |link: &mut Option<Link>| match link {
                    Some(link) => {
                        link.moved = true;
                        true
                    }
                    None => false,
                };
                session.entry(LINK).update(mark).await
            })
        };
        match in_session(&self.layer, parts, mark).await?.0 {
            Err(ruts::Error::Ended) => Ok(false),
            marked => Ok(marked?),
        }
    }

    /// Removes the link of a session.
    pub(crate) async fn unlink(&self, parts: &Parts) -> Result<(), Error> {
        let unlink = |session: Session| -> BoxFuture<'_, Result<bool, ruts::Error>> {
            Box::pin(async move { session.entry(LINK).remove().await })
        };
        match in_session(&self.layer, parts, unlink).await?.0 {
            // If the session has ended, nothing is left to unlink.
            Ok(_) | Err(ruts::Error::Ended) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Ends the session of the request.
    pub(crate) async fn end(&self, parts: &Parts) -> Result<(), Error> {
        let end = |session: Session| -> BoxFuture<'_, Result<(), ruts::Error>> {
            Box::pin(async move { session.delete().await })
        };
        match in_session(&self.layer, parts, end).await?.0 {
            Ok(()) | Err(ruts::Error::Ended) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Ends the session of a user whose old session was signed out. Returns whether it has ended.
    pub(crate) async fn end_signed_out(&self, parts: &Parts, old_id: &str) -> Result<bool, Error> {
        let end = |session: Session| -> BoxFuture<'_, Result<bool, ruts::Error>> {
            Box::pin(async move {
                // The link is read again, after the old session. If another request ends the old
                // session, it marks the link first, or the user has signed in again. So a link that
                // is still the same means a sign-out.
                let Some(link) = session.entry(LINK).await? else { return Ok(false) };
                let now = session.metadata().await?.as_ref().and_then(SignIn::of);
                let is_same = now.zip(link.sign_in).is_some_and(|(now, then)| now.is(&then));
                let is_meant = link.old.id == old_id && !link.moved && is_same;
                if is_meant {
                    session.delete().await?;
                }
                Ok(is_meant)
            })
        };
        let has_ended = match in_session(&self.layer, parts, end).await?.0 {
            // Another request has ended the session, or has replaced its secret. In the last case,
            // the next request with the new secret ends the session.
            Err(ruts::Error::Ended) => false,
            ended => ended?,
        };
        if has_ended {
            tracing::info!("a session ends, because its old session was signed out or has expired");
        }
        Ok(has_ended)
    }
}
