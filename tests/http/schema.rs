//! Types that change between two releases on one store.

use std::sync::Arc;

use axum::{Router, http::StatusCode, http::header, routing::get};
use ruts::{
    Error, SessionLayer,
    codec::CodecError,
    session,
    session::TypedSession,
    store::memory::MemoryStore,
    testing::{Client, with_session},
};
use ruts_tests_support::new_client;
use serde::{Deserialize, Serialize};

/// Declares the same session in two releases.
macro_rules! releases {
    ($($release:ident { $($field:tt)+ })+) => {
        $(mod $release {
            use super::*;

            #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
            pub(super) enum Role { $($field)+ }
        })+
    };
}

releases! {
    before { Guest, User, Admin }
    after { Admin, User, Guest }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Cart {
    items: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct CartWithGift {
    items: Vec<String>,
    #[serde(default)]
    gift: bool,
}

#[session]
struct Old {
    #[field(codec = "bincode")]
    role: before::Role,
    by_name: before::Role,
    #[field(principal, codec = "bincode")]
    user: u64,
    #[field(default)]
    cart: Cart,
    #[field(default, version = 1)]
    draft: Vec<String>,
    #[field(once)]
    notice: String,
}

#[session]
struct New {
    #[field(codec = "bincode")]
    role: after::Role,
    by_name: after::Role,
    #[field(principal, codec = "bincode")]
    user: i64,
    #[field(default)]
    cart: CartWithGift,
    #[field(default, version = 2)]
    draft: String,
    #[field(once, version = 2)]
    notice: u8,
}

struct Fixture {
    client: Client,
    layer: SessionLayer,
}

impl Fixture {
    fn new() -> Self {
        let layer = SessionLayer::new(Arc::new(MemoryStore::new()));
        let app = Router::new()
            .route("/old/draft", get(|old: Old| async move { old.draft().await.map(drop) }))
            .layer(layer.clone());
        Self { client: new_client(app), layer }
    }

    async fn run<S, F>(&self, act: impl FnOnce(S) -> F + Send + 'static) -> F::Output
    where
        S: TypedSession<Layer = ruts::session::Unnamed>,
        F: Future<Output: Send + 'static> + Send,
    {
        with_session(&self.client, &self.layer, act).await
    }
}

fn source(result: Result<impl std::fmt::Debug, Error>) -> CodecError {
    match result.unwrap_err() {
        Error::Decode { source, .. } | Error::Encode { source, .. } => source,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_guest_never_becomes_an_administrator() {
    let fixture = Fixture::new();
    fixture
        .run(|old: Old| async move {
            old.set_role(&before::Role::Guest).await.unwrap();
            old.set_by_name(&before::Role::Guest).await.unwrap();
        })
        .await;
    fixture
        .run(|new: New| async move {
            assert_eq!(source(new.role().await), CodecError::Shape);
            let update = new.role().update(|role| *role = Some(after::Role::Admin)).await;
            assert_eq!(source(update), CodecError::Shape, "an update does not overwrite it");
            let by_name = new.by_name().await.unwrap();
            assert_eq!(by_name, Some(after::Role::Guest), "MessagePack reads by names");
            let untyped = new.session().get::<after::Role>("role").await;
            assert_eq!(source(untyped), CodecError::Shape);
        })
        .await;
    let old = fixture.run(|old: Old| async move { old.role().await.unwrap() }).await;
    assert_eq!(old, Some(before::Role::Guest), "the way back finds the value");
}

#[tokio::test]
async fn a_user_never_becomes_another_user() {
    let fixture = Fixture::new();
    fixture.run(|old: Old| async move { old.set_user(&8).await.unwrap() }).await;
    let user = fixture.run(|new: New| async move { new.user().await }).await;
    assert_eq!(source(user), CodecError::Shape);
}

#[tokio::test]
async fn a_field_with_a_default_can_be_added_under_one_version() {
    let fixture = Fixture::new();
    let cart = Cart { items: vec!["tea".to_owned()] };
    fixture.run(|old: Old| async move { old.set_cart(&cart).await.unwrap() }).await;
    fixture
        .run(|new: New| async move {
            assert_eq!(new.cart().await.unwrap().items, ["tea"]);
            new.cart().update(|cart| cart.gift = true).await.unwrap();
        })
        .await;
    let cart = fixture.run(|old: Old| async move { old.cart().await.unwrap() }).await;
    assert_eq!(cart.items, ["tea"], "the release before reads what the new one has written");
}

/// During a deploy, and after a way back.
#[tokio::test]
async fn a_newer_value_is_neither_guessed_nor_overwritten() {
    let fixture = Fixture::new();
    fixture.run(|new: New| async move { new.set_draft("new").await.unwrap() }).await;
    fixture
        .run(|old: Old| async move {
            let newer =
                |error| matches!(error, Error::Newer { stored: 2, known: 1, ref field } if field == "draft");
            assert!(newer(old.draft().await.unwrap_err()), "not the default");
            let update = old.draft().update(|draft| draft.push("old".to_owned())).await;
            assert!(newer(update.unwrap_err()));
            assert!(newer(old.session().get::<String>("draft").await.unwrap_err()));
            old.set_cart(&Cart::default()).await.unwrap();
        })
        .await;
    let reply = fixture.client.get("/old/draft").await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(reply.headers[header::RETRY_AFTER], "1");
    let draft = fixture.run(|new: New| async move { new.draft().await.unwrap() }).await;
    assert_eq!(draft, "new");
}

/// The release that knows the value can still take it.
#[tokio::test]
async fn a_newer_value_stays_when_it_is_taken() {
    let fixture = Fixture::new();
    fixture.run(|new: New| async move { new.set_notice(&7).await.unwrap() }).await;
    let old = fixture.run(|old: Old| async move { old.notice().take().await }).await;
    assert!(matches!(old, Err(Error::Newer { stored: 2, known: 1, .. })), "{old:?}");
    let new = fixture.run(|new: New| async move { new.notice().take().await.unwrap() }).await;
    assert_eq!(new, Some(7));
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    Card { number: u32 },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Skipping {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first: Option<u8>,
    second: u8,
}

#[session]
struct Formats {
    #[field(codec = "bincode")]
    tagged: Tagged,
    #[field(codec = "bincode")]
    skipping: Skipping,
    tagged_by_name: Tagged,
    skipping_by_name: Skipping,
}

/// A build with debug assertions finds it at the first write.
#[cfg(debug_assertions)]
#[tokio::test]
async fn a_value_that_its_codec_cannot_read_back_is_refused() {
    let fixture = Fixture::new();
    fixture
        .run(|formats: Formats| async move {
            let tagged = Tagged::Card { number: 7 };
            let skipping = Skipping { first: None, second: 2 };
            let unreadable = CodecError::Unreadable(ruts::codec::Codec::Bincode);
            assert_eq!(source(formats.set_tagged(&tagged).await), unreadable);
            assert_eq!(source(formats.set_skipping(&skipping).await), unreadable);
            formats.set_tagged_by_name(&tagged).await.unwrap();
            formats.set_skipping_by_name(&skipping).await.unwrap();
            assert_eq!(formats.tagged_by_name().await.unwrap(), Some(tagged));
            assert_eq!(formats.skipping_by_name().await.unwrap(), Some(skipping));
        })
        .await;
}
