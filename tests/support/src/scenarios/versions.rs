//! Two releases of an application on one store, with types that have changed in between.

use std::sync::Arc;

use axum::{Router, routing::get};
use ruts::{
    Error, SessionLayer,
    session::TypedSession,
    store::Store,
    testing::{Client, with_session},
};

/// The previous release.
mod before {
    use ruts::session;

    #[session]
    pub struct Shop {
        #[field(principal)]
        user: u64,
        #[field(default, ttl = "1h")]
        cart: Vec<String>,
        #[field(once)]
        notice: String,
        #[field(default)]
        theme: String,
    }
}

/// The user as later releases know it.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
struct UserId {
    id: u64,
}

impl From<u64> for UserId {
    fn from(id: u64) -> Self {
        Self { id }
    }
}

impl From<UserId> for u64 {
    fn from(UserId { id }: UserId) -> Self {
        id
    }
}

/// The cart as later releases know it: items with quantities.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
struct Cart {
    items: Vec<(String, u32)>,
}

impl From<Vec<String>> for Cart {
    fn from(items: Vec<String>) -> Self {
        Self { items: items.into_iter().map(|item| (item, 1)).collect() }
    }
}

impl TryFrom<Cart> for Vec<String> {
    type Error = ();

    /// The previous release has no quantities.
    fn try_from(Cart { items }: Cart) -> Result<Self, ()> {
        let item = |(item, number)| if number == 1 { Ok(item) } else { Err(()) };
        items.into_iter().map(item).collect()
    }
}

/// A release that reads the new version and writes the former one.
mod bridge {
    use ruts::session;

    use super::{Cart, UserId};

    #[session(retired("theme"))]
    pub struct Shop {
        #[field(principal, version = 2, migrate(1 => u64), writes = 1)]
        user: UserId,
        #[field(default, ttl = "1h", version = 2, migrate(1 => Vec<String>), writes = 1)]
        cart: Cart,
        #[field(once, version = 2, migrate(1 => discard))]
        notice: u8,
    }
}

/// The later release.
mod after {
    use ruts::session;

    use super::{Cart, UserId};

    #[session(retired("theme"))]
    pub struct Shop {
        #[field(principal, version = 2, migrate(1 => u64))]
        user: UserId,
        #[field(default, ttl = "1h", version = 2, migrate(1 => Vec<String>))]
        cart: Cart,
        #[field(once, version = 2, migrate(1 => discard))]
        notice: u8,
    }
}

/// Checks that a value is refused because it has a later version.
fn is_newer<T: std::fmt::Debug>(answer: Result<T, Error>) {
    assert!(matches!(answer, Err(Error::Newer { stored: 2, known: 1, .. })), "{answer:?}");
}

fn cart(items: &[(&str, u32)]) -> Cart {
    Cart { items: items.iter().map(|(item, number)| ((*item).to_owned(), *number)).collect() }
}

/// A browser that instances of different releases serve.
struct Browser<S> {
    client: Client,
    stores: [Arc<S>; 2],
}

impl<S: Store> Browser<S> {
    /// Runs a handler in an instance of its own.
    async fn run<T, F>(&self, store: usize, act: impl FnOnce(T) -> F + Send + 'static) -> F::Output
    where
        T: TypedSession<Layer = ruts::session::DefaultLayer>,
        F: Future<Output: Send + 'static> + Send,
    {
        let layer = SessionLayer::new(Arc::clone(&self.stores[store]));
        with_session(&self.client, &layer, act).await
    }
}

/// The releases share the sessions. No value is lost or misread, and no instance overwrites a value
/// of a version that it does not know.
pub async fn releases_share_their_sessions<S: Store>(stores: [Arc<S>; 2]) {
    let layer = SessionLayer::new(Arc::clone(&stores[0]));
    let app = Router::new().route("/", get(|| async {})).layer(layer);
    let browser = Browser { client: crate::new_client(app), stores };
    let [store, other] = &browser.stores;
    let index = (before::Shop::sessions(store), after::Shop::sessions(other));

    browser
        .run(0, |old: before::Shop| async move {
            old.set_user(&7).await.unwrap();
            let edit = old.edit().cart(&["tea".to_owned()][..]).notice("hello");
            edit.theme("dark").commit().await.unwrap();
        })
        .await;
    browser
        .run(1, |new: after::Shop| async move {
            assert_eq!(new.user().await.unwrap(), Some(UserId { id: 7 }));
            assert_eq!(new.cart().await.unwrap(), cart(&[("tea", 1)]));
            assert_eq!(
                new.notice().take().await.unwrap(),
                None,
                "the value of the former version should be discarded"
            );
        })
        .await;
    for found in [index.0.by_user(&7), index.1.by_user(&UserId { id: 7 })] {
        assert_eq!(found.list((), None, 10).await.unwrap().sessions.len(), 1);
    }
    // The later release wrote nothing.
    browser
        .run(0, |old: before::Shop| async move {
            assert_eq!(old.cart().await.unwrap(), ["tea"]);
            assert_eq!(old.notice().take().await.unwrap(), None);
        })
        .await;

    browser
        .run(1, |new: after::Shop| async move {
            new.cart().update(|cart| cart.items.push(("bread".to_owned(), 2))).await.unwrap();
            new.set_notice(&3).await.unwrap();
        })
        .await;
    browser
        .run(0, |old: before::Shop| async move {
            is_newer(old.cart().await);
            is_newer(old.cart().update(|cart| cart.clear()).await);
            is_newer(old.cart().settle().await);
            is_newer(old.notice().take().await);
            assert_eq!(old.user().await.unwrap(), Some(7), "other fields should be readable");
        })
        .await;
    browser
        .run(1, |new: after::Shop| async move {
            assert_eq!(new.cart().await.unwrap(), cart(&[("tea", 1), ("bread", 2)]));
            assert_eq!(
                new.notice().take().await.unwrap(),
                Some(3),
                "the newer value should be left in place"
            );
            assert_eq!(new.notice().take().await.unwrap(), None);
        })
        .await;

    // A rollback: the bridge release writes what the previous release reads.
    browser
        .run(1, |bridge: bridge::Shop| async move {
            assert!(
                bridge.cart().settle().await.is_err(),
                "`settle` should fail, because two loaves do not fit a list of names"
            );
            bridge.cart().update(|cart| cart.items[1].1 = 1).await.unwrap();
            assert!(!bridge.cart().settle().await.unwrap());
        })
        .await;
    browser
        .run(0, |old: before::Shop| async move {
            assert_eq!(old.cart().await.unwrap(), ["tea", "bread"]);
        })
        .await;
    browser
        .run(1, |new: after::Shop| async move {
            assert!(new.cart().settle().await.unwrap());
            assert!(!new.cart().settle().await.unwrap());
        })
        .await;
    browser
        .run(0, |old: before::Shop| async move {
            is_newer(old.cart().await);
            old.set_cart(&["milk".to_owned()][..]).await.unwrap();
        })
        .await;
    browser
        .run(1, |new: after::Shop| async move {
            assert_eq!(
                new.cart().await.unwrap(),
                cart(&[("milk", 1)]),
                "a write should replace the value"
            );
            new.set_user(&UserId { id: 8 }).await.unwrap();
        })
        .await;
    browser.run(0, |old: before::Shop| async move { is_newer(old.user().await) }).await;
    // "Sign out everywhere" on an instance of the previous release.
    assert_eq!(index.0.by_user(&7).revoke_all().await.unwrap(), 0);
    assert_eq!(index.0.by_user(&8).revoke_all().await.unwrap(), 1);
    browser
        .run(1, |new: after::Shop| async move { assert_eq!(new.user().await.unwrap(), None) })
        .await;
}
