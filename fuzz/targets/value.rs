//! Stored bytes to value: whatever stands in the store, reading it is a value, nothing or an error.
#![no_main]

use std::{collections::BTreeMap, sync::LazyLock};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Request, header};
use libfuzzer_sys::fuzz_target;
use ruts::{
    SessionId, CachePolicy, KeyRing, SecretHash, SessionLayer, session,
    store::{Credentials, Change, Create, Put, Store, Update, memory::MemoryStore},
};
use ruts_fuzz::Take;
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

/// The same bytes, by all the ways in which they can be read.
#[session]
struct Stored {
    number: u64,
    text: String,
    words: Vec<String>,
    item: Item,
    #[field(encrypt)]
    sealed: Item,
    #[field(version = 2)]
    later: Item,
}

const HANDLE: [u8; 16] = [3; 16];
const SECRET: [u8; 32] = [5; 32];

struct Fixture {
    runtime: Runtime,
    store: MemoryStore,
    layer: SessionLayer,
    cookie: String,
}

static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    let store = MemoryStore::new();
    let secret = SecretHash::from_bytes(Sha256::digest(SECRET).into());
    let create = Create {
        id: &SessionId::from_bytes(HANDLE),
        secret: &secret,
        idle: None,
        absolute: None,
        fields: &[],
        sign_in: None,
    };
    runtime.block_on(store.create(create)).expect("there is room");
    let ring = KeyRing::new([[7; 32]]).expect("the secret is long enough");
    let layer = SessionLayer::new(store.clone()).encryption_keys(ring);
    let (id, secret) = (URL_SAFE_NO_PAD.encode(HANDLE), URL_SAFE_NO_PAD.encode(SECRET));
    Fixture { runtime, store, layer, cookie: format!("__Host-id={id}.{secret}") }
});

async fn read(stored: Stored) {
    let _ = stored.number().await;
    let _ = stored.text().await;
    let _ = stored.words().await;
    let _ = stored.item().await;
    let _ = stored.later().await;
    assert!(!matches!(stored.sealed().await, Ok(Some(_))), "a value without a key's seal");
    let map = stored.session().get_all().await.expect("the store is there").expect("a session");
    let _ = map.get::<String>("text");
}

fuzz_target!(|data: &[u8]| {
    let Fixture { runtime, store, layer, cookie } = &*FIXTURE;
    let value = Bytes::copy_from_slice(data);
    let names = ["number", "text", "words", "item", "sealed", "later"];
    let put = |name| Change::Set(Put { name, value: &value, ttl: None, hot: CachePolicy::Auto });
    let changes = names.map(put);
    let secret = SecretHash::from_bytes(Sha256::digest(SECRET).into());
    let credentials = Credentials { id: &SessionId::from_bytes(HANDLE), secret: &secret };
    let update = Update { changes: &changes, ..Update::default() };
    runtime.block_on(store.update(credentials, update)).expect("the store is there");

    let request = Request::builder().header(header::COOKIE, cookie).body(());
    let request = request.expect("a cookie is a header");
    let response = runtime.block_on(layer.layer(Take).call(request)).expect("it cannot fail");
    runtime.block_on(read(response.into_body().into()));
});
