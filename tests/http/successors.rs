//! Tests of successors. After the response to a sign-in was lost, the client opens a page that
//! writes. The write starts a new session, the successor. The next sign-in finds the session of the
//! lost sign-in.

use std::{sync::Arc, time::Duration};

use axum::http::StatusCode;
use ruts::{
    CookieOptions, SessionLayer,
    store::{
        OnLimit,
        memory::{ManualClock, MemoryStore},
    },
    testing::Client,
};
use ruts_tests_support::{
    ClientExt, Fault, InstrumentedStore, Pace, PacedStore, Random, new_client,
};

use super::lost_sign_ins::{Fixture, LATER, LIMITS, Shop, fixture, limited, routes, sessions};

const DAY: Duration = Duration::from_secs(24 * 3600);

const TEA: &str = r#"Some(7) ["tea"]"#;

/// Loses the response to a sign-in, and then opens a page that writes.
async fn lose_a_sign_in(fixture: &Fixture) {
    fixture.client.text("/add/tea").await;
    fixture.client.steal().text("/in/7").await;
    fixture.clock.advance(LATER);
    fixture.client.text("/view").await;
}

/// Loses the response to a sign-in. The store can stop the requests that follow.
async fn lose_a_sign_in_on_a_paced_store(limit: Option<OnLimit>) -> (ManualClock, Client) {
    let clock = ManualClock::new();
    let store = MemoryStore::builder().clock(clock.clone()).build();
    let store = PacedStore::new(Arc::new(store));
    let client = new_client(routes().layer(limited(SessionLayer::new(store), limit)));
    client.text("/add/tea").await;
    client.steal().text("/in/7").await;
    (clock, client)
}

/// After each lost sign-in, the client opens a page that writes, so it gets a new cookie.
#[tokio::test]
async fn a_page_view_after_a_lost_sign_in_costs_no_cart() {
    for limit in LIMITS {
        for lost in 1..=3 {
            for wait in [LATER, Duration::from_secs(20 * 60)] {
                for last in ["/in/7", "/remember"] {
                    let fixture = fixture(|layer| limited(layer, limit));
                    fixture.client.text("/add/tea").await;
                    for _ in 0..lost {
                        fixture.client.steal().text(last).await;
                        fixture.clock.advance(wait);
                        fixture.client.text("/view").await;
                    }
                    fixture.client.text(last).await;
                    let found = fixture.client.text("/who").await;
                    assert_eq!(found, TEA, "{limit:?} {lost} {wait:?} {last}");
                    assert!(limit.is_none() || sessions(&fixture).await == 1);
                }
            }
        }
    }
}

/// The same if the lost response belongs to a second sign-in, or to a write that rotates the
/// secret.
#[tokio::test]
async fn a_page_view_after_a_lost_rotation_costs_no_cart() {
    for (first, lost) in [("/in/7", "/in/7"), ("/in/7", "/role"), ("/who", "/role")] {
        let fixture = fixture(|layer| layer);
        fixture.client.text("/add/tea").await;
        fixture.client.text(first).await;
        fixture.client.steal().text(lost).await;
        fixture.clock.advance(LATER);
        fixture.client.text("/view").await;
        fixture.client.text("/in/7").await;
        assert_eq!(fixture.client.text("/who").await, TEA, "{first} {lost}");
    }
}

/// The successor keeps its own values. A different user gets no field of the session of the lost
/// sign-in.
#[tokio::test]
async fn a_page_view_after_a_lost_sign_in_hides_nothing_and_shows_nothing() {
    let fixture = fixture(|layer| layer);
    fixture.client.text("/add/tea").await;
    fixture.client.steal().text("/in/7").await;
    fixture.clock.advance(LATER);
    fixture.client.text("/add/milk").await;
    fixture.client.text("/in/7").await;
    assert_eq!(fixture.client.text("/who").await, r#"Some(7) ["milk"]"#);

    let other = fixture.client.stranger();
    other.text("/add/tea").await;
    other.steal().text("/in/7").await;
    fixture.clock.advance(LATER);
    other.text("/view").await;
    other.text("/in/8").await;
    assert_eq!(other.text("/who").await, "Some(8) []");
}

/// Each store call of the sign-in after the page view fails once.
#[tokio::test]
async fn a_failure_after_a_page_view_costs_no_cart() {
    for limit in LIMITS {
        for fault in [Fault::Unreachable, Fault::AnswerLost] {
            for (is_lost, views) in [(false, false), (true, false), (true, true)] {
                for calls in 0.. {
                    let fixture = fixture(|layer| limited(layer, limit));
                    lose_a_sign_in(&fixture).await;
                    fixture.store.fail_after(calls, fault);
                    let client = match is_lost {
                        true => fixture.client.steal(),
                        false => fixture.client.clone(),
                    };
                    let failed = client.get("/remember").await;
                    if failed.status == StatusCode::OK {
                        assert!(calls > 5, "the sign-in should make more than five calls");
                        break;
                    }
                    assert_eq!(failed.status, StatusCode::SERVICE_UNAVAILABLE);
                    let context = format!("{limit:?} {fault:?} {is_lost} {views} {calls}");
                    if views {
                        fixture.clock.advance(LATER);
                        fixture.client.text("/view").await;
                    }
                    if is_lost && !views {
                        // The response to this further sign-in is lost, too.
                        fixture.client.steal().text("/in/7").await;
                    }
                    let again = fixture.client.get("/in/7").await;
                    assert_eq!(again.status, StatusCode::OK, "{context}");
                    let found = fixture.client.text("/who").await;
                    assert_eq!(found, TEA, "{context}");
                    assert!(limit.is_none() || sessions(&fixture).await == 1);
                }
            }
        }
    }
}

/// The sign-in after the page view pauses before or after one of its store calls. During the pause,
/// another tab writes, or the client cancels the request.
#[tokio::test]
async fn a_sign_in_after_a_page_view_stops_anywhere() {
    for limit in LIMITS {
        for cancels in [false, true] {
            for sides in 0.. {
                let (clock, client) = lose_a_sign_in_on_a_paced_store(limit).await;
                clock.advance(LATER);
                client.text("/view").await;
                let (pace, mut stop) = Pace::with_stop(Random::new(1), sides);
                let (tab, other) = (client.clone(), client.steal());
                let sign_in = tokio::spawn(pace.run(async move { tab.get("/in/7").await.status }));
                if !stop.reached().await {
                    assert!(sides > 10, "the sign-in should make more than five calls");
                    break;
                }
                let context = format!("{limit:?} {sides}");
                if cancels {
                    sign_in.abort();
                    let _ = sign_in.await;
                    client.text("/in/7").await;
                    let found = client.text("/who").await;
                    assert_eq!(found, TEA, "{context}");
                    continue;
                }
                let written = other.get("/add/milk").await.status;
                stop.resume();
                assert_eq!(sign_in.await.unwrap(), StatusCode::OK, "{context}");
                let found = match written {
                    StatusCode::OK => r#"Some(7) ["milk"]"#,
                    StatusCode::CONFLICT => TEA,
                    other => panic!("{context}: {other}"),
                };
                assert_eq!(client.text("/who").await, found, "{context}");
            }
        }
    }
}

/// A handler writes, for example a counter of views, and signs the user in. The first write starts
/// the session.
#[tokio::test]
async fn one_request_may_write_and_sign_in() {
    for limit in LIMITS {
        let fixture = fixture(|layer| limited(layer, limit));
        fixture.client.text("/add/tea").await;
        fixture.client.steal().text("/in/7").await;
        fixture.clock.advance(LATER);
        fixture.client.text("/view-in/7").await;
        assert_eq!(fixture.client.text("/who").await, TEA, "{limit:?}");
        // The session no longer stores the refused token, so the second of these sign-ins makes
        // only one call.
        fixture.client.text("/in/7").await;
        fixture.store.take_calls();
        fixture.client.text("/in/7").await;
        assert_eq!(fixture.store.take_calls(), ["update"], "{limit:?}");
    }
}

/// Before the next sign-in, the responses to three rotations are lost, one after the other. So each
/// successor has a successor, too.
#[tokio::test]
async fn successors_follow_one_another() {
    let fixture = fixture(|layer| layer);
    lose_a_sign_in(&fixture).await;
    for _ in 0..3 {
        fixture.client.steal().text("/role").await;
        fixture.clock.advance(LATER);
        fixture.client.text("/view").await;
    }
    fixture.client.text("/in/7").await;
    assert_eq!(fixture.client.text("/who").await, TEA);
}

/// A sign-in with the former secret of a successor, in the grace period of a renewal, copies the
/// fields to a further session. A later sign-in with the renewed secret finds them there.
#[tokio::test]
async fn a_slow_sign_in_in_the_grace_of_a_renewal_costs_no_cart() {
    for limit in [None, Some(OnLimit::EndOldest)] {
        let every = Duration::from_secs(60);
        let fixture = fixture(|layer| limited(layer, limit).renew_every(every));
        lose_a_sign_in(&fixture).await;
        fixture.clock.advance(Duration::from_secs(61));
        let slow = fixture.client.steal();
        for _ in 0..2 {
            fixture.client.text("/who").await;
            fixture.clock.advance(Duration::from_millis(200));
        }
        slow.text("/in/7").await;
        assert_eq!(slow.text("/who").await, TEA, "{limit:?}");
        fixture.client.text("/in/7").await;
        assert_eq!(fixture.client.text("/who").await, TEA, "{limit:?}");
    }
}

/// The session limit was lowered to one, and the user has a session on another device. So the limit
/// refuses the sign-in even after ruts has revoked the session of the lost sign-in.
#[tokio::test]
async fn a_refused_sign_in_shows_a_guest_nothing() {
    let clock = ManualClock::new();
    let store = MemoryStore::builder().clock(clock.clone()).build();
    let store = InstrumentedStore::new(store);
    let [wide, narrow] = [2, 1].map(|sessions| {
        let layer = SessionLayer::new(store.clone()).max_sessions(sessions, OnLimit::Reject);
        new_client(routes().layer(layer))
    });
    wide.stranger().text("/in/7").await;
    wide.text("/in/7").await;
    wide.text("/add/tea").await;
    wide.steal().text("/in/7").await;
    clock.advance(LATER);
    wide.text("/view").await;
    narrow.plant("__Host-id", &wide.token().unwrap());
    let refused = narrow.get("/remember").await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.set_cookies().is_empty(), "a refused sign-in should not change the cookie");
    assert_eq!(narrow.text("/who").await, "None []");
    narrow.text("/in/8").await;
    assert_eq!(narrow.text("/who").await, "Some(8) []");
}

/// A sign-in moves the absolute deadline. The cookie lives until the new deadline, even if an
/// earlier write of the same request has replaced the secret.
#[tokio::test]
async fn the_cookie_lives_as_long_as_the_sign_in() {
    for (path, days) in [("/in/7", 1), ("/remember", 30), ("/role-in/7", 1)] {
        for is_successor in [false, true] {
            let options = CookieOptions::build().max_age(DAY.as_secs());
            let fixture = fixture(|layer| layer.absolute_timeout(DAY).with_cookie_options(options));
            match is_successor {
                true => lose_a_sign_in(&fixture).await,
                false => drop(fixture.client.text("/view").await),
            }
            for _ in 0..47 {
                fixture.clock.advance(DAY / 48);
                fixture.client.text("/who").await;
            }
            let reply = fixture.client.get(path).await;
            let life = reply.set_cookies()[0].max_age().unwrap().whole_seconds();
            let expected = i64::try_from(days * DAY.as_secs()).unwrap();
            assert_eq!(life, expected, "{path} {is_successor}");
        }
    }
}

/// The sign-in removes a field that the lost session has.
#[tokio::test]
async fn a_field_that_the_sign_in_removes_stays_removed() {
    for limit in LIMITS {
        let fixture = fixture(|layer| limited(layer, limit));
        fixture.client.text("/in/7").await;
        fixture.client.text("/role").await;
        lose_a_sign_in(&fixture).await;
        fixture.client.text("/in-without-cart").await;
        assert_eq!(fixture.client.text("/who").await, "Some(7) []", "{limit:?}");
    }
}

/// After the sign-in, the session that held the fields is gone. So it does not bring back a field
/// that the user has removed since.
#[tokio::test]
async fn no_field_comes_back_after_a_revocation() {
    for limit in LIMITS {
        let fixture = fixture(|layer| limited(layer, limit));
        lose_a_sign_in(&fixture).await;
        fixture.client.text("/in/7").await;
        fixture.clock.advance(Duration::from_secs(60));
        fixture.client.text("/in-without-cart").await;
        Shop::sessions(fixture.store.clone()).by_user(&7).revoke_all().await.unwrap();
        fixture.client.text("/in/7").await;
        assert_eq!(fixture.client.text("/who").await, "Some(7) []", "{limit:?}");
    }
}

/// The sign-in of user 7 fails before it has added the fields. A different user signs in to the
/// same session.
#[tokio::test]
async fn a_different_user_gets_nothing_after_a_failure() {
    for limit in LIMITS {
        for fault in [Fault::Unreachable, Fault::AnswerLost] {
            for calls in 0.. {
                let fixture = fixture(|layer| limited(layer, limit));
                fixture.client.text("/add/tea").await;
                fixture.client.steal().text("/role").await;
                fixture.clock.advance(LATER);
                fixture.client.text("/view").await;
                fixture.store.fail_after(calls, fault);
                if fixture.client.get("/in/7").await.status == StatusCode::OK {
                    assert!(calls > 5, "the sign-in should make more than five calls");
                    break;
                }
                let context = format!("{limit:?} {fault:?} {calls}");
                if fixture.client.text("/who").await.starts_with("Some(7)") {
                    fixture.client.text("/in/8").await;
                    assert_eq!(fixture.client.text("/who").await, "Some(8) []", "{context}");
                }
            }
        }
    }
}

/// The request that writes and signs in is lost, or stops anywhere, and is sent again.
#[tokio::test]
async fn a_lost_write_and_sign_in_in_one_request_costs_no_cart() {
    for limit in LIMITS {
        for sides in 0.. {
            let (clock, client) = lose_a_sign_in_on_a_paced_store(limit).await;
            clock.advance(LATER);
            let (pace, mut stop) = Pace::with_stop(Random::new(1), sides);
            let tab = client.steal();
            let sign_in = tokio::spawn(pace.run(async move { tab.get("/view-in/7").await.status }));
            let has_stopped = stop.reached().await;
            sign_in.abort();
            let _ = sign_in.await;
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            clock.advance(LATER);
            client.text("/view-in/7").await;
            assert_eq!(client.text("/who").await, TEA, "{limit:?} {sides}");
            if !has_stopped {
                assert!(sides > 10, "the request should make more than five calls");
                break;
            }
        }
    }
}

/// A remembered sign-in stays remembered after a failure at any call.
#[tokio::test]
async fn a_remembered_sign_in_stays_remembered() {
    for limit in LIMITS {
        for fault in [Fault::Unreachable, Fault::AnswerLost] {
            for calls in 0.. {
                let fixture = fixture(|layer| limited(layer, limit));
                fixture.client.text("/remember").await;
                lose_a_sign_in(&fixture).await;
                fixture.store.fail_after(calls, fault);
                let mut reply = fixture.client.get("/in/7").await;
                let is_last = reply.status == StatusCode::OK;
                if !is_last {
                    reply = fixture.client.get("/in/7").await;
                }
                let life = reply.set_cookies()[0].max_age();
                assert!(life.is_some(), "{limit:?} {fault:?} {calls}: {reply:?}");
                if is_last {
                    break;
                }
            }
        }
    }
}
