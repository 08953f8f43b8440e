//! Tests of fields that are encrypted at rest: the bytes in the store, replaced keys, plain values
//! and planted cookies.

use std::sync::Arc;

use ruts::store::{
    layered::LayeredStore,
    memory::{MemoryCache, MemoryStore},
};
use ruts_tests_support::{
    ClientExt, new_client,
    scenarios::encryption::{
        FIRST_SECRET, PLAINTEXT, SECOND_SECRET, a_store_holds_no_plaintext, app,
    },
};

fn plaintext() -> String {
    format!("Some({PLAINTEXT:?})")
}

// proves: CS-3
#[tokio::test]
async fn a_store_in_memory_holds_no_plaintext() {
    a_store_holds_no_plaintext(&Arc::new(MemoryStore::new())).await;
}

// proves: CS-3
#[tokio::test]
async fn a_layered_store_holds_no_plaintext() {
    let store =
        LayeredStore::builder(MemoryCache::new(100), MemoryStore::new()).build_for_one_process();
    a_store_holds_no_plaintext(&Arc::new(store)).await;
}

#[tokio::test]
async fn a_secret_can_be_replaced_while_sessions_live() {
    let store = Arc::new(MemoryStore::new());
    let with = |secrets: &[&str]| new_client(app(&store, secrets));
    let client = with(&[FIRST_SECRET]);
    client.text("/write").await;
    let client = client.after_a_restart(&with(&[SECOND_SECRET, FIRST_SECRET]));
    assert_eq!(client.text("/read").await, plaintext());
    client.text("/write").await;
    let client = client.after_a_restart(&with(&[SECOND_SECRET]));
    assert_eq!(client.text("/read").await, plaintext());
    let client = client.after_a_restart(&with(&[FIRST_SECRET]));
    assert_eq!(client.text("/read").await, "NoKey");
}

#[tokio::test]
async fn without_a_key_nothing_is_written() {
    let client = new_client(app(&Arc::new(MemoryStore::new()), &[]));
    for path in ["/write", "/edit"] {
        assert_eq!(client.text(path).await, "NoKeys");
    }
    assert_eq!(client.token(), None);
}

#[tokio::test]
async fn a_plain_value_in_an_encrypted_field_is_refused() {
    let client = new_client(app(&Arc::new(MemoryStore::new()), &[FIRST_SECRET]));
    client.text("/plain/write").await;
    assert_eq!(client.text("/read").await, "NotEncrypted");
    assert_eq!(client.text("/map").await, "NotEncrypted");
    // A value of a different version counts as absent.
    assert_eq!(client.text("/next/read").await, "None");
    // A write replaces the plain value with an encrypted one. A field that is declared without
    // `encrypt` can read the encrypted value, too.
    client.text("/write").await;
    assert_eq!(client.text("/read").await, plaintext());
    assert_eq!(client.text("/plain/read").await, plaintext());
}

#[tokio::test]
async fn a_planted_cookie_does_not_change_the_session_that_a_value_is_bound_to() {
    let client = new_client(app(&Arc::new(MemoryStore::new()), &[FIRST_SECRET]));
    let other = client.stranger();
    other.text("/write").await;
    other.text("/in/eve").await;
    client.text("/visit").await;
    let good = client.token().unwrap();
    // An unknown token comes first, as if a sibling domain had planted it.
    let header = format!("__Host-id=AAAAAAAAAAAAAAAAAAAAAA.{}; __Host-id={good}", "A".repeat(43));
    let reply = client.stranger().get_with("/write", &[("cookie", &header)]).await;
    assert_eq!((&*reply.text(), reply.set_cookies().len()), ("()", 0));
    assert_eq!(client.text("/read").await, plaintext());
}
