//! Sign-in with passkeys, with the crate `webauthn-rs`.
//!
//! - A registration and a sign-in take two requests each. The state in between is in a field that
//!   is taken once. So an answer of the authenticator counts only once, and only in the browser
//!   that began.
//! - A passkey verifies the user on the device, so a sign-in has [`Assurance::Aal2`] and gives the
//!   session a new secret.
//! - A signed-in user can add another passkey only within minutes of a sign-in: [`Fresh`].
//!
//! The users are in memory. An application keeps them in its database.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use ruts::{Error, SessionLayer, auth::Assurance, guard::Fresh, session, store::IntoStore};
use serde::{Deserialize, Serialize};
use webauthn_rs::prelude::{
    CreationChallengeResponse, Passkey, PasskeyAuthentication, PasskeyRegistration,
    PublicKeyCredential, RegisterPublicKeyCredential, RequestChallengeResponse, Url, Uuid,
    Webauthn, WebauthnBuilder, WebauthnError,
};

/// The session of a user.
#[session]
pub struct Account {
    #[field(principal)]
    user: Uuid,
    /// The registration that this browser has begun.
    #[field(ttl = "5m", once)]
    registration: Registration,
    /// The sign-in that this browser has begun.
    #[field(ttl = "5m", once)]
    attempt: Attempt,
}

/// A registration between its two requests.
#[derive(Serialize, Deserialize)]
pub struct Registration {
    name: String,
    user: Uuid,
    state: PasskeyRegistration,
}

/// A sign-in between its two requests.
#[derive(Serialize, Deserialize)]
pub struct Attempt {
    user: Uuid,
    state: PasskeyAuthentication,
}

/// A user of the app.
struct User {
    id: Uuid,
    passkeys: Vec<Passkey>,
}

/// The users, by name.
#[derive(Default)]
struct Users(Mutex<HashMap<String, User>>);

impl Users {
    fn with<T>(&self, work: impl FnOnce(&mut HashMap<String, User>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds a passkey. Returns `false` if the name belongs to another user.
    fn add(&self, name: &str, id: Uuid, passkey: Passkey) -> bool {
        self.with(|users| {
            let new = || User { id, passkeys: Vec::new() };
            let user = users.entry(name.to_owned()).or_insert_with(new);
            let is_theirs = user.id == id;
            if is_theirs {
                user.passkeys.push(passkey);
            }
            is_theirs
        })
    }

    fn passkeys(&self, name: &str) -> Option<(Uuid, Vec<Passkey>)> {
        self.with(|users| users.get(name).map(|user| (user.id, user.passkeys.clone())))
    }
}

#[derive(Clone)]
struct App {
    webauthn: Arc<Webauthn>,
    users: Arc<Users>,
}

/// Returns the app for this domain and origin, with sessions in this store.
///
/// # Errors
///
/// The origin is not below the domain.
pub fn app(store: impl IntoStore, domain: &str, origin: &Url) -> Result<Router, WebauthnError> {
    let webauthn = Arc::new(WebauthnBuilder::new(domain, origin)?.rp_name("Shop").build()?);
    let app = App { webauthn, users: Arc::default() };
    Ok(Router::new()
        .route("/", get(home))
        .route("/register/begin", post(begin_registration))
        .route("/register/finish", post(finish_registration))
        .route("/add/begin", post(begin_addition))
        .route("/sign-in/begin", post(begin_sign_in))
        .route("/sign-in/finish", post(finish_sign_in))
        .with_state(app)
        .layer(SessionLayer::new(store)))
}

/// An error page.
#[derive(Debug)]
enum PageError {
    Session(Error),
    /// The authenticator's answer is not genuine, or does not belong to this browser.
    Refused,
    /// The name belongs to another user.
    Taken,
}

impl From<Error> for PageError {
    fn from(error: Error) -> Self {
        Self::Session(error)
    }
}

impl From<WebauthnError> for PageError {
    fn from(_: WebauthnError) -> Self {
        Self::Refused
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        match self {
            Self::Session(error) => error.into_response(),
            Self::Refused => StatusCode::BAD_REQUEST.into_response(),
            Self::Taken => StatusCode::CONFLICT.into_response(),
        }
    }
}

async fn home(account: Account) -> Result<String, Error> {
    Ok(account.user().await?.map_or("guest".to_owned(), |user| user.to_string()))
}

#[derive(Deserialize)]
struct Name {
    name: String,
}

async fn begin_registration(
    account: Account,
    State(app): State<App>,
    Json(Name { name }): Json<Name>,
) -> Result<Json<CreationChallengeResponse>, PageError> {
    if app.users.passkeys(&name).is_some() {
        return Err(PageError::Taken);
    }
    begin(&account, &app, name, Uuid::new_v4(), &[]).await
}

/// Begins the registration of another passkey of the signed-in user.
async fn begin_addition(
    Fresh(account): Fresh<Account, 5>,
    State(app): State<App>,
    Json(Name { name }): Json<Name>,
) -> Result<Json<CreationChallengeResponse>, PageError> {
    let signed_in = account.user().await?;
    let (user, passkeys) = app.users.passkeys(&name).ok_or(PageError::Refused)?;
    if signed_in != Some(user) {
        return Err(PageError::Taken);
    }
    begin(&account, &app, name, user, &passkeys).await
}

async fn begin(
    account: &Account,
    app: &App,
    name: String,
    user: Uuid,
    known: &[Passkey],
) -> Result<Json<CreationChallengeResponse>, PageError> {
    let known = known.iter().map(|passkey| passkey.cred_id().clone()).collect();
    let started = app.webauthn.start_passkey_registration(user, &name, &name, Some(known));
    let (challenge, state) = started?;
    account.set_registration(&Registration { name, user, state }).await?;
    Ok(Json(challenge))
}

async fn finish_registration(
    account: Account,
    State(app): State<App>,
    Json(answer): Json<RegisterPublicKeyCredential>,
) -> Result<StatusCode, PageError> {
    // The registration is used up, even if a check below fails.
    let registration = account.registration().take().await?.ok_or(PageError::Refused)?;
    let Registration { name, user, state } = registration;
    let passkey = app.webauthn.finish_passkey_registration(&answer, &state)?;
    if !app.users.add(&name, user, passkey) {
        return Err(PageError::Taken);
    }
    account.user().sign_in(&user, Assurance::Aal2).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn begin_sign_in(
    account: Account,
    State(app): State<App>,
    Json(Name { name }): Json<Name>,
) -> Result<Json<RequestChallengeResponse>, PageError> {
    let (user, passkeys) = app.users.passkeys(&name).ok_or(PageError::Refused)?;
    let (challenge, state) = app.webauthn.start_passkey_authentication(&passkeys)?;
    account.set_attempt(&Attempt { user, state }).await?;
    Ok(Json(challenge))
}

async fn finish_sign_in(
    account: Account,
    State(app): State<App>,
    Json(answer): Json<PublicKeyCredential>,
) -> Result<StatusCode, PageError> {
    let Attempt { user, state } = account.attempt().take().await?.ok_or(PageError::Refused)?;
    let result = app.webauthn.finish_passkey_authentication(&answer, &state)?;
    app.users.with(|users| {
        let passkeys = users.values_mut().flat_map(|user| &mut user.passkeys);
        // Stores the counter of the authenticator, because a counter that goes back shows a copied
        // key.
        passkeys.for_each(|passkey| {
            passkey.update_credential(&result);
        });
    });
    account.user().sign_in(&user, Assurance::Aal2).await?;
    Ok(StatusCode::NO_CONTENT)
}
