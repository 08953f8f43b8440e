#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

//! Tests that the service recognises a visitor without a web framework.

use ruts::http::{Request, StatusCode, header};
use tower::ServiceExt;

#[tokio::test]
async fn a_visitor_is_recognised() {
    let service = plain_tower::service();
    let first = Request::builder().header(header::HOST, "localhost").body(()).unwrap();
    let response = service.clone().oneshot(first).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap();
    let cookie = cookie.split(';').next().unwrap().to_owned();

    let second =
        Request::builder().header(header::HOST, "localhost").header(header::COOKIE, cookie);
    let response = service.oneshot(second.body(()).unwrap()).await.unwrap();
    assert_eq!(response.headers().get(header::SET_COOKIE), None);
    assert_eq!(response.into_body().into_inner(), Some(&b"welcome back\n"[..]));
}
