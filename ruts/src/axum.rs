//! Extractors and guards for axum handlers, and [`Error`] as a response.

use std::time::Duration;

use axum_core::{
    extract::FromRequestParts,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, Method, StatusCode, header, request::Parts};

use crate::{
    error::Error,
    principal::Assurance,
    session::{Session, TypedSession},
};

impl<S: 'static, St: Sync> FromRequestParts<St> for Session<S> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &St) -> Result<Self, Error> {
        Self::from_extensions(&parts.extensions)
    }
}

/// Tells the client nothing: the details are logged.
impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooManySessions => StatusCode::TOO_MANY_REQUESTS,
            Self::SignInRequired | Self::StepUpRequired { .. } => {
                return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge(&self))])
                    .into_response();
            }
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        tracing::error!(error = &self as &dyn std::error::Error, "session error");
        status.into_response()
    }
}

/// What is needed, in the words of RFC 9470.
fn challenge(error: &Error) -> String {
    let Error::StepUpRequired { assurance, within } = error else { return "Session".to_owned() };
    let mut challenge = "Session error=\"insufficient_user_authentication\"".to_owned();
    if *assurance > Assurance::Aal1 {
        challenge += &format!(", acr_values=\"aal{}\"", assurance.level());
    }
    if let Some(within) = within {
        challenge += &format!(", max_age=\"{}\"", within.as_secs());
    }
    challenge
}

/// A session whose user has authenticated within so many minutes: for changes of a password or an address
/// (OWASP ASVS 5.0, 7.5.1). A remembered sign-in is none. One round trip, which reads no field.
///
/// Others get a 401, or are sent to the layer's
/// [`sign_in_page`](crate::SessionLayer::sign_in_page) if they ask for a page.
///
/// ```
/// use ruts::{Error, Fresh, session};
///
/// #[session]
/// struct Shop {
///     #[field(principal)]
///     user: u64,
/// }
///
/// async fn change_password(Fresh(shop): Fresh<Shop, 5>) -> Result<String, Error> {
///     Ok(format!("a new password for {:?}", shop.user().await?))
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Fresh<T, const MINUTES: u64>(pub T);

/// A session whose user has authenticated at this level at least, 1 to 3: for what needs a second factor
/// (OWASP ASVS 5.0, 7.5.3). Otherwise as [`Fresh`].
///
/// ```
/// use ruts::{Aal, Error, session};
///
/// #[session]
/// struct Shop {
///     #[field(principal)]
///     user: u64,
/// }
///
/// async fn pay_out(Aal(shop): Aal<Shop, 2>) -> Result<String, Error> {
///     Ok(format!("money for {:?}", shop.user().await?))
/// }
/// ```
///
/// There is no level 4:
///
/// ```compile_fail,E0080
/// # use ruts::{Aal, session};
/// # #[session]
/// # struct Shop {
/// #     #[field(principal)]
/// #     user: u64,
/// # }
/// async fn launch(_: Aal<Shop, 4>) {}
///
/// let app: axum::Router = axum::Router::new().route("/", axum::routing::get(launch));
/// # drop(app);
/// ```
#[derive(Debug, Clone)]
pub struct Aal<T, const LEVEL: u8>(pub T);

impl<T: TypedSession, S: Sync, const MINUTES: u64> FromRequestParts<S> for Fresh<T, MINUTES> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let within = Some(Duration::from_secs(60 * MINUTES));
        guarded(parts, Assurance::Aal1, within).await.map(Self)
    }
}

impl<T: TypedSession, S: Sync, const LEVEL: u8> FromRequestParts<S> for Aal<T, LEVEL> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let assurance = const {
            match LEVEL {
                1 => Assurance::Aal1,
                2 => Assurance::Aal2,
                3 => Assurance::Aal3,
                _ => panic!("authentication assurance levels go from 1 to 3"),
            }
        };
        guarded(parts, assurance, None).await.map(Self)
    }
}

async fn guarded<T: TypedSession>(
    parts: &Parts,
    assurance: Assurance,
    within: Option<Duration>,
) -> Result<T, Refusal> {
    let typed =
        T::from_extensions(&parts.extensions).map_err(|error| Refusal { error, page: None })?;
    let required = typed.session().require(assurance, within).await;
    match required {
        Ok(_) => Ok(typed),
        Err(error) => {
            let page = typed.session().sign_in_page().filter(|_| asks_for_a_page(parts)).cloned();
            Err(Refusal { error, page })
        }
    }
}

/// Whether a browser would show the answer: only then it can be sent elsewhere.
fn asks_for_a_page(parts: &Parts) -> bool {
    let accept = parts.headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    matches!(parts.method, Method::GET | Method::HEAD)
        && accept.is_some_and(|accept| accept.contains("text/html"))
}

/// Why a guard lets nobody in, and where they are sent.
#[derive(Debug)]
pub struct Refusal {
    error: Error,
    page: Option<HeaderValue>,
}

impl Refusal {
    /// The reason.
    pub fn error(&self) -> &Error {
        &self.error
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match (self.error, self.page) {
            (Error::SignInRequired | Error::StepUpRequired { .. }, Some(page)) => {
                (StatusCode::SEE_OTHER, [(header::LOCATION, page)]).into_response()
            }
            (error, _) => error.into_response(),
        }
    }
}

/// Makes a `#[session]` struct an extractor.
#[doc(hidden)]
#[macro_export]
macro_rules! __impl_extractor {
    ($name:ident) => {
        impl<S: ::core::marker::Sync> $crate::__private::FromRequestParts<S> for $name {
            type Rejection = $crate::Error;

            async fn from_request_parts(
                parts: &mut $crate::__private::Parts,
                _: &S,
            ) -> ::core::result::Result<Self, $crate::Error> {
                <Self as $crate::TypedSession>::from_extensions(&parts.extensions)
            }
        }
    };
}
