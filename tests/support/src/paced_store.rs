//! A store whose calls yield to other requests at random, and which stops slow requests:
//! [`PacedStore`]. Used by random scripts.

use std::{
    future::Future,
    sync::{Arc, Mutex},
};

use ruts::{
    auth::PrincipalKey,
    store::{
        Create, Credentials, Loaded, PageRequest, Projection, SessionPage, Store, StoreError,
        StoreResult, TakeField, Touch, Update, Updated, Written,
    },
};
use tokio::sync::oneshot;

use crate::{Random, bytes::Bytes, delegate_store};

/// Maximum number of times that a call yields before it reaches the store, and again after it.
const TURNS: usize = 3;

tokio::task_local! {
    static PACE: Arc<Pace>;
}

/// The pace of the store calls of one request.
pub struct Pace(Mutex<State>);

struct State {
    random: Random,
    /// Number of sides of calls that the request passes before it stops.
    left: usize,
    stop: Option<(oneshot::Sender<()>, oneshot::Receiver<()>)>,
}

/// A request that stops at a store call.
pub struct Stop {
    reached: oneshot::Receiver<()>,
    resume: oneshot::Sender<()>,
}

impl Pace {
    /// Creates the pace of a request that does not stop.
    pub fn new(random: Random) -> Self {
        Self(Mutex::new(State { random, left: 0, stop: None }))
    }

    /// Creates the pace of a request that stops after `sides` sides of store calls. Each call has
    /// two sides: before it reaches the store, and after it.
    pub fn with_stop(random: Random, sides: usize) -> (Self, Stop) {
        let ((reach, reached), (resume, resumed)) = (oneshot::channel(), oneshot::channel());
        let state = State { random, left: sides, stop: Some((reach, resumed)) };
        (Self(Mutex::new(state)), Stop { reached, resume })
    }

    /// Runs a request at this pace.
    pub async fn run<T>(self, request: impl Future<Output = T>) -> T {
        PACE.scope(Arc::new(self), request).await
    }
}

impl Stop {
    /// Waits until the request has stopped. Returns `false` if it ended first.
    pub async fn reached(&mut self) -> bool {
        (&mut self.reached).await.is_ok()
    }

    /// Lets the request continue.
    pub fn resume(self) {
        // The send fails if the request has already ended.
        let _ = self.resume.send(());
    }
}

/// A wrapper that can stop calls to a store. It forwards calls outside [`Pace::run`] immediately.
pub struct PacedStore<S>(Arc<S>);

impl<S> PacedStore<S> {
    /// Wraps a store.
    pub fn new(inner: Arc<S>) -> Self {
        Self(inner)
    }
}

/// Yields at one side of a call. The request stops here if its stop is due and `may_stop` is set.
async fn pace(may_stop: bool) {
    let Ok(pace) = PACE.try_with(Arc::clone) else { return };
    let (turns, stop) = {
        let mut state = pace.0.lock().unwrap();
        let turns = state.random.below(TURNS + 1);
        let is_due = may_stop && state.left == 0;
        state.left = state.left.saturating_sub(usize::from(may_stop));
        (turns, if is_due { state.stop.take() } else { None })
    };
    for _ in 0..turns {
        tokio::task::yield_now().await;
    }
    if let Some((reach, resumed)) = stop {
        // Both calls fail if the script has ended, and the request then continues.
        let _ = reach.send(());
        let _ = resumed.await;
    }
}

async fn paced<T>(may_stop: bool, call: impl Future<Output = T>) -> T {
    pace(may_stop).await;
    let answer = call.await;
    pace(may_stop).await;
    answer
}

#[deny(clippy::missing_trait_methods)]
impl<S: Store> Store for PacedStore<S> {
    delegate_store!(self.0: name inspect expiry wait_for_change revoke revoke_everyone
        hint_cache_policy delete_expired);

    async fn load(
        &self,
        credentials: Credentials<'_>,
        fields: Projection<'_>,
        touch: Option<Touch>,
    ) -> StoreResult<Loaded> {
        paced(true, self.0.load(credentials, fields, touch)).await
    }

    async fn create(&self, create: Create<'_>) -> Result<Written<()>, StoreError> {
        paced(true, self.0.create(create)).await
    }

    async fn update(
        &self,
        credentials: Credentials<'_>,
        update: Update<'_>,
    ) -> StoreResult<Written<Updated>> {
        // A renewal is the last step of a request. It does not stop, so that its token is sent
        // immediately.
        paced(update.renew.is_none(), self.0.update(credentials, update)).await
    }

    async fn take(
        &self,
        credentials: Credentials<'_>,
        take: TakeField<'_>,
    ) -> StoreResult<Written<Option<Bytes>>> {
        paced(true, self.0.take(credentials, take)).await
    }

    async fn delete(&self, credentials: Credentials<'_>) -> StoreResult<Written<()>> {
        paced(true, self.0.delete(credentials)).await
    }

    async fn list_by_principal(
        &self,
        principal: &PrincipalKey,
        page: PageRequest<'_>,
        fields: Projection<'_>,
    ) -> Result<SessionPage, StoreError> {
        paced(true, self.0.list_by_principal(principal, page, fields)).await
    }
}
