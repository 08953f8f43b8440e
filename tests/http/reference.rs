//! The examples in the documentation of ruts 0.9 that need no driver. They must compile unchanged,
//! and run where they can. `tests/stores` has the examples for servers.

#![allow(clippy::let_and_return, unused_variables, reason = "the examples stay as they are")]

use axum::{Router, routing::get};
use ruts_tests_support::{ClientExt, new_client};

mod basic_operations {
    use ruts::Session;
    use ruts::store::SessionMap;
    use ruts::store::memory::MemoryStore;

    #[derive(serde::Deserialize)]
    struct User;

    pub(super) async fn handler(session: Session<MemoryStore>) {
        // Get a single field's data
        let value: Option<User> = session.get("key").await.unwrap();

        // Get all session data as a map for lazy deserialization
        let session_map: Option<SessionMap> = session.get_all().await.unwrap();
        if let Some(map) = session_map {
            let user: Option<User> = map.get("user").unwrap();
        }

        // Update existing data
        session.set("key", &"new_value", None, None).await.unwrap();

        // Prepare a new session ID before an insert/update to prevent session fixation
        let new_id = session.prepare_regenerate();
        session.set("key", &"value_with_new_id", None, None).await.unwrap();

        // Remove a single field
        session.remove("key").await.unwrap();

        // Delete the entire session
        session.delete().await.unwrap();

        // Regenerate session ID for security
        session.regenerate().await.unwrap();

        // Update the session's overall expiry time
        session.expire(7200).await.unwrap();

        // Get the current session ID
        let id = session.id();
    }
}

mod quick_start {
    use axum::{Router, routing::get};
    use ruts::store::memory::MemoryStore;
    use ruts::{CookieOptions, Session, SessionLayer};
    use std::sync::Arc;
    use tower_cookies::CookieManagerLayer;

    pub(super) fn app() -> Router {
        // Create session store
        let store = MemoryStore::new();

        // Configure session-cookie options
        let cookie_options = CookieOptions::build()
            .name("session")
            .http_only(true)
            .same_site(cookie::SameSite::Lax)
            .secure(true)
            .max_age(3600) // 1 hour
            .path("/");

        // Create session layer
        let session_layer = SessionLayer::new(Arc::new(store)).with_cookie_options(cookie_options);

        // Set up router with session management
        Router::new().route("/", get(handler)).layer(session_layer).layer(CookieManagerLayer::new()) // CookieManagerLayer must be after
    }

    async fn handler(session: Session<MemoryStore>) -> String {
        let count: Option<i32> = session.get("count").await.unwrap();
        let new_count = count.unwrap_or(0) + 1;
        session.set("count", &new_count, None, None).await.unwrap();
        format!("You've visited this page {} times", new_count)
    }
}

mod cookie_configuration {
    #[test]
    fn plain() {
        use ruts::CookieOptions;
        use ruts::cookie::SameSite;

        let cookie_options = CookieOptions::build()
            .name("my_session_cookie")
            .http_only(true)
            .same_site(SameSite::Strict)
            .secure(true) // Set to true in production
            .max_age(7200) // 2 hours
            .path("/")
            .domain("example.com");
        assert_eq!(cookie_options.check(), Ok(()));
    }

    #[test]
    fn signed() {
        use cookie::SameSite;
        use ruts::CookieOptions;
        use tower_cookies::Key;

        let key = Key::generate();
        let cookie_options = CookieOptions::build()
            .name("secure_session")
            .http_only(true)
            .same_site(SameSite::Lax)
            .secure(true)
            .max_age(3600)
            .path("/")
            .signing_key(key);
        assert_eq!(cookie_options.check(), Ok(()));
    }

    #[test]
    fn the_key_is_the_one_of_tower_cookies() {
        let key: ruts::Key = tower_cookies::Key::generate();
        assert!(ruts::CookieOptions::build().signing_key(key).check().is_ok());
    }
}

mod middleware_ordering {
    use axum::Router;
    use ruts::{SessionLayer, store::memory::MemoryStore};
    use std::sync::Arc;
    use tower_cookies::CookieManagerLayer;

    pub(super) fn router() -> Router {
        let app: Router<()> = Router::new();
        let session_layer = SessionLayer::new(Arc::new(MemoryStore::new()));

        // Correct order
        let router = app.layer(session_layer).layer(CookieManagerLayer::new());
        router
    }
}

#[tokio::test]
async fn the_quick_start_counts_visits() {
    let client = new_client(quick_start::app());
    assert_eq!(client.text("/").await, "You've visited this page 1 times");
    assert_eq!(client.text("/").await, "You've visited this page 2 times");
    assert!(client.cookie("__Host-session").is_some());
}

#[tokio::test]
async fn the_basic_operations_run() {
    let app = Router::new()
        .route("/basic", get(basic_operations::handler))
        .merge(middleware_ordering::router())
        .layer(ruts::SessionLayer::new(ruts::store::memory::MemoryStore::new()));
    let client = new_client(app);
    client.text("/basic").await;
}
