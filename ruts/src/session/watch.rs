use std::{future::Future, sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};

use super::Session;
use crate::{
    error::Error,
    principal::PrincipalKey,
    store::{SessionMeta, SignedIn, StoreError},
};

/// How long a change may go unnoticed that the store does not tell of.
const INTERVAL: Duration = Duration::from_secs(5);

/// What has become of a session that somebody watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionChange {
    /// It was ended, or its time is over.
    Ended,
    /// Somebody has signed in, or out.
    PrincipalChanged,
}

impl<S> Session<S> {
    /// Waits until the session ends, by whatever request, revocation or deadline, or belongs to somebody
    /// else: for event streams and WebSockets, which have to end with it (OWASP ASVS 5.0, 4.4.3). A session
    /// that there is not has ended. Watching is no activity, and a new secret does not disturb it.
    ///
    /// What happens in the same `MemoryStore` is noticed at once, and what an
    /// [`NotifyingStore`](crate::store::notify::NotifyingStore) does, in whatever process; a deadline when
    /// it comes, and everything else within five seconds. One round trip then, and each time that something happens. A store that
    /// fails is asked again; what a cache holds does not matter.
    ///
    /// The future may outlive the request. Dropping it is harmless.
    ///
    /// ```
    /// use ruts::{Error, Session};
    ///
    /// async fn talk() {}
    ///
    /// /// Until one of them is over.
    /// async fn connection(session: Session) -> Result<(), Error> {
    ///     let watch = session.watch().await?;
    ///     tokio::select! {
    ///         _ = watch => {}
    ///         () = talk() => {}
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Store`] if the session could not be opened to begin with. One round trip if it was not used
    /// before in this request.
    pub async fn watch(
        &self,
    ) -> Result<impl Future<Output = SessionChange> + Send + use<S>, Error> {
        let id = self.open().await?;
        let owner = owner(self.signed_in().await?);
        let store = Arc::clone(self.shared().store());
        Ok(async move {
            let Some(id) = id else { return SessionChange::Ended };
            loop {
                // Before the look, so that nothing comes between.
                let changed = store.wait_for_change(&id);
                let left = match store.inspect(&id).await {
                    Ok(None) => return SessionChange::Ended,
                    Ok(Some(meta)) if self::owner(meta.signed_in) != owner => {
                        return SessionChange::PrincipalChanged;
                    }
                    Ok(Some(meta)) => left(&meta),
                    Err(error) => {
                        unseen(&error);
                        sleep(INTERVAL).await;
                        continue;
                    }
                };
                let _ = timeout(INTERVAL.min(left), changed).await;
            }
        })
    }
}

fn unseen(error: &StoreError) {
    let cause: &dyn std::error::Error = error;
    tracing::warn!(error = cause, "a session is watched that cannot be seen");
}

fn owner(signed_in: Option<SignedIn>) -> Option<PrincipalKey> {
    signed_in.map(|signed_in| signed_in.principal)
}

/// Until the next deadline.
fn left(meta: &SessionMeta) -> Duration {
    // A part of a millisecond may have been cut off.
    let deadlines = [meta.idle, meta.absolute].into_iter().flatten();
    deadlines.min().map_or(INTERVAL, |left| left + Duration::from_millis(1))
}
