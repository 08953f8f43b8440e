//! Reads random bytes as the headers `Cookie` and `Authorization`.
//!
//! The layer must neither panic nor find a session.
#![no_main]

use std::sync::LazyLock;

use http::{HeaderValue, Request, header};
use libfuzzer_sys::fuzz_target;
use ruts::{
    CookieOptions, SessionLayer, crypto::KeyRing, layer::TokenSource, store::memory::MemoryStore,
};
use ruts_fuzz::ReturnSession;
use tokio::runtime::{Builder, Runtime};
use tower_layer::Layer;
use tower_service::Service;

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().build().expect("the runtime should start"));

/// Layers with plain, signed and encrypted cookies. All read tokens from headers too.
static LAYERS: LazyLock<Vec<SessionLayer>> = LazyLock::new(|| {
    let ring = KeyRing::new([[7; 32], [9; 32]]).expect("the secrets should be long enough");
    let layer = || SessionLayer::new(MemoryStore::new()).token_source(TokenSource::Both);
    let options = CookieOptions::build;
    vec![
        layer(),
        layer().with_cookie_options(options().signing_keys(&ring)),
        layer().with_cookie_options(options().encryption_keys(&ring)),
    ]
});

fuzz_target!(|data: &[u8]| {
    let Ok(value) = HeaderValue::from_bytes(data) else { return };
    for layer in LAYERS.iter() {
        for name in [header::COOKIE, header::AUTHORIZATION] {
            let request = Request::builder().header(name, value.clone()).body(());
            let request = request.expect("the header should be valid");
            let response = RUNTIME.block_on(layer.layer(ReturnSession).call(request));
            let session = response.expect("the service should not fail").into_body();
            let id = RUNTIME.block_on(session.verify()).expect("the store should not fail");
            assert!(id.is_none(), "{data:?} should not find a session");
        }
    }
});
