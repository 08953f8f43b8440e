//! Reads random bytes from the store as values of every codec.
//!
//! A read must return a value, `None` or an error, and must not panic.
#![no_main]

use std::{collections::BTreeMap, sync::LazyLock};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Request, header};
use libfuzzer_sys::fuzz_target;
use ruts::{
    SessionLayer,
    crypto::KeyRing,
    session,
    store::{Change, Create, Credentials, FieldWrite, Store, Update, memory::MemoryStore},
    token::{SecretHash, SessionId},
};
use ruts_fuzz::ReturnSession;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::runtime::{Builder, Runtime};
use tower_layer::Layer;
use tower_service::Service;

#[derive(Serialize, Deserialize)]
enum Size {
    Small,
    Parcel { width: u32, depth: Option<f64> },
}

#[derive(Serialize, Deserialize)]
struct Item {
    name: String,
    count: i64,
    size: Size,
    notes: BTreeMap<String, Vec<u8>>,
    others: Vec<Item>,
}

impl From<String> for Item {
    fn from(name: String) -> Self {
        Self { name, count: 0, size: Size::Small, notes: BTreeMap::new(), others: Vec::new() }
    }
}

/// The same bytes in fields of several types and options.
#[session]
struct Stored {
    number: u64,
    text: String,
    words: Vec<String>,
    item: Item,
    #[field(encrypt)]
    encrypted: Item,
    #[field(version = 2, migrate(1 => String))]
    version_2: Item,
}

const ID: [u8; 16] = [3; 16];
const SECRET: [u8; 32] = [5; 32];

struct Fixture {
    runtime: Runtime,
    store: MemoryStore,
    layer: SessionLayer,
    cookie: String,
}

static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().build().expect("the runtime should start");
    let store = MemoryStore::new();
    let secret = SecretHash::from_bytes(Sha256::digest(SECRET).into());
    let id = SessionId::from_bytes(ID);
    runtime.block_on(store.create(Create::new(&id, &secret))).expect("the session should be new");
    let ring = KeyRing::new([[7; 32]]).expect("the secret should be long enough");
    let layer = SessionLayer::new(store.clone()).encryption_keys(ring);
    let (id, secret) = (URL_SAFE_NO_PAD.encode(ID), URL_SAFE_NO_PAD.encode(SECRET));
    Fixture { runtime, store, layer, cookie: format!("__Host-id={id}.{secret}") }
});

async fn read(stored: Stored) {
    let _ = stored.number().await;
    let _ = stored.text().await;
    let _ = stored.words().await;
    let _ = stored.item().await;
    let _ = stored.version_2().await;
    let decrypted = stored.encrypted().await;
    assert!(
        !matches!(decrypted, Ok(Some(_))),
        "a value that was not encrypted with the key should not be decrypted"
    );
    let map = stored.session().get_all().await.expect("the store should not fail");
    let map = map.expect("the session should be live");
    let _ = map.get::<String>("text");
}

fuzz_target!(|data: &[u8]| {
    let Fixture { runtime, store, layer, cookie } = &*FIXTURE;
    let value = Bytes::copy_from_slice(data);
    let names = ["number", "text", "words", "item", "encrypted", "version_2"];
    let changes = names.map(|name| Change::Set(FieldWrite::new(name, &value)));
    let secret = SecretHash::from_bytes(Sha256::digest(SECRET).into());
    let id = SessionId::from_bytes(ID);
    let update = store.update(Credentials::new(&id, &secret), Update::new(&changes));
    runtime
        .block_on(update)
        .expect("the store should not fail")
        .expect("the session should be live");

    let request = Request::builder().header(header::COOKIE, cookie).body(());
    let request = request.expect("the cookie should be a valid header");
    let response = runtime.block_on(layer.layer(ReturnSession).call(request));
    let response = response.expect("the service should not fail");
    let stored = Stored::try_from(response.into_body()).expect("the layer should have one schema");
    runtime.block_on(read(stored));
});
