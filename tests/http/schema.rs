//! Tests of value types that change between two releases on one store.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{Router, http::StatusCode, http::header, routing::get};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use ruts::{
    Error, SessionLayer,
    codec::{Codec, CodecError},
    crypto::KeyRing,
    field::{Field, FieldSpec},
    session,
    session::{DefaultLayer, TypedSession, Unreadable},
    store::{
        OnLimit,
        memory::{ManualClock, MemoryStore},
    },
    testing::{Client, with_session},
};
use ruts_tests_support::{Log, new_client};
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
    #[field(default, version = 2, migrate(1 => discard))]
    draft: String,
    #[field(once, version = 2, migrate(1 => discard))]
    notice: u8,
}

struct Fixture {
    client: Client,
    store: Arc<MemoryStore>,
}

impl Fixture {
    fn new() -> Self {
        let store = Arc::new(MemoryStore::new());
        let app = Router::new()
            .route("/old/draft", get(|old: Old| async move { old.draft().await.map(drop) }))
            .layer(SessionLayer::new(Arc::clone(&store)));
        Self { client: new_client(app), store }
    }

    /// Runs code in an instance of its own, on the shared store.
    async fn run<S, F>(&self, act: impl FnOnce(S) -> F + Send + 'static) -> F::Output
    where
        S: TypedSession<Layer = DefaultLayer>,
        F: Future<Output: Send + 'static> + Send,
    {
        self.run_with(|layer| layer, act).await
    }

    async fn run_with<S, F>(
        &self,
        configure: impl FnOnce(SessionLayer) -> SessionLayer,
        act: impl FnOnce(S) -> F + Send + 'static,
    ) -> F::Output
    where
        S: TypedSession<Layer = DefaultLayer>,
        F: Future<Output: Send + 'static> + Send,
    {
        let layer = configure(SessionLayer::new(Arc::clone(&self.store)));
        with_session(&self.client, &layer, act).await
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
            assert_eq!(
                source(update),
                CodecError::Shape,
                "an update should not overwrite the unreadable value"
            );
            let by_name = new.by_name().await.unwrap();
            assert_eq!(by_name, Some(after::Role::Guest), "MessagePack should read by name");
            let untyped = new.session().get::<after::Role>("role").await;
            assert_eq!(source(untyped), CodecError::Shape);
        })
        .await;
    let old = fixture.run(|old: Old| async move { old.role().await.unwrap() }).await;
    assert_eq!(old, Some(before::Role::Guest), "a rollback should find the value");
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
    let cart = fixture
        .run(|old: Old| async move {
            assert!(
                !old.cart().settle().await.unwrap(),
                "`settle` should write nothing, because the value would stay the same"
            );
            old.cart().update(|cart| cart.items.push("milk".to_owned())).await.unwrap();
            assert!(!old.cart().settle().await.unwrap());
            old.cart().await.unwrap()
        })
        .await;
    assert_eq!(
        cart.items,
        ["tea", "milk"],
        "the previous release should read what the new one wrote"
    );
    let gift = fixture.run(|new: New| async move { new.cart().await.unwrap().gift }).await;
    assert!(gift, "the previous release should keep the field that it does not know");
}

/// A previous release cannot read newer values, during a deployment or after a rollback.
#[tokio::test]
async fn a_newer_value_is_neither_guessed_nor_overwritten() {
    let fixture = Fixture::new();
    fixture.run(|new: New| async move { new.set_draft("new").await.unwrap() }).await;
    fixture
        .run(|old: Old| async move {
            let newer =
                |error| matches!(error, Error::Newer { stored: 2, known: 1, ref field } if field == "draft");
            assert!(newer(old.draft().await.unwrap_err()), "a newer value should be an error instead of the default");
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

/// If a release does not know the version of a value, its `take` leaves the value in place. So a
/// later release can take it.
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
    nested: Vec<Option<Option<u8>>>,
}

/// A build with debug assertions refuses such a value at its first write.
#[cfg(debug_assertions)]
#[tokio::test]
async fn a_value_that_its_codec_cannot_read_back_is_refused() {
    let fixture = Fixture::new();
    fixture
        .run(|formats: Formats| async move {
            let tagged = Tagged::Card { number: 7 };
            let skipping = Skipping { first: None, second: 2 };
            let unreadable = CodecError::Unreadable(Codec::Bincode);
            assert_eq!(source(formats.set_tagged(&tagged).await), unreadable);
            assert_eq!(source(formats.set_skipping(&skipping).await), unreadable);
            let nested = source(formats.set_nested(&vec![Some(None)]).await);
            assert_eq!(
                nested,
                CodecError::Unreadable(Codec::MessagePack),
                "a value that would be read back as `None` should be refused"
            );
            formats.set_nested(&vec![Some(Some(7))]).await.unwrap();
            formats.set_tagged_by_name(&tagged).await.unwrap();
            formats.set_skipping_by_name(&skipping).await.unwrap();
            assert_eq!(formats.tagged_by_name().await.unwrap(), Some(tagged));
            assert_eq!(formats.skipping_by_name().await.unwrap(), Some(skipping));
        })
        .await;
}

/// Three releases of a cart, and of a note that is taken once.
mod cart {
    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub(super) struct V1(pub(super) Vec<String>);

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub(super) struct V2 {
        pub(super) items: Vec<(String, u32)>,
    }

    #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
    pub(super) struct Cart {
        pub(super) items: Vec<(String, u32)>,
        pub(super) total: u32,
    }

    impl From<V1> for V2 {
        fn from(V1(items): V1) -> Self {
            Self { items: items.into_iter().map(|item| (item, 1)).collect() }
        }
    }

    /// A cart of more than three different items cannot be converted.
    impl TryFrom<V2> for Cart {
        type Error = String;

        fn try_from(V2 { items }: V2) -> Result<Self, String> {
            let total = items.iter().map(|(_, count)| count).sum();
            if items.len() > 3 { Err("hunter2".to_owned()) } else { Ok(Self { items, total }) }
        }
    }

    /// The reverse conversion, for the bridge release.
    impl TryFrom<Cart> for V2 {
        type Error = ();

        fn try_from(Cart { items, .. }: Cart) -> Result<Self, ()> {
            Ok(Self { items })
        }
    }

    impl TryFrom<V2> for V1 {
        type Error = ();

        fn try_from(V2 { items }: V2) -> Result<Self, ()> {
            let single = |(item, count)| if count == 1 { Ok(item) } else { Err(()) };
            items.into_iter().map(single).collect::<Result<_, ()>>().map(Self)
        }
    }

    #[session]
    pub(super) struct First {
        #[field(principal)]
        user: u64,
        cart: V1,
        #[field(once)]
        note: V1,
        #[field(lazy)]
        kept: u8,
    }

    #[session]
    pub(super) struct Second {
        #[field(version = 2, migrate(1 => V1))]
        cart: V2,
    }

    #[session]
    pub(super) struct Third {
        #[field(principal)]
        user: u64,
        #[field(default, version = 3, migrate(1 => V1, 2 => V2))]
        cart: Cart,
        #[field(once, version = 3, migrate(1 => V1, 2 => V2))]
        note: Cart,
        #[field(lazy, version = 2, migrate(1 => u8))]
        kept: u8,
    }

    #[session]
    pub(super) struct Discarding {
        #[field(version = 2, migrate(1 => discard))]
        cart: Cart,
    }

    /// The release between the first and the third.
    #[session]
    pub(super) struct Bridge {
        #[field(principal)]
        user: u64,
        #[field(default, version = 3, migrate(1 => V1, 2 => V2), writes = 1)]
        cart: Cart,
    }
}

use cart::{Bridge, Cart as NewCart, Discarding, First, Second, Third, V1, V2};

fn items(count: usize) -> V1 {
    V1((0..count).map(|item| format!("item {item}")).collect())
}

fn migrated(count: usize) -> NewCart {
    NewCart { items: V2::from(items(count)).items, total: count as u32 }
}

#[tokio::test]
async fn a_former_version_is_migrated_and_nothing_is_written() {
    let fixture = Fixture::new();
    fixture.run(|first: First| async move { first.set_cart(&items(2)).await.unwrap() }).await;
    fixture
        .run(|third: Third| async move {
            assert_eq!(
                third.cart().await.unwrap(),
                migrated(2),
                "version 1 should become version 2, then version 3"
            );
            let (cart, kept) = third.session().read((Third::CART, Third::KEPT)).await.unwrap();
            assert_eq!((cart, kept), (migrated(2), None));
            assert_eq!(third.session().store_calls(), 2, "each projection should take one call");
            assert_eq!(third.load().await.unwrap().cart, migrated(2));
        })
        .await;
    let cart = fixture.run(|first: First| async move { first.cart().await.unwrap() }).await;
    assert_eq!(cart, Some(items(2)), "an earlier release should still read what it wrote");
    let cart = fixture.run(|second: Second| async move { second.cart().await.unwrap() }).await;
    fixture
        .run(|second: Second| async move { second.set_cart(&cart.unwrap()).await.unwrap() })
        .await;
    let cart = fixture.run(|third: Third| async move { third.cart().await.unwrap() }).await;
    assert_eq!(cart, migrated(2), "version 2 should be read as well");
}

#[tokio::test]
async fn an_update_migrates_and_an_old_release_does_not_undo_it() {
    let fixture = Fixture::new();
    fixture.run(|first: First| async move { first.set_cart(&items(2)).await.unwrap() }).await;
    fixture
        .run(|third: Third| async move {
            third.cart().update(|cart| cart.total += 1).await.unwrap();
        })
        .await;
    fixture
        .run(|first: First| async move {
            let update = first.cart().update(|cart| *cart = None).await;
            assert!(matches!(update, Err(Error::Newer { stored: 3, known: 1, .. })), "{update:?}");
        })
        .await;
    let cart = fixture.run(|third: Third| async move { third.cart().await.unwrap() }).await;
    assert_eq!(cart, NewCart { total: 3, ..migrated(2) });
}

#[tokio::test]
async fn a_take_migrates_and_removes() {
    let fixture = Fixture::new();
    fixture.run(|first: First| async move { first.set_note(&items(1)).await.unwrap() }).await;
    fixture
        .run(|third: Third| async move {
            assert_eq!(third.note().take().await.unwrap(), Some(migrated(1)));
            assert_eq!(third.note().take().await.unwrap(), None);
        })
        .await;
}

#[tokio::test]
async fn a_refused_conversion_leaves_the_value_and_quotes_nothing() {
    let fixture = Fixture::new();
    fixture.run(|first: First| async move { first.set_cart(&items(4)).await.unwrap() }).await;
    fixture
        .run(|third: Third| async move {
            let error = third.cart().await.unwrap_err();
            assert!(!format!("{error:?} {error}").contains("hunter2"));
            assert_eq!(source(Err::<(), _>(error)), CodecError::Migrate(1));
            let update = third.cart().update(|cart| cart.total = 0).await;
            assert_eq!(source(update), CodecError::Migrate(1));
        })
        .await;
    let cart = fixture.run(|first: First| async move { first.cart().await.unwrap() }).await;
    assert_eq!(cart, Some(items(4)));
}

#[tokio::test]
async fn a_discarded_version_reads_as_absent() {
    let fixture = Fixture::new();
    fixture.run(|first: First| async move { first.set_cart(&items(1)).await.unwrap() }).await;
    fixture
        .run(|new: Discarding| async move {
            assert_eq!(new.cart().await.unwrap(), None);
            new.cart().update(|cart| *cart = Some(migrated(2))).await.unwrap();
            assert_eq!(new.cart().await.unwrap(), Some(migrated(2)));
        })
        .await;
}

/// A key that is built by hand without a migration cannot read former versions.
#[tokio::test]
async fn a_former_version_without_a_migration_is_neither_absent_nor_overwritten() {
    const SPEC: FieldSpec = FieldSpec::new("cart").with_version(2);
    const CART: Field<V1> = Field::new(&SPEC);
    const MIGRATING: Field<V1> = Field::new(&SPEC).migrate(|stored| stored.read().map(Some));
    let fixture = Fixture::new();
    fixture.run(|first: First| async move { first.set_cart(&items(1)).await.unwrap() }).await;
    fixture
        .run(|first: First| async move {
            let former = CodecError::Former { stored: 1, known: 2 };
            let session = first.session();
            assert_eq!(source(session.entry(CART).await), former);
            assert_eq!(source(session.entry(CART).update(|cart| *cart = None).await), former);
            assert_eq!(source(session.read(CART).await), former);
            let text = format!("{former}");
            assert!(text.contains("version 1") && text.contains("migrate(1 => FormerType)"));
            assert_eq!(session.entry(MIGRATING).await.unwrap(), Some(items(1)));
        })
        .await;
    let cart = fixture.run(|first: First| async move { first.cart().await.unwrap() }).await;
    assert_eq!(cart, Some(items(1)));
}

#[tokio::test]
async fn a_list_of_sessions_migrates_their_fields() {
    let fixture = Fixture::new();
    fixture
        .run(|first: First| async move {
            first.edit().user(&7).cart(&items(2)).commit().await.unwrap();
        })
        .await;
    let sessions = Third::sessions(&fixture.store).by_user(&7);
    let page = sessions.list(Third::CART, None, 10).await.unwrap();
    assert_eq!(page.sessions[0].fields.read(Third::CART).unwrap(), migrated(2));
}

#[tokio::test]
async fn a_bridge_release_writes_what_the_release_before_reads() {
    let fixture = Fixture::new();
    fixture
        .run(|bridge: Bridge| async move {
            bridge.set_cart(&migrated(2)).await.unwrap();
            assert_eq!(bridge.cart().await.unwrap(), migrated(2));
        })
        .await;
    let cart = fixture.run(|first: First| async move { first.cart().await.unwrap() }).await;
    assert_eq!(cart, Some(items(2)));
    fixture
        .run(|bridge: Bridge| async move {
            let two_of_one = NewCart { items: vec![("tea".to_owned(), 2)], total: 2 };
            let refused = bridge.set_cart(&two_of_one).await;
            assert!(matches!(refused, Err(Error::Encode { .. })));
            assert_eq!(source(refused), CodecError::Migrate(1));
            let update = bridge.cart().update(|cart| cart.items[0].1 = 2).await;
            assert_eq!(source(update), CodecError::Migrate(1));
            bridge.cart().update(|cart| cart.items.truncate(1)).await.unwrap();
        })
        .await;
    let cart = fixture.run(|first: First| async move { first.cart().await.unwrap() }).await;
    assert_eq!(cart, Some(items(1)), "a refused write should write nothing");
    fixture.run(|third: Third| async move { third.cart().update(|_| ()).await.unwrap() }).await;
    let cart = fixture.run(|bridge: Bridge| async move { bridge.cart().await.unwrap() }).await;
    assert_eq!(cart, migrated(1), "the bridge should read what the later release wrote");
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Name {
    text: String,
}

impl From<String> for Name {
    fn from(text: String) -> Self {
        Self { text }
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.text
    }
}

/// The first of the releases in which a field of live sessions becomes encrypted.
#[session]
struct Clear {
    name: String,
}

#[session]
struct Encrypting {
    #[field(version = 2, migrate(1 => String), encrypt(since = 2))]
    name: Name,
}

#[session]
struct EncryptingBridge {
    #[field(version = 2, migrate(1 => String), encrypt(since = 2), writes = 1)]
    name: Name,
}

/// The last of these releases: all values are encrypted.
#[session]
struct Encrypted {
    #[field(version = 2, migrate(1 => String), encrypt)]
    name: Name,
}

#[session]
struct ClearOfVersion2 {
    #[field(version = 2, migrate(1 => String))]
    name: Name,
}

fn with_keys(layer: SessionLayer) -> SessionLayer {
    layer.encryption_keys(KeyRing::new([[7; 32]]).unwrap())
}

#[tokio::test]
async fn encryption_is_turned_on_for_live_sessions() {
    let fixture = Fixture::new();
    fixture.run(|clear: Clear| async move { clear.set_name("Ada").await.unwrap() }).await;
    let ada = Name { text: "Ada".to_owned() };
    let read = |new: Encrypting| async move { new.name().await.unwrap() };
    assert_eq!(fixture.run_with(with_keys, read).await, Some(ada.clone()));
    let refused = |new: Encrypted| async move { source(new.name().await) };
    assert_eq!(fixture.run_with(with_keys, refused).await, CodecError::NotEncrypted);
    let bridge = |new: EncryptingBridge| async move {
        new.name().update(|name| name.as_mut().unwrap().text += "!").await.unwrap();
    };
    fixture.run_with(with_keys, bridge).await;
    let name = fixture.run(|clear: Clear| async move { clear.name().await.unwrap() }).await;
    assert_eq!(name.as_deref(), Some("Ada!"), "the bridge should write plain values");
    let update = |new: Encrypting| async move { new.name().update(|_| ()).await.unwrap() };
    fixture.run_with(with_keys, update).await;
    fixture
        .run(|clear: Clear| async move {
            let newer = |error| matches!(error, Error::Newer { stored: 2, known: 1, .. });
            assert!(
                newer(clear.name().await.unwrap_err()),
                "the version should be checked before the key"
            );
            assert!(newer(clear.session().read(Clear::NAME).await.unwrap_err()));
            assert!(newer(clear.session().get::<String>("name").await.unwrap_err()));
            let all = clear.session().get_all().await.unwrap().unwrap();
            assert!(newer(all.get::<String>("name").unwrap_err()));
            assert!(newer(all.read(Clear::NAME).unwrap_err()));
        })
        .await;
    let read = |new: Encrypted| async move { new.name().await.unwrap().unwrap().text };
    assert_eq!(fixture.run_with(with_keys, read).await, "Ada!");
    // A plain value in a version whose values must be encrypted.
    fixture.run(|clear: ClearOfVersion2| async move { clear.set_name(&ada).await.unwrap() }).await;
    let refused = |new: Encrypting| async move { source(new.name().await) };
    assert_eq!(fixture.run_with(with_keys, refused).await, CodecError::NotEncrypted);
}

#[tokio::test]
async fn an_unreadable_value_reads_as_absent_if_the_layer_says_so() {
    let absent = |layer: SessionLayer| layer.unreadable(Unreadable::Absent);
    let fixture = Fixture::new();
    fixture
        .run(|old: Old| async move {
            old.edit().role(&before::Role::Guest).user(&8).commit().await.unwrap();
        })
        .await;
    fixture
        .run_with(absent, |new: New| async move {
            assert_eq!(new.role().await.unwrap(), None);
            assert_eq!(new.user().await.unwrap(), None);
            assert_eq!(new.session().read((New::ROLE, New::USER)).await.unwrap(), (None, None));
            assert_eq!(new.session().get::<after::Role>("role").await.unwrap(), None);
            new.role().update(|role| *role = Some(after::Role::User)).await.unwrap();
            assert_eq!(new.role().await.unwrap(), Some(after::Role::User));
        })
        .await;
    fixture.run(|new: New| async move { new.set_draft("new").await.unwrap() }).await;
    let newer = fixture.run_with(absent, |old: Old| async move { old.draft().await }).await;
    assert!(matches!(newer, Err(Error::Newer { .. })), "{newer:?}");
}

/// The type of a principal in two releases.
mod user {
    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub(super) struct UserId {
        pub(super) id: u64,
        pub(super) tenant: u16,
    }

    impl From<u64> for UserId {
        fn from(id: u64) -> Self {
            Self { id, tenant: 0 }
        }
    }

    /// Users of other tenants did not exist in the first release.
    impl TryFrom<UserId> for u64 {
        type Error = ();

        fn try_from(UserId { id, tenant }: UserId) -> Result<Self, ()> {
            if tenant == 0 { Ok(id) } else { Err(()) }
        }
    }

    #[session]
    pub(super) struct First {
        #[field(principal)]
        user: u64,
    }

    #[session]
    pub(super) struct Second {
        #[field(principal, version = 2, migrate(1 => u64))]
        user: UserId,
    }

    #[session]
    pub(super) struct Bridge {
        #[field(principal, version = 2, migrate(1 => u64), writes = 1)]
        user: UserId,
    }
}

#[tokio::test]
async fn a_principal_keeps_its_sessions_when_its_type_changes() {
    use user::{Bridge, First, Second, UserId};
    let ada = UserId { id: 7, tenant: 0 };
    let other = UserId { id: 7, tenant: 1 };
    let fixture = Fixture::new();
    let count = async || {
        let list = Second::sessions(&fixture.store).by_user(&UserId { id: 7, tenant: 0 });
        list.list((), None, 10).await.unwrap().sessions.len()
    };
    fixture.run(|first: First| async move { first.set_user(&7).await.unwrap() }).await;
    let expected = Some(ada.clone());
    fixture
        .run(move |second: Second| async move {
            assert_eq!(second.user().await.unwrap(), expected);
            assert_eq!(second.load().await.unwrap().user, expected);
        })
        .await;
    assert_eq!(count().await, 1);
    let sessions = Second::sessions(&fixture.store).by_user(&other);
    assert_eq!(
        sessions.revoke_all().await.unwrap(),
        0,
        "the user of a different tenant should have no session"
    );
    assert_eq!(Second::sessions(&fixture.store).by_user(&ada).revoke_all().await.unwrap(), 1);

    // The previous release finds and ends sessions of the later one.
    fixture.run(|second: Second| async move { second.set_user(&ada).await.unwrap() }).await;
    assert_eq!(count().await, 1);
    assert_eq!(First::sessions(&fixture.store).by_user(&7).revoke_all().await.unwrap(), 1);
    fixture
        .run(|bridge: Bridge| async move {
            bridge.set_user(&UserId::from(7)).await.unwrap();
            assert_eq!(bridge.user().await.unwrap(), Some(UserId::from(7)));
        })
        .await;
    assert_eq!(count().await, 1);
    let user = fixture.run(|first: First| async move { first.user().await.unwrap() }).await;
    assert_eq!(user, Some(7));
    let theirs = other.clone();
    fixture.run(move |second: Second| async move { second.set_user(&theirs).await.unwrap() }).await;
    assert_eq!(First::sessions(&fixture.store).by_user(&7).revoke_all().await.unwrap(), 0);
    // The bridge release cannot write this user, but finds the user's sessions.
    assert_eq!(Bridge::sessions(&fixture.store).by_user(&other).revoke_all().await.unwrap(), 1);
}

#[tokio::test]
async fn a_session_limit_counts_the_sessions_of_both_releases() {
    use user::{First, Second, UserId};
    let fixture = Fixture::new();
    let limit = |layer: SessionLayer| layer.max_sessions(1, OnLimit::Reject);
    fixture.run(|first: First| async move { first.set_user(&7).await.unwrap() }).await;
    let elsewhere = Fixture { client: fixture.client.stranger(), store: fixture.store.clone() };
    let sign_in = |second: Second| async move { second.set_user(&UserId::from(7)).await };
    let refused = elsewhere.run_with(limit, sign_in).await;
    assert!(matches!(refused, Err(Error::TooManySessions)), "{refused:?}");
    let again = fixture.run_with(limit, sign_in).await;
    assert!(again.is_ok(), "the same session should not count twice: {again:?}");
}

/// A field with a TTL, in two releases.
#[session]
struct Short {
    #[field(ttl = "1h")]
    name: String,
}

#[session]
struct ShortLater {
    #[field(ttl = "1h", version = 2, migrate(1 => String))]
    name: Name,
}

#[tokio::test]
async fn settle_writes_the_present_form_for_the_rest_of_the_lifetime() {
    const MINUTE: Duration = Duration::from_secs(60);
    let clock = ManualClock::new();
    let mut fixture = Fixture::new();
    fixture.store = Arc::new(MemoryStore::builder().clock(clock.clone()).build());
    fixture.run(|short: Short| async move { short.set_name("Ada").await.unwrap() }).await;
    clock.advance(50 * MINUTE);
    fixture
        .run(|later: ShortLater| async move {
            assert_eq!(later.name().await.unwrap().unwrap().text, "Ada");
            assert_eq!(later.session().store_calls(), 1);
            assert!(later.name().settle().await.unwrap());
            assert_eq!(later.session().store_calls(), 2);
            assert!(
                !later.name().settle().await.unwrap(),
                "a second `settle` should write nothing"
            );
            assert_eq!(later.session().store_calls(), 2);
        })
        .await;
    let newer = fixture.run(|short: Short| async move { short.name().await }).await;
    assert!(matches!(newer, Err(Error::Newer { stored: 2, known: 1, .. })), "{newer:?}");
    clock.advance(9 * MINUTE);
    let read = |later: ShortLater| async move {
        let name = later.name().await.unwrap();
        assert!(!later.name().settle().await.unwrap());
        name
    };
    assert!(fixture.run(read).await.is_some());
    clock.advance(2 * MINUTE);
    assert_eq!(fixture.run(read).await, None);
}

/// Another request writes the field between the read and the write.
#[tokio::test]
async fn settle_overwrites_no_other_write() {
    let fixture = Fixture::new();
    fixture.run(|clear: Clear| async move { clear.set_name("Ada").await.unwrap() }).await;
    let (client, store) = (fixture.client.clone(), Arc::clone(&fixture.store));
    fixture
        .run(|later: ClearOfVersion2| async move {
            assert_eq!(later.name().await.unwrap().unwrap().text, "Ada");
            let other = SessionLayer::new(store);
            let write = |clear: Clear| async move { clear.set_name("Bob").await.unwrap() };
            with_session(&client, &other, write).await;
            assert!(later.name().settle().await.unwrap());
            assert_eq!(later.name().await.unwrap().unwrap().text, "Bob");
        })
        .await;
    let name =
        fixture.run(|later: ClearOfVersion2| async move { later.name().await.unwrap() }).await;
    assert_eq!(name.unwrap().text, "Bob");
}

/// Old and new instances run side by side in each of the three steps.
#[tokio::test]
async fn a_key_is_replaced_in_three_steps() {
    let keys = |secrets: &'static [[u8; 32]]| {
        move |layer: SessionLayer| layer.encryption_keys(KeyRing::new(secrets).unwrap())
    };
    let (one, both, swapped, other) =
        (keys(&[[1; 32]]), keys(&[[1; 32], [2; 32]]), keys(&[[2; 32], [1; 32]]), keys(&[[2; 32]]));
    let read = |new: Encrypted| async move { new.name().await.map(|name| name.unwrap().text) };
    let fixture = Fixture::new();
    let ada = Name { text: "Ada".to_owned() };
    fixture.run_with(one, |new: Encrypted| async move { new.set_name(&ada).await.unwrap() }).await;
    for instance in [one, both, swapped] {
        assert_eq!(fixture.run_with(instance, read).await.unwrap(), "Ada");
    }
    let without = fixture.run_with(other, read).await;
    assert_eq!(source(without), CodecError::NoKey);
    let settle = |new: Encrypted| async move { new.name().settle().await.unwrap() };
    assert!(
        !fixture.run_with(both, settle).await,
        "`settle` should write nothing, because the value has the first key"
    );
    assert!(fixture.run_with(swapped, settle).await);
    assert!(!fixture.run_with(swapped, settle).await);
    for instance in [both, swapped, other] {
        assert_eq!(fixture.run_with(instance, read).await.unwrap(), "Ada");
    }
}

/// Schemas that share a layer.
mod shared {
    use super::*;

    #[session]
    pub(super) struct Shop {
        #[field(principal)]
        user: u64,
        #[field(ttl = "1h")]
        cart: Cart,
    }

    /// The same fields with a different default and TTL, and one more field.
    #[session]
    pub(super) struct Checkout {
        #[field(principal)]
        user: u64,
        #[field(default, ttl = "2h")]
        cart: Cart,
        address: String,
    }

    #[session]
    pub(super) struct Admin {
        #[field(principal)]
        user: u64,
        cart: u8,
    }

    #[session]
    pub(super) struct NextVersion {
        #[field(version = 2, migrate(1 => discard))]
        cart: Cart,
    }

    #[session(prefix = "admin")]
    pub(super) struct Prefixed {
        cart: u8,
    }
}

#[tokio::test]
async fn schemas_that_contradict_each_other_are_refused_in_one_layer() {
    use shared::{Admin, Checkout, NextVersion, Prefixed, Shop};
    let app = Router::new()
        .route("/shop", get(|_: Shop| async {}))
        .route("/checkout", get(|_: Checkout| async {}))
        .route("/prefixed", get(|_: Prefixed| async {}))
        .route("/next", get(|_: NextVersion| async {}))
        .route("/admin", get(|admin: Result<Admin, Error>| async { format!("{:?}", admin.err()) }))
        .layer(SessionLayer::new(MemoryStore::new()));
    let client = new_client(app);
    for path in ["/shop", "/checkout", "/prefixed", "/shop"] {
        assert_eq!(client.get(path).await.status, StatusCode::OK, "{path}");
    }
    for _ in 0..2 {
        let refused = client.get("/admin").await.text();
        let expected = r#"Some(SchemaConflict { field: "cart", schemas: ["Shop", "Admin"] })"#;
        assert_eq!(refused, expected);
        assert_eq!(client.get("/next").await.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(client.get("/checkout").await.status, StatusCode::OK);
    }
}

/// The counters show when a former type or a former key is no longer needed.
#[tokio::test]
async fn versions_and_keys_are_counted() {
    let keys = |secrets: &'static [[u8; 32]]| {
        move |layer: SessionLayer| layer.encryption_keys(KeyRing::new(secrets).unwrap())
    };
    let (one, swapped) = (keys(&[[1; 32]]), keys(&[[2; 32], [1; 32]]));
    let fixture = Fixture::new();
    let ada = Name { text: "Ada".to_owned() };
    fixture.run(|first: First| async move { first.set_cart(&items(1)).await.unwrap() }).await;
    fixture.run_with(one, |new: Encrypted| async move { new.set_name(&ada).await.unwrap() }).await;
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let guard = metrics::set_default_local_recorder(&recorder);
    let read = |new: Encrypted| async move { new.name().await.map(drop).unwrap() };
    fixture.run_with(one, read).await;
    fixture.run_with(swapped, read).await;
    fixture.run(|first: First| async move { first.cart().await.map(drop).unwrap() }).await;
    fixture.run(|third: Third| async move { third.cart().await.map(drop).unwrap() }).await;
    drop(guard);
    let expected = [
        ("ruts_decryptions_total name first", 1),
        ("ruts_decryptions_total name former", 1),
        ("ruts_field_reads_total cart 1 other", 1),
        ("ruts_field_reads_total cart 1 own", 1),
        ("ruts_field_reads_total name 2 own", 2),
    ];
    assert_eq!(
        counted(&snapshotter),
        expected.map(|(name, count)| (name.to_owned(), count)).into()
    );
}

/// Returns the counters above zero, each with the values of its labels.
fn counted(snapshotter: &Snapshotter) -> BTreeMap<String, u64> {
    let counted = snapshotter.snapshot().into_vec().into_iter().filter_map(|(key, _, _, value)| {
        let labels: Vec<_> = key.key().labels().map(metrics::Label::value).collect();
        let DebugValue::Counter(count) = value else { return None };
        (count > 0).then(|| (format!("{} {}", key.key().name(), labels.join(" ")), count))
    });
    counted.collect()
}

#[tokio::test]
async fn an_unreadable_value_is_counted_each_time_and_logged_once() {
    // No other test has an unreadable value in a field of this name.
    const SPEC: FieldSpec = FieldSpec::new("shelf").with_codec(Codec::Bincode);
    const BEFORE: Field<before::Role> = Field::new(&SPEC);
    const AFTER: Field<after::Role> = Field::new(&SPEC);
    let fixture = Fixture::new();
    fixture
        .run(|old: Old| async move {
            old.session().entry(BEFORE).set(&before::Role::Guest).await.unwrap();
        })
        .await;
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let (log, _logging) = Log::start();
    let guard = metrics::set_default_local_recorder(&recorder);
    for _ in 0..2 {
        let absent = |layer: SessionLayer| layer.unreadable(Unreadable::Absent);
        let read = |new: New| async move { new.session().entry(AFTER).await.unwrap() };
        assert_eq!(fixture.run_with(absent, read).await, None);
    }
    drop(guard);
    assert_eq!(counted(&snapshotter)["ruts_unreadable_fields_total shelf"], 2);
    let text = log.text();
    let lines: Vec<_> = text.lines().filter(|line| line.contains("read as absent")).collect();
    let [line] = lines[..] else { panic!("{text}") };
    assert!(line.contains("WARN") && line.contains("shelf") && !line.contains("Guest"), "{line}");
}
