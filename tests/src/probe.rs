use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use ruts::store::{
    Change, Confirmed, Create, Credentials, FieldWrite, Loaded, Lookup, PageRequest, Projection,
    RevokeTarget, Revoked, SessionPage, Store, StoreError, StoreErrorKind, TakeField, Touch,
    Update, Updated,
};
use ruts::{CachePolicy, PrincipalKey};
use tokio::sync::oneshot;

/// A store that notes each call, and can be paused or made to fail at the next one.
#[derive(Clone)]
pub struct Probe<S> {
    inner: S,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    calls: Vec<&'static str>,
    fault: Option<Fault>,
    rivals: u8,
    declared: Vec<(String, CachePolicy)>,
    pause: Option<(&'static str, Side, oneshot::Sender<()>, oneshot::Receiver<()>)>,
}

/// How long a call may take to come to the point: long enough for a machine under load.
const PATIENCE: Duration = Duration::from_secs(20);

/// How the next call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The server cannot be reached; nothing happens there.
    Unreachable,
    /// The server does its part, and the answer is lost.
    AnswerLost,
    /// The server does its part, and a cache before it is not told.
    CacheNotTold,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Before,
    After,
}

/// A call that was stopped on its way.
pub struct Pause {
    reached: oneshot::Receiver<()>,
    go_on: oneshot::Sender<()>,
}

impl Pause {
    /// Waits until the call has come to the point.
    pub async fn reached(&mut self) {
        let reached = tokio::time::timeout(PATIENCE, &mut self.reached).await;
        reached.expect("the call never came").unwrap();
    }

    /// Lets the call go on.
    pub fn go_on(self) {
        self.go_on.send(()).unwrap();
    }
}

impl<S: Store> Probe<S> {
    /// Watches a store.
    pub fn new(inner: S) -> Self {
        Self { inner, state: Arc::default() }
    }

    /// For how long a cache that was not told is said to be wrong.
    pub const WITHIN: Duration = Duration::from_secs(300);

    /// The store itself.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// The calls since this was last asked.
    pub fn calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.state.lock().unwrap().calls)
    }

    /// The fields that were declared since this was last asked.
    pub fn declared(&self) -> Vec<(String, CachePolicy)> {
        std::mem::take(&mut self.state.lock().unwrap().declared)
    }

    /// Makes the next call fail.
    pub fn fail_next(&self, fault: Fault) {
        self.state.lock().unwrap().fault = Some(fault);
    }

    /// Lets a rival write before each of the next `times` updates that expect something: the
    /// expected field gets the numbers from `times` down to 1, as bincode.
    pub fn rival(&self, times: u8) {
        self.state.lock().unwrap().rivals = times;
    }

    /// Stops the next call of that name before it reaches the server.
    pub fn pause_before(&self, call: &'static str) -> Pause {
        self.pause(call, Side::Before)
    }

    /// Stops the next call of that name after the server has done its part.
    pub fn pause_after(&self, call: &'static str) -> Pause {
        self.pause(call, Side::After)
    }

    fn pause(&self, call: &'static str, side: Side) -> Pause {
        let ((reach, reached), (go_on, gone_on)) = (oneshot::channel(), oneshot::channel());
        self.state.lock().unwrap().pause = Some((call, side, reach, gone_on));
        Pause { reached, go_on }
    }

    async fn around<T>(
        &self,
        call: &'static str,
        inner: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let fault = {
            let mut state = self.state.lock().unwrap();
            state.calls.push(call);
            state.fault.take()
        };
        self.stop(call, Side::Before).await;
        if fault == Some(Fault::Unreachable) {
            return Err(StoreError::new("probe", StoreErrorKind::Unavailable));
        }
        let answer = inner.await;
        self.stop(call, Side::After).await;
        match fault {
            Some(Fault::AnswerLost) => Err(StoreError::new("probe", StoreErrorKind::Unknown)),
            _ => answer,
        }
    }

    /// [`around`](Self::around) a write.
    async fn around_write<T>(
        &self,
        call: &'static str,
        inner: impl Future<Output = Result<Lookup<T>, StoreError>>,
    ) -> Result<Lookup<T>, StoreError> {
        let fault = self.state.lock().unwrap().fault;
        match self.around(call, inner).await? {
            Lookup::Found(answer) if fault == Some(Fault::CacheNotTold) => {
                Ok(Lookup::Unconfirmed { answer, within: Self::WITHIN })
            }
            answer => Ok(answer),
        }
    }

    async fn stop(&self, call: &'static str, side: Side) {
        let pause = {
            let pause = &mut self.state.lock().unwrap().pause;
            pause.take_if(|(paused, at, ..)| *paused == call && *at == side)
        };
        if let Some((_, _, reach, gone_on)) = pause {
            let _ = reach.send(());
            let _ = gone_on.await;
        }
    }
}

impl<S: Store> Store for Probe<S> {
    fn name(&self) -> &'static str {
        "probe"
    }

    async fn load(
        &self,
        credentials: Credentials<'_>,
        fields: Projection<'_>,
        touch: Option<Touch>,
    ) -> Result<Lookup<Loaded>, StoreError> {
        self.around("load", self.inner.load(credentials, fields, touch)).await
    }

    async fn create(&self, create: Create<'_>) -> Result<(), StoreError> {
        self.around("create", self.inner.create(create)).await
    }

    async fn update(
        &self,
        credentials: Credentials<'_>,
        update: Update<'_>,
    ) -> Result<Lookup<Updated>, StoreError> {
        let rival = {
            let mut state = self.state.lock().unwrap();
            let number = state.rivals;
            state.rivals -= u8::from(number > 0 && update.precondition.is_some());
            update.precondition.filter(|_| number > 0).map(|expect| (expect.name, number))
        };
        if let Some((name, number)) = rival {
            let value = Bytes::copy_from_slice(&[0x10, 1, 0, 1, number]);
            let put = FieldWrite { name, value: &value, ttl: None, hot: CachePolicy::Auto };
            let update = Update { changes: &[Change::Set(put)], ..Update::default() };
            self.inner.update(credentials, update).await?;
        }
        self.around_write("update", self.inner.update(credentials, update)).await
    }

    async fn take(
        &self,
        credentials: Credentials<'_>,
        take: TakeField<'_>,
    ) -> Result<Lookup<Option<Bytes>>, StoreError> {
        self.around_write("take", self.inner.take(credentials, take)).await
    }

    async fn delete(&self, credentials: Credentials<'_>) -> Result<Lookup<()>, StoreError> {
        self.around_write("delete", self.inner.delete(credentials)).await
    }

    async fn inspect(
        &self,
        id: &ruts::SessionId,
    ) -> Result<Option<ruts::store::SessionMeta>, StoreError> {
        self.around("inspect", self.inner.inspect(id)).await
    }

    fn wait_for_change(&self, id: &ruts::SessionId) -> impl Future<Output = ()> + Send + 'static {
        self.inner.wait_for_change(id)
    }

    async fn list_by_principal(
        &self,
        principal: &PrincipalKey,
        page: PageRequest<'_>,
        fields: Projection<'_>,
    ) -> Result<SessionPage, StoreError> {
        self.around("list_by_principal", self.inner.list_by_principal(principal, page, fields))
            .await
    }

    async fn revoke(
        &self,
        principal: &PrincipalKey,
        target: RevokeTarget<'_>,
    ) -> Result<Revoked, StoreError> {
        self.around("revoke", self.inner.revoke(principal, target)).await
    }

    async fn revoke_everyone(&self) -> Result<Confirmed, StoreError> {
        self.around("revoke_everyone", self.inner.revoke_everyone()).await
    }

    fn hint_cache_policy(&self, name: &str, hot: CachePolicy) {
        self.state.lock().unwrap().declared.push((name.to_owned(), hot));
        self.inner.hint_cache_policy(name, hot);
    }

    async fn delete_expired(&self, limit: usize) -> Result<usize, StoreError> {
        self.around("delete_expired", self.inner.delete_expired(limit)).await
    }
}
