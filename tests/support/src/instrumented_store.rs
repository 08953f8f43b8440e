//! A store that a test can observe, pause and break. Used wherever an interleaving has to be
//! forced.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use ruts::{
    auth::PrincipalKey,
    store::{
        CachePolicy, Change, Create, Credentials, Expiry, FieldWrite, Loaded, PageRequest,
        Projection, RevokeTarget, SessionMeta, SessionPage, Store, StoreError, StoreErrorKind,
        StoreResult, TakeField, Touch, Update, Updated, Written,
    },
    token::SessionId,
};
use tokio::sync::oneshot;

use crate::{LONG_TIMEOUT, delegate_store};

const NAME: &str = "instrumented";

/// A store that records each call, and can be paused or made to fail at the next one.
#[derive(Clone)]
pub struct InstrumentedStore<S> {
    inner: S,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    calls: Vec<&'static str>,
    /// The next fault, and the number of calls before it.
    fault: Option<(usize, Fault)>,
    competing_writes: u8,
    hints: Vec<(String, CachePolicy)>,
    pause: Option<(&'static str, Side, oneshot::Sender<()>, oneshot::Receiver<()>)>,
}

/// How the next call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The server cannot be reached and does nothing.
    Unreachable,
    /// The server carries out the call, and the answer is lost.
    AnswerLost,
    /// The server carries out the write, but a cache may still answer with the earlier state.
    StaleCache,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Before,
    After,
}

/// A call that stops before or after the server carries it out.
pub struct Pause {
    reached: oneshot::Receiver<()>,
    resume: oneshot::Sender<()>,
}

impl Pause {
    /// Waits until the call has stopped.
    pub async fn reached(&mut self) {
        let reached = tokio::time::timeout(LONG_TIMEOUT, &mut self.reached).await;
        reached.expect("the call should be made").unwrap();
    }

    /// Lets the call continue.
    pub fn resume(self) {
        self.resume.send(()).unwrap();
    }
}

impl<S: Store> InstrumentedStore<S> {
    /// Wraps a store.
    pub fn new(inner: S) -> Self {
        Self { inner, state: Arc::default() }
    }

    /// Time for which the cache is stale after [`Fault::StaleCache`].
    pub const STALE_FOR: Duration = Duration::from_secs(300);

    /// Returns the store itself.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Returns the names of the calls since the last `take_calls`.
    pub fn take_calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.state.lock().unwrap().calls)
    }

    /// Returns the cache policies that were hinted since the last `take_hints`.
    pub fn take_hints(&self) -> Vec<(String, CachePolicy)> {
        std::mem::take(&mut self.state.lock().unwrap().hints)
    }

    /// Makes the next call fail.
    pub fn fail_next(&self, fault: Fault) {
        self.fail_after(0, fault);
    }

    /// Forwards the next `calls` calls, and makes the call after them fail.
    pub fn fail_after(&self, calls: usize, fault: Fault) {
        self.state.lock().unwrap().fault = Some((calls, fault));
    }

    /// Writes to the field of the precondition before each of the next `updates` updates that have
    /// a precondition. The field gets the numbers from `updates` down to 1, encoded with bincode.
    pub fn compete_with(&self, updates: u8) {
        self.state.lock().unwrap().competing_writes = updates;
    }

    /// Stops the next call of that name before it reaches the server.
    pub fn pause_before(&self, call: &'static str) -> Pause {
        self.pause(call, Side::Before)
    }

    /// Stops the next call of that name after the server has carried it out.
    pub fn pause_after(&self, call: &'static str) -> Pause {
        self.pause(call, Side::After)
    }

    fn pause(&self, call: &'static str, side: Side) -> Pause {
        let ((reach, reached), (resume, resumed)) = (oneshot::channel(), oneshot::channel());
        self.state.lock().unwrap().pause = Some((call, side, reach, resumed));
        Pause { reached, resume }
    }

    async fn call<T>(
        &self,
        name: &'static str,
        inner: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.call_with(name, inner, |answer, _| answer).await
    }

    /// Runs a write like [`call`](Self::call). The answer reports [`Fault::StaleCache`].
    async fn write<T>(
        &self,
        name: &'static str,
        inner: impl Future<Output = StoreResult<Written<T>>>,
    ) -> StoreResult<Written<T>> {
        self.call_with(name, inner, |answer, fault| match fault {
            Some(Fault::StaleCache) => answer.map(|written| written.stale_for(Self::STALE_FOR)),
            _ => answer,
        })
        .await
    }

    async fn call_with<T>(
        &self,
        name: &'static str,
        inner: impl Future<Output = Result<T, StoreError>>,
        change: impl FnOnce(T, Option<Fault>) -> T,
    ) -> Result<T, StoreError> {
        let fault = {
            let mut state = self.state.lock().unwrap();
            state.calls.push(name);
            match state.fault.take() {
                Some((0, fault)) => Some(fault),
                later => {
                    state.fault = later.map(|(calls, fault)| (calls - 1, fault));
                    None
                }
            }
        };
        self.stop(name, Side::Before).await;
        if fault == Some(Fault::Unreachable) {
            return Err(StoreError::new(NAME, StoreErrorKind::Unavailable));
        }
        let answer = inner.await;
        self.stop(name, Side::After).await;
        match fault {
            Some(Fault::AnswerLost) => Err(StoreError::new(NAME, StoreErrorKind::OutcomeUnknown)),
            _ => answer.map(|answer| change(answer, fault)),
        }
    }

    async fn stop(&self, call: &'static str, side: Side) {
        let pause = {
            let pause = &mut self.state.lock().unwrap().pause;
            pause.take_if(|(paused, at, ..)| *paused == call && *at == side)
        };
        if let Some((_, _, reach, resumed)) = pause {
            let _ = reach.send(());
            let _ = resumed.await;
        }
    }

    /// Carries out the next competing write, if one is due, before this update.
    async fn compete(&self, credentials: Credentials<'_>, update: &Update<'_>) {
        let Some(precondition) = update.precondition else { return };
        let number = {
            let mut state = self.state.lock().unwrap();
            let number = state.competing_writes;
            state.competing_writes = number.saturating_sub(1);
            number
        };
        if number > 0 {
            let value = Bytes::copy_from_slice(&[0x10, 1, 0, 1, 0, 0, 0, 0, number]);
            let changes = [Change::Set(FieldWrite::new(precondition.name, &value))];
            self.inner.update(credentials, Update::new(&changes)).await.unwrap().unwrap();
        }
    }
}

#[deny(clippy::missing_trait_methods)]
impl<S: Store> Store for InstrumentedStore<S> {
    delegate_store!(self.inner: wait_for_change);

    fn name(&self) -> &'static str {
        NAME
    }

    async fn load(
        &self,
        credentials: Credentials<'_>,
        fields: Projection<'_>,
        touch: Option<Touch>,
    ) -> StoreResult<Loaded> {
        self.call("load", self.inner.load(credentials, fields, touch)).await
    }

    async fn create(&self, create: Create<'_>) -> Result<Written<()>, StoreError> {
        self.call("create", self.inner.create(create)).await
    }

    async fn update(
        &self,
        credentials: Credentials<'_>,
        update: Update<'_>,
    ) -> StoreResult<Written<Updated>> {
        self.compete(credentials, &update).await;
        self.write("update", self.inner.update(credentials, update)).await
    }

    async fn take(
        &self,
        credentials: Credentials<'_>,
        take: TakeField<'_>,
    ) -> StoreResult<Written<Option<Bytes>>> {
        self.write("take", self.inner.take(credentials, take)).await
    }

    async fn delete(&self, credentials: Credentials<'_>) -> StoreResult<Written<()>> {
        self.write("delete", self.inner.delete(credentials)).await
    }

    async fn inspect(&self, id: &SessionId) -> Result<Option<SessionMeta>, StoreError> {
        self.call("inspect", self.inner.inspect(id)).await
    }

    async fn expiry(&self, id: &SessionId) -> Result<Option<Expiry>, StoreError> {
        self.call("expiry", self.inner.expiry(id)).await
    }

    async fn list_by_principal(
        &self,
        principal: &PrincipalKey,
        page: PageRequest<'_>,
        fields: Projection<'_>,
    ) -> Result<SessionPage, StoreError> {
        let list = self.inner.list_by_principal(principal, page, fields);
        self.call("list_by_principal", list).await
    }

    async fn revoke(
        &self,
        principal: &PrincipalKey,
        target: RevokeTarget<'_>,
    ) -> Result<Written<Vec<SessionId>>, StoreError> {
        self.call("revoke", self.inner.revoke(principal, target)).await
    }

    async fn revoke_everyone(&self) -> Result<Written<()>, StoreError> {
        self.call("revoke_everyone", self.inner.revoke_everyone()).await
    }

    fn hint_cache_policy(&self, name: &str, policy: CachePolicy) {
        self.state.lock().unwrap().hints.push((name.to_owned(), policy));
        self.inner.hint_cache_policy(name, policy);
    }

    async fn delete_expired(&self, limit: usize) -> Result<usize, StoreError> {
        self.call("delete_expired", self.inner.delete_expired(limit)).await
    }
}
