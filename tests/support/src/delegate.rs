//! Macros for wrappers of stores and caches: a wrapper implements only the methods that it changes.
//!
//! `#[deny(clippy::missing_trait_methods)]` on the implementation makes the compiler reject a
//! missing method, even one with a default.

/// Forwards methods of `Store` to a field of the wrapper.
///
/// ```ignore
/// #[deny(clippy::missing_trait_methods)]
/// impl<S: Store> Store for Slow<S> {
///     delegate_store!(self.inner: name create update take delete inspect expiry
///         wait_for_change list_by_principal revoke revoke_everyone hint_cache_policy delete_expired);
///
///     async fn load(..) -> StoreResult<Loaded> { .. }
/// }
/// ```
#[macro_export]
macro_rules! delegate_store {
    (self.$inner:tt: $($method:ident)+) => { $($crate::delegate_store!(@ $inner $method);)+ };
    (@ $inner:tt name) => {
        fn name(&self) -> &'static str {
            self.$inner.name()
        }
    };
    (@ $inner:tt load) => {
        async fn load(
            &self,
            credentials: $crate::ruts::store::Credentials<'_>,
            fields: $crate::ruts::store::Projection<'_>,
            touch: Option<$crate::ruts::store::Touch>,
        ) -> $crate::ruts::store::StoreResult<$crate::ruts::store::Loaded> {
            self.$inner.load(credentials, fields, touch).await
        }
    };
    (@ $inner:tt create) => {
        async fn create(
            &self,
            create: $crate::ruts::store::Create<'_>,
        ) -> Result<$crate::ruts::store::Written<()>, $crate::ruts::store::StoreError> {
            self.$inner.create(create).await
        }
    };
    (@ $inner:tt update) => {
        async fn update(
            &self,
            credentials: $crate::ruts::store::Credentials<'_>,
            update: $crate::ruts::store::Update<'_>,
        ) -> $crate::ruts::store::StoreResult<
            $crate::ruts::store::Written<$crate::ruts::store::Updated>,
        > {
            self.$inner.update(credentials, update).await
        }
    };
    (@ $inner:tt take) => {
        async fn take(
            &self,
            credentials: $crate::ruts::store::Credentials<'_>,
            take: $crate::ruts::store::TakeField<'_>,
        ) -> $crate::ruts::store::StoreResult<
            $crate::ruts::store::Written<Option<$crate::bytes::Bytes>>,
        > {
            self.$inner.take(credentials, take).await
        }
    };
    (@ $inner:tt delete) => {
        async fn delete(
            &self,
            credentials: $crate::ruts::store::Credentials<'_>,
        ) -> $crate::ruts::store::StoreResult<$crate::ruts::store::Written<()>> {
            self.$inner.delete(credentials).await
        }
    };
    (@ $inner:tt inspect) => {
        async fn inspect(
            &self,
            id: &$crate::ruts::token::SessionId,
        ) -> Result<
            Option<$crate::ruts::store::SessionMeta>,
            $crate::ruts::store::StoreError,
        > {
            self.$inner.inspect(id).await
        }
    };
    (@ $inner:tt expiry) => {
        async fn expiry(
            &self,
            id: &$crate::ruts::token::SessionId,
        ) -> Result<Option<$crate::ruts::store::Expiry>, $crate::ruts::store::StoreError> {
            self.$inner.expiry(id).await
        }
    };
    (@ $inner:tt wait_for_change) => {
        fn wait_for_change(
            &self,
            id: &$crate::ruts::token::SessionId,
        ) -> impl Future<Output = ()> + Send + 'static {
            self.$inner.wait_for_change(id)
        }
    };
    (@ $inner:tt list_by_principal) => {
        async fn list_by_principal(
            &self,
            principal: &$crate::ruts::auth::PrincipalKey,
            page: $crate::ruts::store::PageRequest<'_>,
            fields: $crate::ruts::store::Projection<'_>,
        ) -> Result<$crate::ruts::store::SessionPage, $crate::ruts::store::StoreError> {
            self.$inner.list_by_principal(principal, page, fields).await
        }
    };
    (@ $inner:tt revoke) => {
        async fn revoke(
            &self,
            principal: &$crate::ruts::auth::PrincipalKey,
            target: $crate::ruts::store::RevokeTarget<'_>,
        ) -> Result<
            $crate::ruts::store::Written<Vec<$crate::ruts::token::SessionId>>,
            $crate::ruts::store::StoreError,
        > {
            self.$inner.revoke(principal, target).await
        }
    };
    (@ $inner:tt revoke_everyone) => {
        async fn revoke_everyone(
            &self,
        ) -> Result<$crate::ruts::store::Written<()>, $crate::ruts::store::StoreError> {
            self.$inner.revoke_everyone().await
        }
    };
    (@ $inner:tt hint_cache_policy) => {
        fn hint_cache_policy(&self, name: &str, policy: $crate::ruts::store::CachePolicy) {
            self.$inner.hint_cache_policy(name, policy);
        }
    };
    (@ $inner:tt delete_expired) => {
        async fn delete_expired(
            &self,
            limit: usize,
        ) -> Result<usize, $crate::ruts::store::StoreError> {
            self.$inner.delete_expired(limit).await
        }
    };
}

/// Forwards methods of `Cache` to a field of the wrapper, like [`delegate_store!`].
#[macro_export]
macro_rules! delegate_cache {
    (self.$inner:tt: $($method:ident)+) => { $($crate::delegate_cache!(@ $inner $method);)+ };
    (@ $inner:tt lookup) => {
        async fn lookup(
            &self,
            credentials: $crate::ruts::store::Credentials<'_>,
            fields: $crate::ruts::store::Projection<'_>,
            touch: Option<$crate::ruts::store::Touch>,
        ) -> Result<$crate::ruts::store::CacheLookup, $crate::ruts::store::StoreError> {
            self.$inner.lookup(credentials, fields, touch).await
        }
    };
    (@ $inner:tt begin_write) => {
        async fn begin_write(
            &self,
            id: &$crate::ruts::token::SessionId,
            scope: $crate::ruts::store::InvalidationScope<'_>,
            life: std::time::Duration,
        ) -> Result<$crate::ruts::store::WriteIntent, $crate::ruts::store::StoreError> {
            self.$inner.begin_write(id, scope, life).await
        }
    };
    (@ $inner:tt finish_write) => {
        async fn finish_write(
            &self,
            id: &$crate::ruts::token::SessionId,
            intent: &$crate::ruts::store::WriteIntent,
            items: &[$crate::ruts::store::CachedField<'_>],
        ) -> Result<(), $crate::ruts::store::StoreError> {
            self.$inner.finish_write(id, intent, items).await
        }
    };
    (@ $inner:tt fill) => {
        async fn fill(
            &self,
            credentials: $crate::ruts::store::Credentials<'_>,
            lease: &$crate::ruts::store::Lease,
            record: $crate::ruts::store::CachedRecord,
            items: &[$crate::ruts::store::CachedField<'_>],
        ) -> Result<(), $crate::ruts::store::StoreError> {
            self.$inner.fill(credentials, lease, record, items).await
        }
    };
    (@ $inner:tt evict) => {
        async fn evict(
            &self,
            id: &$crate::ruts::token::SessionId,
        ) -> Result<(), $crate::ruts::store::StoreError> {
            self.$inner.evict(id).await
        }
    };
    (@ $inner:tt clear) => {
        async fn clear(&self) -> Result<(), $crate::ruts::store::StoreError> {
            self.$inner.clear().await
        }
    };
    (@ $inner:tt check) => {
        async fn check(&self) -> Result<(), $crate::ruts::store::StoreError> {
            $crate::ruts::store::Cache::check(&self.$inner).await
        }
    };
}
