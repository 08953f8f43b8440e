#![allow(clippy::unwrap_used, reason = "a test that fails panics")]
#![allow(missing_docs, reason = "tests")]

//! Tests that browsers with an authenticator can register, sign in and add a passkey.

use async_trait::async_trait;
use axum::http::{Request, StatusCode, header};
use passkey::{
    authenticator::{Authenticator, UiHint, UserCheck, UserValidationMethod},
    client::{DefaultClientData, WebauthnError},
    crypto::rust_crypto::RustCryptoBackend,
    types::{
        Passkey,
        ctap2::{Aaguid, Ctap2Error},
        webauthn::{CredentialCreationOptions, CredentialRequestOptions},
    },
};
use passkeys_example::app;
use ruts::{
    store::memory::MemoryStore,
    testing::{Client, Reply},
};
use ruts_tests_support::new_client;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use webauthn_rs::prelude::Url;

const ORIGIN: &str = "https://shop.example";

/// The user is present and agrees.
struct Agrees;

#[async_trait]
impl UserValidationMethod for Agrees {
    type PasskeyItem = Passkey;

    async fn check_user<'a>(
        &self,
        _: UiHint<'a, Passkey>,
        presence: bool,
        verification: bool,
    ) -> Result<UserCheck, Ctap2Error> {
        Ok(UserCheck { presence, verification })
    }

    fn is_verification_enabled(&self) -> Option<bool> {
        Some(true)
    }

    fn is_presence_enabled(&self) -> bool {
        true
    }
}

/// A browser with an authenticator that holds one passkey.
struct Browser {
    client: Client,
    passkey: Option<Passkey>,
}

impl Browser {
    fn new(client: Client) -> Self {
        Self { client, passkey: None }
    }

    async fn post(&self, path: &str, body: &impl Serialize) -> Reply {
        let request = Request::post(path)
            .header(header::CONTENT_TYPE, "application/json")
            .body(serde_json::to_string(body).unwrap());
        self.client.send(request.unwrap()).await
    }

    /// Asks the app for a challenge.
    async fn begin<T: DeserializeOwned>(&self, path: &str, name: &str) -> Result<T, StatusCode> {
        let reply = self.post(path, &json!({ "name": name })).await;
        serde_json::from_str(&reply.text()).map_err(|_| reply.status)
    }

    fn authenticator(&self) -> Authenticator<Option<Passkey>, Agrees, RustCryptoBackend> {
        let (id, passkey) = (Aaguid::new_empty(), self.passkey.clone());
        Authenticator::new(id, passkey, Agrees, RustCryptoBackend)
    }

    /// Creates a passkey for a challenge, and returns the answer to the app.
    async fn create(&mut self, challenge: CredentialCreationOptions) -> Value {
        let origin = Url::parse(ORIGIN).unwrap();
        let mut client = passkey::client::Client::new(self.authenticator());
        let answer = client.register(&origin, challenge, DefaultClientData).await.unwrap();
        self.passkey = client.authenticator().store().clone();
        serde_json::to_value(answer).unwrap()
    }

    /// Signs a challenge with the passkey, and returns the answer to the app.
    async fn sign(&self, challenge: CredentialRequestOptions) -> Result<Value, WebauthnError> {
        let origin = Url::parse(ORIGIN).unwrap();
        let mut client = passkey::client::Client::new(self.authenticator());
        let answer = client.authenticate(&origin, challenge, DefaultClientData).await;
        Ok(serde_json::to_value(answer?).unwrap())
    }

    async fn register(&mut self, name: &str) {
        let challenge = self.begin("/register/begin", name).await.unwrap();
        let answer = self.create(challenge).await;
        assert_eq!(self.post("/register/finish", &answer).await.status, StatusCode::NO_CONTENT);
    }

    async fn sign_in(&self, name: &str) {
        let challenge = self.begin("/sign-in/begin", name).await.unwrap();
        let answer = self.sign(challenge).await.unwrap();
        assert_eq!(self.post("/sign-in/finish", &answer).await.status, StatusCode::NO_CONTENT);
    }

    async fn user(&self) -> String {
        self.client.get("/").await.text()
    }
}

fn browser() -> Browser {
    let origin = Url::parse(ORIGIN).unwrap();
    Browser::new(new_client(app(MemoryStore::new(), "shop.example", &origin).unwrap()))
}

#[tokio::test]
async fn a_user_registers_and_signs_in_again_with_a_new_secret() {
    let mut browser = browser();
    browser.register("ada").await;
    let user = browser.user().await;
    assert_ne!(user, "guest");

    let again = Browser { client: browser.client.stranger(), passkey: browser.passkey.clone() };
    let challenge = again.begin("/sign-in/begin", "ada").await.unwrap();
    let planted = again.client.steal();
    let answer = again.sign(challenge).await.unwrap();
    assert_eq!(again.post("/sign-in/finish", &answer).await.status, StatusCode::NO_CONTENT);
    assert_eq!(again.user().await, user);
    assert_eq!(planted.get("/").await.text(), "guest");
}

#[tokio::test]
async fn an_answer_is_good_for_one_sign_in_of_its_own_browser() {
    let mut browser = browser();
    browser.register("ada").await;
    let again = Browser { client: browser.client.stranger(), passkey: browser.passkey.clone() };
    let challenge = again.begin("/sign-in/begin", "ada").await.unwrap();
    let answer = again.sign(challenge).await.unwrap();

    let thief = Browser::new(again.client.stranger());
    let finish = "/sign-in/finish";
    assert_eq!(thief.post(finish, &answer).await.status, StatusCode::BAD_REQUEST);
    thief.begin::<Value>("/sign-in/begin", "ada").await.unwrap();
    assert_eq!(thief.post(finish, &answer).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(thief.user().await, "guest");

    assert_eq!(again.post(finish, &answer).await.status, StatusCode::NO_CONTENT);
    assert_eq!(again.post(finish, &answer).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_name_belongs_to_the_first_who_registers_it() {
    let mut browser = browser();
    let mut other = Browser::new(browser.client.stranger());
    // Both begin before one of them finishes.
    let late = other.begin("/register/begin", "ada").await.unwrap();
    let late = other.create(late).await;
    browser.register("ada").await;
    assert_eq!(other.post("/register/finish", &late).await.status, StatusCode::CONFLICT);
    assert_eq!(other.user().await, "guest");
    let begun = other.begin::<Value>("/register/begin", "ada").await;
    assert_eq!(begun.unwrap_err(), StatusCode::CONFLICT);
}

#[tokio::test]
async fn a_signed_in_user_adds_the_passkey_of_another_device() {
    let mut browser = browser();
    browser.register("ada").await;
    let mut phone = Browser::new(browser.client.clone());
    let challenge = phone.begin("/add/begin", "ada").await.unwrap();
    let answer = phone.create(challenge).await;
    assert_eq!(phone.post("/register/finish", &answer).await.status, StatusCode::NO_CONTENT);

    for passkey in [browser.passkey.clone(), phone.passkey.clone()] {
        let device = Browser { client: browser.client.stranger(), passkey };
        device.sign_in("ada").await;
        assert_eq!(device.user().await, browser.user().await);
    }

    let mut bob = Browser::new(browser.client.stranger());
    let refused = bob.begin::<Value>("/add/begin", "ada").await;
    assert_eq!(refused.unwrap_err(), StatusCode::UNAUTHORIZED, "a guest should add no passkey");
    bob.register("bob").await;
    let refused = bob.begin::<Value>("/add/begin", "ada").await;
    assert_eq!(
        refused.unwrap_err(),
        StatusCode::CONFLICT,
        "a different user should add no passkey"
    );
}
