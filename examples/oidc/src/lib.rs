//! Sign-in with OpenID Connect, with the crate `openidconnect`.
//!
//! - State, nonce and PKCE verifier are in one field that is taken once. So a response of the
//!   provider is accepted for only one sign-in, in the browser that began it.
//! - The subject is the principal. The sign-in gives the session a new secret.
//! - The provider ends the sessions of a user, or one of them, by back-channel logout.
//!   `jsonwebtoken` verifies the logout tokens, because `openidconnect` verifies only tokens with a
//!   subject.

use std::{collections::HashMap, future::Future, pin::Pin, sync::Arc};

use axum::{
    Form, Router,
    extract::{Query, State},
    http::{HeaderName, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use jsonwebtoken::{DecodingKey, Validation, jwk::JwkSet};
use openidconnect::{
    AdditionalClaims, AsyncHttpClient, AuthorizationCode, ClientId, ClientSecret, CsrfToken,
    EmptyExtraTokenFields, EndpointMaybeSet, EndpointNotSet, EndpointSet, HttpRequest,
    HttpResponse, IdTokenFields, IssuerUrl, Nonce, PkceCodeChallenge, PkceCodeVerifier,
    RedirectUrl, StandardErrorResponse, StandardTokenResponse,
    core::{
        CoreAuthDisplay, CoreAuthPrompt, CoreAuthenticationFlow, CoreErrorResponseType,
        CoreGenderClaim, CoreJsonWebKey, CoreJweContentEncryptionAlgorithm,
        CoreJwsSigningAlgorithm, CoreProviderMetadata, CoreRevocableToken,
        CoreRevocationErrorResponse, CoreTokenIntrospectionResponse, CoreTokenType,
    },
};
use ruts::{Error, SessionLayer, session, store::IntoStore};
use serde::{Deserialize, Serialize};

/// The session of a user of the provider.
#[session]
pub struct Account {
    /// The user, as the provider names it.
    #[field(principal)]
    subject: String,
    /// The id of the user's session at the provider. With this id, the provider can end this
    /// session.
    #[field(index)]
    sid: String,
    /// The sign-in that this browser has begun.
    #[field(ttl = "10m", once)]
    attempt: Attempt,
}

/// The secrets of a sign-in in progress.
#[derive(Serialize, Deserialize)]
pub struct Attempt {
    state: String,
    nonce: String,
    verifier: String,
}

/// The future of a response of the provider.
pub type Answer = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send>>;

/// A function that sends a request to the provider. It may use a `reqwest::Client` that is
/// configured not to follow redirects.
#[derive(Clone)]
pub struct Http(Arc<dyn Fn(HttpRequest) -> Answer + Send + Sync>);

impl Http {
    /// Sends requests with this function.
    pub fn new(send: impl Fn(HttpRequest) -> Answer + Send + Sync + 'static) -> Self {
        Self(Arc::new(send))
    }
}

impl<'c> AsyncHttpClient<'c> for Http {
    type Error = HttpError;
    type Future = Answer;

    fn call(&'c self, request: HttpRequest) -> Answer {
        (self.0)(request)
    }
}

/// The provider cannot be reached.
#[derive(Debug, thiserror::Error)]
#[error("the provider does not answer")]
pub struct HttpError;

/// The registration of the app at its provider.
pub struct Registration {
    /// URL of the provider.
    pub issuer: String,
    /// Client id of the app.
    pub client_id: String,
    /// Client secret of the app.
    pub client_secret: String,
    /// URL of the app's `/callback`.
    pub callback: String,
}

/// The claims of the app's ID tokens beyond the standard ones.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct SessionClaims {
    /// OpenID Connect Back-Channel Logout 1.0, 2.1.
    sid: Option<String>,
}

impl AdditionalClaims for SessionClaims {}

type Tokens = StandardTokenResponse<
    IdTokenFields<
        SessionClaims,
        EmptyExtraTokenFields,
        CoreGenderClaim,
        CoreJweContentEncryptionAlgorithm,
        CoreJwsSigningAlgorithm,
    >,
    CoreTokenType,
>;

/// `CoreClient` with the claims above.
type Client = openidconnect::Client<
    SessionClaims,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    Tokens,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

#[derive(Clone)]
struct Provider {
    client: Client,
    http: Http,
    logout: Arc<LogoutVerifier>,
    sessions: AccountSessions,
}

/// Returns the app with sessions in this store. Asks the provider for its endpoints and keys.
///
/// # Errors
///
/// `issuer` or `callback` is not a URL, or the provider does not answer.
pub async fn app(
    store: impl IntoStore,
    registration: Registration,
    http: Http,
) -> Result<Router, Box<dyn std::error::Error + Send + Sync>> {
    let issuer = IssuerUrl::new(registration.issuer)?;
    let metadata = CoreProviderMetadata::discover_async(issuer, &http).await?;
    let id = ClientId::new(registration.client_id);
    let secret = ClientSecret::new(registration.client_secret);
    let logout = Arc::new(LogoutVerifier::new(&metadata, &id)?);
    let client = openidconnect::Client::from_provider_metadata(metadata, id, Some(secret))
        .set_redirect_uri(RedirectUrl::new(registration.callback)?);
    let store = store.into_store();
    let provider = Provider { client, http, logout, sessions: Account::sessions(&store) };
    Ok(Router::new()
        .route("/", get(home))
        .route("/sign-in", get(sign_in))
        .route("/callback", get(callback))
        .route("/sign-out", post(sign_out))
        .route("/backchannel-logout", post(backchannel_logout))
        .with_state(provider)
        .layer(SessionLayer::new(store)))
}

/// An error page.
#[derive(Debug)]
enum PageError {
    Session(Error),
    /// The request does not belong to a sign-in of this browser, or its token is not genuine.
    Refused,
    /// The provider failed, or refused the code.
    Provider,
}

impl From<Error> for PageError {
    fn from(error: Error) -> Self {
        Self::Session(error)
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        match self {
            Self::Session(error) => error.into_response(),
            Self::Refused => StatusCode::BAD_REQUEST.into_response(),
            Self::Provider => StatusCode::BAD_GATEWAY.into_response(),
        }
    }
}

async fn home(account: Account) -> Result<String, Error> {
    Ok(account.subject().await?.unwrap_or_else(|| "guest".to_owned()))
}

async fn sign_in(account: Account, State(provider): State<Provider>) -> Result<Redirect, Error> {
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let flow = CoreAuthenticationFlow::AuthorizationCode;
    let request = provider.client.authorize_url(flow, CsrfToken::new_random, Nonce::new_random);
    let (url, state, nonce) = request.set_pkce_challenge(challenge).url();
    let attempt = Attempt {
        state: state.into_secret(),
        nonce: nonce.secret().clone(),
        verifier: verifier.into_secret(),
    };
    account.set_attempt(&attempt).await?;
    Ok(Redirect::to(url.as_str()))
}

#[derive(Deserialize)]
struct Callback {
    code: String,
    state: String,
}

async fn callback(
    account: Account,
    State(provider): State<Provider>,
    Query(Callback { code, state }): Query<Callback>,
) -> Result<Redirect, PageError> {
    // The attempt is used up, even if a check below fails.
    let attempt = account.attempt().take().await?.ok_or(PageError::Refused)?;
    if attempt.state != state {
        return Err(PageError::Refused);
    }
    let Identity { subject, sid } = provider.exchange(code, attempt).await?;
    let edit = account.edit().subject(&subject);
    let edit = match &sid {
        Some(sid) => edit.sid(sid),
        None => edit.remove_sid(),
    };
    edit.commit().await?;
    Ok(Redirect::to("/"))
}

/// A user, and the user's session at the provider.
struct Identity {
    subject: String,
    sid: Option<String>,
}

impl Provider {
    /// Exchanges a code for the ID token of the user. The future is boxed, so that the compiler
    /// checks whether it is `Send` separately from the handler's future.
    fn exchange(
        self,
        code: String,
        attempt: Attempt,
    ) -> Pin<Box<dyn Future<Output = Result<Identity, PageError>> + Send>> {
        Box::pin(async move {
            let request = self.client.exchange_code(AuthorizationCode::new(code));
            let request = request.map_err(|_| PageError::Provider)?;
            let tokens = request
                .set_pkce_verifier(PkceCodeVerifier::new(attempt.verifier))
                .request_async(&self.http)
                .await
                .map_err(|_| PageError::Provider)?;
            let id_token = tokens.extra_fields().id_token().ok_or(PageError::Provider)?;
            let verifier = self.client.id_token_verifier();
            let claims = id_token.claims(&verifier, &Nonce::new(attempt.nonce));
            let claims = claims.map_err(|_| PageError::Refused)?;
            let sid = claims.additional_claims().sid.clone();
            Ok(Identity { subject: claims.subject().to_string(), sid })
        })
    }
}

async fn sign_out(account: Account) -> Result<Redirect, Error> {
    account.session().delete().await?;
    Ok(Redirect::to("/"))
}

#[derive(Deserialize)]
struct Logout {
    logout_token: String,
}

/// The claims of a logout token: OpenID Connect Back-Channel Logout 1.0, 2.4. `jsonwebtoken` checks
/// the issuer, the audience and the time of expiry.
#[derive(Deserialize)]
struct LogoutClaims {
    events: HashMap<String, serde_json::Value>,
    /// The session to end. `None` ends all sessions of the subject.
    sid: Option<String>,
    sub: Option<String>,
    /// Must be absent, so that an ID token is not accepted as a logout token.
    nonce: Option<String>,
}

const LOGOUT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// Verifies logout tokens.
struct LogoutVerifier {
    issuer: String,
    client_id: String,
    /// The keys of the provider.
    keys: JwkSet,
}

impl LogoutVerifier {
    fn new(
        metadata: &CoreProviderMetadata,
        client_id: &ClientId,
    ) -> Result<Self, serde_json::Error> {
        Ok(Self {
            issuer: metadata.issuer().to_string(),
            client_id: client_id.to_string(),
            keys: serde_json::from_value(serde_json::to_value(metadata.jwks())?)?,
        })
    }

    /// Returns the claims of a token that the provider has signed for this app. `None` if the token
    /// is not genuine, has expired, or is not a logout token.
    fn verify(&self, token: &str) -> Option<LogoutClaims> {
        let header = jsonwebtoken::decode_header(token).ok()?;
        let key = match &header.kid {
            Some(id) => self.keys.find(id)?,
            None => self.keys.keys.first()?,
        };
        // The key of the provider must belong to this algorithm, so the token cannot choose a
        // weaker algorithm.
        let mut validation = Validation::new(header.alg);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.client_id]);
        validation.set_required_spec_claims(&["iss", "aud", "exp"]);
        let key = DecodingKey::from_jwk(key).ok()?;
        let claims: LogoutClaims = jsonwebtoken::decode(token, &key, &validation).ok()?.claims;
        (claims.nonce.is_none() && claims.events.contains_key(LOGOUT)).then_some(claims)
    }
}

/// The provider posts a signed token, without a cookie.
async fn backchannel_logout(
    State(provider): State<Provider>,
    Form(Logout { logout_token }): Form<Logout>,
) -> Result<[(HeaderName, &'static str); 1], PageError> {
    let claims = provider.logout.verify(&logout_token).ok_or(PageError::Refused)?;
    match (&claims.sid, &claims.sub) {
        (Some(sid), _) => provider.sessions.by_sid(sid).revoke_all().await?,
        (None, Some(subject)) => provider.sessions.by_subject(subject).revoke_all().await?,
        (None, None) => return Err(PageError::Refused),
    };
    Ok([(header::CACHE_CONTROL, "no-store")])
}
