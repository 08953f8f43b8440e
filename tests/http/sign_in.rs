//! Tests of the principal of a session and its authentication, of guards, and of the list of a
//! user's sessions.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    extract::Path,
    http::{StatusCode, header},
    routing::get,
};
use ruts::{
    SessionLayer, session,
    session::{LayerName, PrincipalSessions},
    store::{
        OnLimit,
        layered::LayeredStore,
        memory::{ManualClock, MemoryCache, MemoryStore},
    },
    testing::Client,
};
use ruts_tests_support::{
    ClientExt, Fault, InstrumentedStore, new_client,
    scenarios::field_index::{an_index_has_pages, sessions_are_found_by_an_indexed_field},
    scenarios::sign_in::{
        Shop, a_back_channel_logout_ends_one_session,
        a_guest_keeps_the_cart_of_an_unheard_rotation, a_page_knows_why_its_user_is_signed_out,
        a_revoked_user_signs_in_at_once, id, routes, signed_in,
        users_and_administrators_end_sessions, who,
    },
    scenarios::stored_values::{no_stored_value_is_guessed, settle_keeps_the_remaining_lifetime},
    scenarios::versions::releases_share_their_sessions,
};

const MINUTE: Duration = Duration::from_secs(60);

struct Staff;

impl LayerName for Staff {
    const NAME: &str = "staff";
}

#[session(layer = Staff)]
struct Desk {
    #[field(principal)]
    user: String,
}

struct Fixture {
    clock: ManualClock,
    store: InstrumentedStore<MemoryStore>,
    client: Client,
}

fn fixture(layer: impl FnOnce(SessionLayer) -> SessionLayer) -> Fixture {
    let clock = ManualClock::new();
    let store = InstrumentedStore::new(MemoryStore::builder().clock(clock.clone()).build());
    let app = routes().layer(layer(SessionLayer::new(store.clone())));
    Fixture { clock, store, client: new_client(app) }
}

async fn status(client: &Client, path: &str) -> StatusCode {
    client.get(path).await.status
}

// proves: NIST-5.1-d ASVS-6.8.4 CS-8
#[tokio::test]
async fn the_assurance_is_that_of_the_last_sign_in() {
    let Fixture { clock, client, .. } = fixture(|layer| layer);
    client.text("/cart").await;
    assert_eq!(client.text("/who").await, "None None");
    for (user, level) in [("ada", 1), ("ada", 3), ("bob", 2), ("ada", 0)] {
        let thief = client.steal();
        client.text(&format!("/sign-in/{user}/{level}")).await;
        clock.advance(Duration::from_secs(10));
        let expected = format!("Some({user:?}) Some(({level}, 10))");
        assert_eq!(client.text("/who").await, expected);
        assert_eq!(thief.text("/who").await, "None None", "the replaced secret should be refused");
        client.text("/cart").await;
        assert_eq!(
            client.text("/who").await,
            expected,
            "nothing else should change the authentication"
        );
    }
    let thief = client.steal();
    client.text("/sign-out").await;
    assert_eq!(client.text("/who").await, "None None");
    assert_eq!(client.text("/look").await, "1", "the session should keep its fields");
    assert_eq!(thief.text("/look").await, "0");
}

// proves: NIST-5.2-b ASVS-7.3.2 NIST-5.2-e
#[tokio::test]
async fn another_authentication_starts_both_deadlines_anew() {
    let Fixture { clock, client, .. } = fixture(SessionLayer::aal2);
    client.text("/sign-in/ada/1").await;
    for _ in 0..3 {
        for _ in 0..46 {
            clock.advance(30 * MINUTE);
            client.text("/who").await;
        }
        client.text("/sign-in/ada/1").await;
    }
    client.text("/expire").await;
    clock.advance(59 * MINUTE);
    assert!(
        client.text("/who").await.starts_with("Some"),
        "the deadline should count from the sign-in, not from the creation"
    );
    clock.advance(MINUTE);
    assert_eq!(client.text("/who").await, "None None");
}

// proves: ASVS-7.5.1 ASVS-7.5.3 NIST-5.1-c CS-13 AAL2
#[tokio::test]
async fn a_guard_demands_a_level_and_a_recent_authentication() {
    let Fixture { clock, client, store } = fixture(|layer| layer);
    let open = StatusCode::OK;
    let shut = StatusCode::UNAUTHORIZED;
    for path in ["/fresh", "/aal1", "/aal2", "/both"] {
        assert_eq!(status(&client, path).await, shut);
    }
    for (level, minutes, fresh, aal1, aal2, both) in [
        (0, 0, shut, shut, shut, shut),
        (1, 0, open, open, shut, shut),
        (1, 6, shut, open, shut, shut),
        (2, 0, open, open, open, open),
        (2, 6, shut, open, open, shut),
        (3, 4, open, open, open, open),
    ] {
        client.text(&format!("/sign-in/ada/{level}")).await;
        clock.advance(minutes * MINUTE);
        for (path, expected) in
            [("/fresh", fresh), ("/aal1", aal1), ("/aal2", aal2), ("/both", both)]
        {
            assert_eq!(status(&client, path).await, expected, "{path} {level} {minutes}");
        }
    }
    store.take_calls();
    client.text("/both").await;
    assert_eq!(store.take_calls(), ["load"], "both guards and the fields should take one read");
    client.text("/sign-out").await;
    assert_eq!(status(&client, "/aal1").await, shut);
}

// proves: ASVS-7.5.1 ASVS-16.5.1
#[tokio::test]
async fn a_guard_names_the_missing_authentication_or_redirects_to_the_sign_in_page() {
    let Fixture { client, .. } = fixture(|layer| layer.sign_in_page("/sign-in"));
    let html = [("accept", "text/html,application/xhtml+xml")];
    let challenge = async |client: &Client, path: &str| {
        let reply = client.get(path).await;
        assert_eq!((reply.status, &*reply.text()), (StatusCode::UNAUTHORIZED, ""));
        reply.headers[header::WWW_AUTHENTICATE].to_str().unwrap().to_owned()
    };
    assert_eq!(challenge(&client, "/fresh").await, "Session");
    let reply = client.get_with("/fresh", &html).await;
    assert_eq!(
        (reply.status, &reply.headers[header::LOCATION]),
        (StatusCode::SEE_OTHER, &"/sign-in?next=%2Ffresh".parse().unwrap())
    );
    let reply = client.post_with("/fresh", &html).await;
    assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED);
    client.text("/sign-in/ada/1").await;
    let missing = "Session error=\"insufficient_user_authentication\"";
    assert_eq!(challenge(&client, "/aal2").await, format!("{missing}, acr_values=\"aal2\""));
    assert_eq!(status(&client, "/fresh").await, StatusCode::OK);
    let Fixture { clock, client, .. } = fixture(|layer| layer);
    client.text("/sign-in/ada/1").await;
    clock.advance(6 * MINUTE);
    assert_eq!(challenge(&client, "/fresh").await, format!("{missing}, max_age=\"300\""));
    let reply = client.get_with("/fresh", &html).await;
    assert_eq!(
        reply.status,
        StatusCode::UNAUTHORIZED,
        "without a sign-in page, the status should be 401"
    );
}

#[test]
fn the_sign_in_page_must_be_a_path_of_this_site() {
    for path in ["", "sign-in", "//evil.example", "https://evil.example/", "/\\evil.example", "/\n"]
    {
        let layer = || SessionLayer::new(MemoryStore::new()).sign_in_page(path);
        assert!(std::panic::catch_unwind(layer).is_err(), "{path:?}");
    }
}

// proves: ASVS-7.5.2 ASVS-7.4.3 CS-17
#[tokio::test]
async fn a_user_lists_and_ends_only_own_sessions() {
    let Fixture { client, store, .. } = fixture(|layer| layer);
    let phone = signed_in(&client, "ada", "phone").await;
    let laptop = signed_in(&client, "ada", "laptop").await;
    let theirs = signed_in(&client, "bob", "tablet").await;
    assert_eq!(phone.text("/devices").await, "phone,laptop");
    assert_eq!(laptop.text("/devices").await, "laptop,phone");
    let foreign = phone.text(&format!("/end/{}", id(&theirs))).await;
    assert_eq!(foreign, "false", "the session of a different user should not be revoked");
    assert!(theirs.text("/who").await.starts_with("Some(\"bob\")"));

    assert_eq!(phone.text(&format!("/end/{}", id(&laptop))).await, "true");
    assert_eq!(laptop.text("/who").await, "None None");
    assert_eq!(phone.text("/devices").await, "phone");
    signed_in(&client, "ada", "watch").await;
    let old = signed_in(&client, "ada", "old").await;
    store.take_calls();
    assert_eq!(phone.text("/end-others").await, "2");
    assert_eq!(store.take_calls(), ["load", "revoke"]);
    old.text("/cart").await;
    assert_eq!(old.text("/who").await, "None None", "a write should create a new session");
    assert_eq!(phone.text("/devices").await, "phone");
    assert_eq!(client.stranger().text("/devices").await, "");
}

// proves: ASVS-7.5.2
#[tokio::test]
async fn a_list_shows_no_secret_no_hash_and_no_value() {
    let Fixture { client, store, .. } = fixture(|layer| layer);
    let phone = signed_in(&client, "ada", "phone").await;
    let store = Arc::new(store);
    let page = Shop::sessions(&store).by_user("ada").list((), None, 10).await.unwrap();
    let shown = format!("{page:?}");
    let token = phone.token().unwrap();
    assert!(shown.contains(&token[..22]) && !shown.contains(&token[23..]), "{shown}");
    assert!(!shown.contains("phone") && !shown.contains("ada"), "{shown}");
    let debug = format!("{:?} {:?}", Shop::sessions(&store), Shop::sessions(&store).by_user("ada"));
    assert!(!debug.contains("ada"), "{debug}");
}

// proves: ASVS-7.1.2
#[tokio::test]
async fn a_limit_on_sessions_refuses_a_sign_in_or_ends_the_oldest_session() {
    let Fixture { client, .. } = fixture(|layer| layer.max_sessions(2, OnLimit::Reject));
    let first = signed_in(&client, "ada", "1").await;
    signed_in(&client, "ada", "2").await;
    let third = client.stranger();
    third.text("/cart").await;
    let before = third.token();
    let reply = third.get("/sign-in/ada/1").await;
    assert_eq!((reply.status, reply.set_cookies().len()), (StatusCode::TOO_MANY_REQUESTS, 0));
    assert_eq!((third.token(), third.text("/look").await), (before, "1".to_owned()));
    assert_eq!(third.text("/who").await, "None None");
    assert_eq!(status(&client.stranger(), "/sign-in/ada/1").await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(status(&third, "/sign-in/bob/1").await, StatusCode::OK);
    first.text("/delete").await;
    signed_in(&client, "ada", "3").await;

    let Fixture { clock, client, .. } = fixture(|layer| layer.max_sessions(2, OnLimit::EndOldest));
    let mut devices = Vec::new();
    for device in ["1", "2", "3"] {
        clock.advance(MINUTE);
        devices.push(signed_in(&client, "ada", device).await);
    }
    assert_eq!(devices[0].text("/who").await, "None None");
    assert_eq!(devices[2].text("/devices").await, "3,2");
}

#[tokio::test]
async fn while_the_clock_stands_still_the_first_sign_in_is_the_oldest() {
    for _ in 0..8 {
        let Fixture { client, .. } = fixture(|layer| layer.max_sessions(2, OnLimit::EndOldest));
        let mut devices = Vec::new();
        for device in ["1", "2", "3"] {
            devices.push(signed_in(&client, "ada", device).await);
        }
        assert_eq!(devices[0].text("/who").await, "None None");
        assert_ne!(devices[1].text("/who").await, "None None");
    }
}

/// The store carries out the sign-in, the answer is lost, and all sessions of the user are revoked
/// before the request continues.
// proves: ASVS-7.4.2
#[tokio::test]
async fn a_sign_in_whose_answer_is_lost_does_not_outlive_a_revocation() {
    let store = Arc::new(InstrumentedStore::new(MemoryStore::new()));
    let index = Shop::sessions(&store);
    let revoked = index.clone();
    let app = Router::new()
        .route("/cart", get(|shop: Shop| async move { shop.set_cart(&1).await }))
        .route(
            "/sign-in/{revoked}",
            get(
                |shop: Shop,
                 Path(is_revoked): Path<bool>,
                 Extension(store): Extension<Arc<InstrumentedStore<MemoryStore>>>| async move {
                    store.fail_next(Fault::AnswerLost);
                    assert!(shop.set_user("ada").await.is_err());
                    if is_revoked {
                        revoked.by_user("ada").revoke_all().await?;
                    }
                    who(shop).await
                },
            ),
        )
        .layer(Extension(Arc::clone(&store)))
        .layer(SessionLayer::new(Arc::clone(&store)));
    for (is_revoked, expected) in [(false, "Some(\"ada\") Some((1, 0))"), (true, "None None")] {
        let client = new_client(app.clone());
        client.text("/cart").await;
        assert_eq!(client.text(&format!("/sign-in/{is_revoked}")).await, expected);
        let listed = index.by_user("ada").list((), None, 10).await.unwrap().sessions.len();
        assert_eq!(listed, usize::from(!is_revoked));
    }
}

#[tokio::test]
async fn a_principal_belongs_to_one_layer() {
    let store = Arc::new(MemoryStore::new());
    let app = Router::new()
        .route("/desk", get(|desk: Desk| async move { desk.set_user("ada").await }))
        .merge(routes())
        .layer(SessionLayer::new(&store))
        .layer(SessionLayer::new(&store).named::<Staff>());
    let client = new_client(app);
    client.text("/desk").await;
    client.text("/sign-in/ada/1").await;
    let list =
        async |sessions: PrincipalSessions| sessions.list((), None, 10).await.unwrap().sessions;
    assert_eq!(list(Shop::sessions(&store).by_user("ada")).await.len(), 1);
    assert_eq!(Desk::sessions(&store).by_user("ada").revoke_all().await.unwrap(), 1);
    assert_eq!(list(Shop::sessions(&store).by_user("ada")).await.len(), 1);
}

/// A password reset: all sessions end, including this one, and the user signs in.
// proves: ASVS-7.4.3
#[tokio::test]
async fn a_request_can_revoke_all_sessions_and_sign_in() {
    let store = MemoryStore::new();
    let index = Shop::sessions(store.clone());
    let reset = move |shop: Shop| async move {
        shop.user().await?;
        index.by_user("ada").revoke_all().await?;
        shop.set_user("ada").await
    };
    let app = routes().route("/reset", get(reset)).layer(SessionLayer::new(store));
    let client = new_client(app);
    let here = signed_in(&client, "ada", "here").await;
    let there = signed_in(&client, "ada", "there").await;
    here.text("/reset").await;
    assert!(here.text("/who").await.contains("ada"));
    assert_eq!(there.text("/who").await, "None None");
}

#[tokio::test]
async fn a_sign_in_of_a_disconnected_client_leaves_no_session() {
    let store = InstrumentedStore::new(MemoryStore::new());
    let (send, mut signed_in) = tokio::sync::mpsc::unbounded_channel();
    let waiting = move |shop: Shop| async move {
        shop.set_user("ada").await.unwrap();
        send.send(()).unwrap();
        std::future::pending::<()>().await;
    };
    let app = routes().route("/slow", get(waiting)).layer(SessionLayer::new(store.clone()));
    let client = new_client(app);
    let request = tokio::spawn(async move { client.get("/slow").await });
    signed_in.recv().await.unwrap();
    let sessions = Shop::sessions(store.clone()).by_user("ada");
    assert_eq!(sessions.list((), None, 9).await.unwrap().sessions.len(), 1);
    let mut ended = store.pause_after("delete");
    request.abort();
    ended.reached().await;
    ended.resume();
    assert!(sessions.list((), None, 9).await.unwrap().sessions.is_empty());
}

/// A revocation may have happened during the sign-in, so the server does not send the cookie of the
/// new session.
#[tokio::test]
async fn the_cookie_of_a_new_session_is_withheld_while_its_sign_in_is_unknown() {
    for fault in [Fault::AnswerLost, Fault::Unreachable] {
        let store = InstrumentedStore::new(MemoryStore::new());
        let faulty = store.clone();
        let both = move |shop: Shop| async move {
            shop.set_cart(&1).await.unwrap();
            faulty.fail_next(fault);
            shop.set_user("ada")
                .await
                .map_err(|error| error.is_outcome_unknown())
                .unwrap_err()
                .to_string()
        };
        let app = routes().route("/together", get(both)).layer(SessionLayer::new(store.clone()));
        let client = new_client(app);
        let mut ended = store.pause_after("delete");
        let is_outcome_unknown = client.text("/together").await;
        let sessions = Shop::sessions(store.clone()).by_user("ada");
        if is_outcome_unknown == "true" {
            assert_eq!(client.token(), None);
            ended.reached().await;
            ended.resume();
        } else {
            assert!(
                client.token().is_some(),
                "a sign-in that did not happen should leave the cookie in place"
            );
        }
        assert!(sessions.list((), None, 9).await.unwrap().sessions.is_empty());
    }
}

// proves: CS-9
#[tokio::test]
async fn guests_and_users_can_have_cookies_of_different_names() {
    let store = MemoryStore::new();
    let account = |shop: Shop, desk: Desk| async move {
        desk.set_user("ada").await?;
        shop.session().delete().await
    };
    let app = Router::new()
        .route("/cart", get(|shop: Shop| async move { shop.set_cart(&1).await }))
        .route("/in", get(account))
        .route(
            "/who",
            get(|desk: Desk| async move { desk.user().await.map(|user| format!("{user:?}")) }),
        )
        .layer(SessionLayer::new(store.clone()))
        .layer(SessionLayer::new(store).named::<Staff>());
    let client = new_client(app);
    client.text("/cart").await;
    assert!(client.token().is_some() && client.cookie("__Host-id-staff").is_none());
    let guest = client.steal();
    client.text("/in").await;
    assert!(client.token().is_none());
    let signed_in =
        client.cookie("__Host-id-staff").expect("the sign-in should set the other cookie");
    assert_eq!(client.text("/who").await, r#"Some("ada")"#);
    // Neither cookie is accepted under the other's name.
    guest.plant("__Host-id-staff", &guest.token().unwrap());
    assert_eq!(guest.text("/who").await, "None");
    let swapped = client.stranger();
    swapped.plant("__Host-id", &signed_in);
    assert_eq!(swapped.text("/who").await, "None");
}

// proves: ASVS-7.4.2 ASVS-7.4.5 ASVS-7.4.3 ASVS-7.2.4 ASVS-7.6.1
#[tokio::test]
async fn a_store_in_memory_ends_sessions() {
    let store = Arc::new(MemoryStore::new());
    users_and_administrators_end_sessions(Arc::clone(&store)).await;
    a_revoked_user_signs_in_at_once(Arc::clone(&store)).await;
    a_back_channel_logout_ends_one_session([Arc::clone(&store), Arc::clone(&store)]).await;
    a_guest_keeps_the_cart_of_an_unheard_rotation(Arc::clone(&store)).await;
    releases_share_their_sessions([Arc::clone(&store), Arc::clone(&store)]).await;
    no_stored_value_is_guessed([Arc::clone(&store), Arc::clone(&store)]).await;
    settle_keeps_the_remaining_lifetime([Arc::clone(&store), Arc::clone(&store)]).await;
    sessions_are_found_by_an_indexed_field([Arc::clone(&store), Arc::clone(&store)]).await;
    an_index_has_pages([Arc::clone(&store), Arc::clone(&store)]).await;
    a_page_knows_why_its_user_is_signed_out([Arc::clone(&store), store], true).await;
}

// proves: ASVS-7.4.2 ASVS-7.4.5 ASVS-7.4.3 ASVS-7.2.4 ASVS-7.6.1
#[tokio::test]
async fn a_layered_store_ends_sessions() {
    let store =
        LayeredStore::builder(MemoryCache::new(100), MemoryStore::new()).build_for_one_process();
    let store = Arc::new(store);
    users_and_administrators_end_sessions(Arc::clone(&store)).await;
    a_revoked_user_signs_in_at_once(Arc::clone(&store)).await;
    a_back_channel_logout_ends_one_session([Arc::clone(&store), Arc::clone(&store)]).await;
    a_guest_keeps_the_cart_of_an_unheard_rotation(Arc::clone(&store)).await;
    releases_share_their_sessions([Arc::clone(&store), Arc::clone(&store)]).await;
    no_stored_value_is_guessed([Arc::clone(&store), Arc::clone(&store)]).await;
    settle_keeps_the_remaining_lifetime([Arc::clone(&store), Arc::clone(&store)]).await;
    sessions_are_found_by_an_indexed_field([Arc::clone(&store), Arc::clone(&store)]).await;
    an_index_has_pages([Arc::clone(&store), Arc::clone(&store)]).await;
    a_page_knows_why_its_user_is_signed_out([Arc::clone(&store), store], true).await;
}

#[session]
struct Office {
    #[field(principal)]
    admin: u64,
}

/// Two schemas in one session, each with a principal.
#[tokio::test]
async fn a_schema_signs_out_its_own_principal_alone() {
    let app = Router::new()
        .route("/in", get(|shop: Shop| async move { shop.set_user("ada").await }))
        .route("/who", get(who))
        .route(
            "/remove",
            get(|office: Office| async move { office.admin().remove().await.map(drop) }),
        )
        .route("/take", get(|office: Office| async move { office.admin().take().await.map(drop) }))
        .route(
            "/edit",
            get(|office: Office| async move { office.edit().remove_admin().commit().await }),
        )
        .layer(SessionLayer::new(MemoryStore::new()));
    let client = new_client(app);
    client.text("/in").await;
    for path in ["/remove", "/take", "/edit"] {
        client.text(path).await;
        assert!(client.text("/who").await.starts_with("Some(\"ada\") Some"), "{path}");
    }
}

/// A sign-in replaces the principal of another field, in whatever order the edit names both.
#[tokio::test]
async fn an_edit_signs_in_while_it_removes_another_principal() {
    let app = Router::new()
        .route("/admin", get(|office: Office| async move { office.set_admin(&1).await }))
        .route(
            "/after",
            get(|shop: Shop| async move {
                shop.session().edit().set(Shop::USER, "ada").remove(Office::ADMIN).commit().await
            }),
        )
        .route(
            "/before",
            get(|shop: Shop| async move {
                shop.session().edit().remove(Office::ADMIN).set(Shop::USER, "ada").commit().await
            }),
        )
        .route(
            "/both",
            get(|shop: Shop, office: Office| async move {
                Ok::<_, ruts::Error>(format!(
                    "{:?} {:?}",
                    shop.user().await?,
                    office.admin().await?
                ))
            }),
        )
        .layer(SessionLayer::new(MemoryStore::new()));
    for path in ["/after", "/before"] {
        let client = new_client(app.clone());
        client.text("/admin").await;
        client.text(path).await;
        assert_eq!(client.text("/both").await, "Some(\"ada\") None", "{path}");
    }
}

/// The second click gets a session of its own, but only one of the two requests takes a value that
/// can be taken once.
#[tokio::test]
async fn a_second_click_copies_no_value_that_is_taken_once() {
    #[session]
    struct Form {
        #[field(principal)]
        user: u64,
        #[field(once)]
        ticket: String,
        #[field(default)]
        draft: String,
    }
    let app = Router::new()
        .route("/in", get(|form: Form| async move { form.set_user(&7).await }))
        .route(
            "/write",
            get(|form: Form| async move { form.edit().ticket("t").draft("d").commit().await }),
        )
        .route(
            "/read",
            get(|form: Form| async move {
                Ok::<_, ruts::Error>(format!(
                    "{:?} {}",
                    form.ticket().take().await?,
                    form.draft().await?
                ))
            }),
        )
        .layer(SessionLayer::new(MemoryStore::new()));
    let client = new_client(app);
    client.text("/in").await;
    client.text("/write").await;
    let second = client.steal();
    client.text("/in").await;
    second.text("/in").await;
    assert_eq!(second.text("/read").await, "None d");
    assert_eq!(client.text("/read").await, "Some(\"t\") d");
}

/// The response to a sign-in was lost. The session of that sign-in does not count towards the
/// session limit.
#[tokio::test]
async fn a_lost_response_locks_nobody_out() {
    let layer = SessionLayer::new(MemoryStore::new()).max_sessions(1, OnLimit::Reject);
    let app = Router::new()
        .route(
            "/begin",
            get(
                |shop: Shop| async move { shop.session().set("a", &1, None, None).await.map(drop) },
            ),
        )
        .route("/in", get(|shop: Shop| async move { shop.set_user("ada").await }))
        .route("/who", get(who))
        .layer(layer);
    let client = new_client(app);
    client.get("/begin").await;
    let again = client.steal();
    client.get("/in").await;
    assert_eq!(again.get("/in").await.status, StatusCode::OK);
    assert!(again.text("/who").await.starts_with(r#"Some("ada")"#));
    let elsewhere = client.stranger();
    assert_eq!(
        elsewhere.get("/in").await.status,
        StatusCode::TOO_MANY_REQUESTS,
        "a sign-in on another device should exceed the limit"
    );
}
