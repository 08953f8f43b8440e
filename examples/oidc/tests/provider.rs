#![allow(clippy::unwrap_used, reason = "a test that fails panics")]
#![allow(missing_docs, reason = "tests")]

//! Tests sign-ins at an identity provider that runs in this test, and the logout tokens of the
//! provider.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Form, Json, Router,
    body::{Body, to_bytes},
    extract::State,
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use oidc_example::{Http, HttpError, Registration, app};
use openidconnect::{
    AdditionalClaims, Audience, EmptyAdditionalClaims, IdToken, IdTokenClaims, IssuerUrl,
    JsonWebKeyId, Nonce, PkceCodeChallenge, PkceCodeVerifier, PrivateSigningKey, StandardClaims,
    SubjectIdentifier,
    core::{
        CoreEdDsaPrivateSigningKey, CoreGenderClaim, CoreJsonWebKeySet,
        CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm,
    },
};
use ruts::{store::memory::MemoryStore, testing::Client};
use ruts_tests_support::new_client;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tower::ServiceExt;

const ISSUER: &str = "https://id.example";
const APP: &str = "shop";
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// An identity provider. The test sets which user is signed in at the provider.
#[derive(Clone)]
struct Provider(Arc<Inner>);

struct Inner {
    key: CoreEdDsaPrivateSigningKey,
    /// Nonce and PKCE challenge of each code.
    codes: Mutex<HashMap<String, (String, String)>>,
    issued: AtomicUsize,
    user: Mutex<&'static str>,
    /// Replaces the nonce of the next token.
    wrong_nonce: Mutex<bool>,
}

/// A key in the form of RFC 8410.
fn key(seed: u8) -> CoreEdDsaPrivateSigningKey {
    let mut der = vec![
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04,
        0x20,
    ];
    der.extend([seed; 32]);
    let text = STANDARD.encode(der);
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n");
    let id = JsonWebKeyId::new("key".to_owned());
    CoreEdDsaPrivateSigningKey::from_ed25519_pem(&pem, Some(id)).unwrap()
}

impl Provider {
    fn new() -> Self {
        let (user, wrong_nonce) = (Mutex::new("ada"), Mutex::new(false));
        let (codes, issued) = (Mutex::default(), AtomicUsize::new(0));
        Self(Arc::new(Inner { key: key(1), codes, issued, user, wrong_nonce }))
    }

    fn router(&self) -> Router {
        Router::new()
            .route("/.well-known/openid-configuration", get(configuration))
            .route("/keys", get(keys))
            .route("/token", post(token))
            .with_state(self.clone())
    }

    /// Returns the function with which the app sends requests to this provider.
    fn http(&self) -> Http {
        let router = self.router();
        Http::new(move |request| {
            let router = router.clone();
            Box::pin(async move {
                let response =
                    router.oneshot(request.map(Body::from)).await.map_err(|_| HttpError)?;
                let (parts, body) = response.into_parts();
                let body = to_bytes(body, usize::MAX).await.map_err(|_| HttpError)?;
                Ok(Response::from_parts(parts, body.to_vec()))
            })
        })
    }

    /// The user agrees: the page of the provider leads back to the app, with a code.
    fn agree(&self, url: &str) -> String {
        let url: Uri = url.parse().unwrap();
        assert_eq!(url.host(), Some("id.example"));
        let query = query(url.query().unwrap());
        assert_eq!(query["code_challenge_method"], "S256");
        let mut codes = self.0.codes.lock().unwrap();
        let code = format!("code{}", self.0.issued.fetch_add(1, Ordering::Relaxed));
        let (nonce, challenge) = (query["nonce"].clone(), query["code_challenge"].clone());
        codes.insert(code.clone(), (nonce, challenge));
        format!("/callback?code={code}&state={}", query["state"])
    }
}

fn query(text: &str) -> HashMap<String, String> {
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

async fn configuration() -> Json<Value> {
    Json(json!({
        "issuer": ISSUER,
        "authorization_endpoint": format!("{ISSUER}/authorize"),
        "token_endpoint": format!("{ISSUER}/token"),
        "jwks_uri": format!("{ISSUER}/keys"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["EdDSA"],
    }))
}

async fn keys(State(provider): State<Provider>) -> Json<CoreJsonWebKeySet> {
    Json(CoreJsonWebKeySet::new(vec![provider.0.key.as_verification_key()]))
}

#[derive(Deserialize)]
struct TokenRequest {
    code: String,
    code_verifier: String,
}

async fn token(State(provider): State<Provider>, Form(request): Form<TokenRequest>) -> Response {
    let code = provider.0.codes.lock().unwrap().remove(&request.code);
    let verifier = PkceCodeVerifier::new(request.code_verifier);
    let challenge = PkceCodeChallenge::from_code_verifier_sha256(&verifier);
    let Some((nonce, _)) = code.filter(|(_, expected)| expected == challenge.as_str()) else {
        return (StatusCode::BAD_REQUEST, Json(json!({"error": "invalid_grant"}))).into_response();
    };
    let nonce = match *provider.0.wrong_nonce.lock().unwrap() {
        true => "another".to_owned(),
        false => nonce,
    };
    let user = *provider.0.user.lock().unwrap();
    let session = SessionClaim { sid: sid_of(&request.code) };
    let claims = Claims { user, nonce: Some(nonce), ..Claims::new(session) };
    let token = claims.sign(&provider.0.key);
    Json(json!({"access_token": "a", "token_type": "Bearer", "id_token": token})).into_response()
}

/// Returns the id of the session at the provider that began with this code.
fn sid_of(code: &str) -> String {
    format!("session of {code}")
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct SessionClaim {
    sid: String,
}

impl AdditionalClaims for SessionClaim {}

/// The claims of a token of this provider.
struct Claims<C> {
    user: &'static str,
    audience: &'static str,
    nonce: Option<String>,
    seconds: i64,
    more: C,
}

impl<C: AdditionalClaims + Serialize> Claims<C> {
    fn new(more: C) -> Self {
        Self { user: "ada", audience: APP, nonce: None, seconds: 600, more }
    }

    fn sign(self, key: &CoreEdDsaPrivateSigningKey) -> String {
        let now = SystemTime::now();
        let expires = match self.seconds.is_positive() {
            true => now + Duration::from_secs(self.seconds.unsigned_abs()),
            false => now - Duration::from_secs(self.seconds.unsigned_abs()),
        };
        let claims = IdTokenClaims::<C, CoreGenderClaim>::new(
            IssuerUrl::new(ISSUER.to_owned()).unwrap(),
            vec![Audience::new(self.audience.to_owned())],
            expires.into(),
            now.into(),
            StandardClaims::new(SubjectIdentifier::new(self.user.to_owned())),
            self.more,
        );
        let claims = claims.set_nonce(self.nonce.map(Nonce::new));
        let alg = CoreJwsSigningAlgorithm::EdDsa;
        let token: IdToken<C, CoreGenderClaim, CoreJweContentEncryptionAlgorithm, _> =
            IdToken::new(claims, key, alg, None, None).unwrap();
        token.to_string()
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Events {
    events: HashMap<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<String>,
}

impl AdditionalClaims for Events {}

fn event(name: &str) -> Events {
    Events { events: [(name.to_owned(), json!({}))].into(), sid: None }
}

/// The app and its provider.
async fn setup() -> (Provider, Client) {
    let provider = Provider::new();
    let registration = Registration {
        issuer: ISSUER.to_owned(),
        client_id: APP.to_owned(),
        client_secret: "secret".to_owned(),
        callback: "https://shop.example/callback".to_owned(),
    };
    let app = app(MemoryStore::new(), registration, provider.http()).await.unwrap();
    (provider, new_client(app))
}

/// Begins a sign-in, and returns the URL of the app to which the provider redirects.
async fn begin(provider: &Provider, client: &Client) -> String {
    let reply = client.get("/sign-in").await;
    assert_eq!(reply.status, StatusCode::SEE_OTHER);
    provider.agree(reply.headers[header::LOCATION].to_str().unwrap())
}

/// Returns the session of the user at the provider.
async fn sign_in(provider: &Provider, client: &Client, user: &'static str) -> String {
    *provider.0.user.lock().unwrap() = user;
    let back = begin(provider, client).await;
    assert_eq!(client.get(&back).await.status, StatusCode::SEE_OTHER);
    assert_eq!(client.get("/").await.text(), user);
    sid_of(&query(back.split_once('?').unwrap().1)["code"])
}

async fn status(client: &Client, path: &str) -> StatusCode {
    client.get(path).await.status
}

#[tokio::test]
async fn a_user_signs_in_with_a_new_secret() {
    let (provider, client) = setup().await;
    let back = begin(&provider, &client).await;
    let before = client.steal();
    assert_eq!(client.get(&back).await.headers[header::LOCATION], "/");
    assert_eq!(client.get("/").await.text(), "ada");
    assert_eq!(before.get("/").await.text(), "guest");
    client.post("/sign-out", "").await;
    assert_eq!(client.get("/").await.text(), "guest");
}

#[tokio::test]
async fn an_answer_is_good_for_one_sign_in_of_its_own_browser() {
    let (provider, client) = setup().await;
    let back = begin(&provider, &client).await;
    // An attacker leads a victim to the callback, both while the victim has a sign-in of their own
    // in progress and while they do not.
    let victim = client.stranger();
    assert_eq!(status(&victim, &back).await, StatusCode::BAD_REQUEST);
    begin(&provider, &victim).await;
    assert_eq!(status(&victim, &back).await, StatusCode::BAD_REQUEST);

    assert_eq!(status(&client, &back).await, StatusCode::SEE_OTHER);
    assert_eq!(status(&client, &back).await, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_stolen_code_and_a_token_of_another_sign_in_are_refused() {
    let (provider, client) = setup().await;
    let stolen = begin(&provider, &client.stranger()).await;
    let own = begin(&provider, &client).await;
    // The code of the stranger with the state of this browser is refused, because of PKCE.
    let code = &query(stolen.split_once('?').unwrap().1)["code"];
    let state = &query(own.split_once('?').unwrap().1)["state"];
    let mixed = format!("/callback?code={code}&state={state}");
    assert_eq!(status(&client, &mixed).await, StatusCode::BAD_GATEWAY);

    *provider.0.wrong_nonce.lock().unwrap() = true;
    let back = begin(&provider, &client).await;
    assert_eq!(status(&client, &back).await, StatusCode::BAD_REQUEST);
    assert_eq!(client.get("/").await.text(), "guest");
}

#[tokio::test]
async fn the_provider_ends_all_sessions_of_a_user() {
    let (provider, phone) = setup().await;
    let (desktop, other) = (phone.stranger(), phone.stranger());
    sign_in(&provider, &phone, "ada").await;
    sign_in(&provider, &desktop, "ada").await;
    sign_in(&provider, &other, "bob").await;
    let (own, nonce) = (&provider.0.key, Some("n".to_owned()));
    let forged = [
        Claims::new(event(EVENT)).sign(&key(2)),
        Claims::new(event("another")).sign(own),
        Claims { audience: "another", ..Claims::new(event(EVENT)) }.sign(own),
        Claims { nonce, ..Claims::new(event(EVENT)) }.sign(own),
        Claims { seconds: -600, ..Claims::new(event(EVENT)) }.sign(own),
        Claims::new(EmptyAdditionalClaims {}).sign(own),
        "a.b.c".to_owned(),
    ];
    let provider_itself = phone.stranger();
    for token in forged {
        let form = format!("logout_token={token}");
        let reply = provider_itself.post("/backchannel-logout", &form).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    }
    assert_eq!(phone.get("/").await.text(), "ada");

    let token = Claims::new(event(EVENT)).sign(own);
    let reply = provider_itself.post("/backchannel-logout", &format!("logout_token={token}")).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(phone.get("/").await.text(), "guest");
    assert_eq!(desktop.get("/").await.text(), "guest");
    assert_eq!(other.get("/").await.text(), "bob");
}

#[tokio::test]
async fn the_provider_ends_one_session_of_a_user() {
    let (provider, phone) = setup().await;
    let desktop = phone.stranger();
    let sid = sign_in(&provider, &phone, "ada").await;
    sign_in(&provider, &desktop, "ada").await;
    let token = Events { sid: Some(sid), ..event(EVENT) };
    let token = Claims::new(token).sign(&provider.0.key);
    let reply =
        phone.stranger().post("/backchannel-logout", &format!("logout_token={token}")).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(phone.get("/").await.text(), "guest");
    assert_eq!(desktop.get("/").await.text(), "ada");

    // A provider may name only the session.
    let sid = sign_in(&provider, &phone, "ada").await;
    let logout = async |claims: Value| {
        let form = format!("logout_token={}", signed(&provider.0.key, &claims));
        phone.stranger().post("/backchannel-logout", &form).await.status
    };
    let expires = SystemTime::now() + Duration::from_secs(120);
    let expires = expires.duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims = json!({
        "iss": ISSUER, "aud": APP, "iat": expires - 120, "exp": expires, "jti": "1",
        "events": {EVENT: {}},
    });
    assert_eq!(
        logout(claims.clone()).await,
        StatusCode::BAD_REQUEST,
        "a token without user and session should be refused"
    );
    let mut claims = claims;
    claims["sid"] = json!(sid);
    let mut elsewhere = claims.clone();
    elsewhere["iss"] = json!("https://other.example");
    assert_eq!(logout(elsewhere).await, StatusCode::BAD_REQUEST);
    let mut lasting = claims.clone();
    lasting.as_object_mut().unwrap().remove("exp");
    assert_eq!(logout(lasting).await, StatusCode::BAD_REQUEST);
    assert_eq!(phone.get("/").await.text(), "ada");
    assert_eq!(logout(claims).await, StatusCode::OK);
    assert_eq!(phone.get("/").await.text(), "guest");
    assert_eq!(desktop.get("/").await.text(), "ada");
}

/// Returns a token with these claims, which the provider has signed.
fn signed(key: &CoreEdDsaPrivateSigningKey, claims: &Value) -> String {
    let header = json!({"alg": "EdDSA", "kid": "key", "typ": "logout+jwt"});
    let part = |part: &[u8]| URL_SAFE_NO_PAD.encode(part);
    let text =
        format!("{}.{}", part(header.to_string().as_bytes()), part(claims.to_string().as_bytes()));
    let signature = key.sign(&CoreJwsSigningAlgorithm::EdDsa, text.as_bytes()).unwrap();
    format!("{text}.{}", part(&signature))
}
