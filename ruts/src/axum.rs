//! axum extractors for [`Session`] and every `#[session]` struct, and [`Error`] as a response.
//!
//! Called by axum and by the code that `#[session]` generates. Knows `session` and `error`, and
//! nothing about the layer, the cookie or stores.

use axum_core::{
    extract::{FromRequestParts, OptionalFromRequestParts},
    response::{IntoResponse, Response},
};
use http::{StatusCode, header, request::Parts};

use crate::{
    auth::Assurance,
    codec::CodecError,
    error::Error,
    session::{handle::Session, typed::optional},
};

impl<S: 'static, St: Sync> FromRequestParts<St> for Session<S> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &St) -> Result<Self, Error> {
        Self::from_extensions(&parts.extensions)
    }
}

/// `None` if no unnamed `SessionLayer` wraps the handler.
impl<S: 'static, St: Sync> OptionalFromRequestParts<St> for Session<S> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &St) -> Result<Option<Self>, Error> {
        optional(Self::from_extensions(&parts.extensions))
    }
}

/// The body is empty. A 503 has `Retry-After`, and a 401 has `WWW-Authenticate`. A 401 is not
/// logged. [`Error::Ended`] and [`Error::TooManySessions`] are logged at `DEBUG`, and all other
/// errors at `ERROR`.
impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let error: &dyn std::error::Error = &self;
        let status = match &self {
            Self::Store(_)
            | Self::Newer { .. }
            // The value cannot be written in the version of the previous release. After the deploy,
            // it can.
            | Self::Encode { source: CodecError::Migrate(_), .. } => {
                tracing::error!(error, "session error");
                return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")])
                    .into_response();
            }
            Self::TooManySessions => {
                tracing::debug!(error, "session error");
                return StatusCode::TOO_MANY_REQUESTS.into_response();
            }
            Self::SignInRequired | Self::StepUpRequired { .. } => {
                return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge(&self))])
                    .into_response();
            }
            Self::Ended => {
                tracing::debug!(error, "session error");
                return StatusCode::CONFLICT.into_response();
            }
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        tracing::error!(error, "session error");
        status.into_response()
    }
}

/// Returns the value of `WWW-Authenticate`. For a step-up it has the parameters of RFC 9470.
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

/// Makes a `#[session]` struct an extractor.
#[doc(hidden)]
#[macro_export]
macro_rules! __impl_extractor {
    ($name:ident) => {
        #[allow(deprecated)]
        impl<__RutsS: ::core::marker::Sync> $crate::__private::FromRequestParts<__RutsS> for $name {
            type Rejection = $crate::Error;

            async fn from_request_parts(
                __parts: &mut $crate::__private::Parts,
                _: &__RutsS,
            ) -> ::core::result::Result<Self, $crate::Error> {
                <Self as $crate::session::TypedSession>::from_extensions(&__parts.extensions)
            }
        }

        #[allow(deprecated)]
        impl<__RutsS: ::core::marker::Sync> $crate::__private::OptionalFromRequestParts<__RutsS>
            for $name
        {
            type Rejection = $crate::Error;

            async fn from_request_parts(
                __parts: &mut $crate::__private::Parts,
                _: &__RutsS,
            ) -> ::core::result::Result<::core::option::Option<Self>, $crate::Error> {
                $crate::__private::optional(
                    <Self as $crate::session::TypedSession>::from_extensions(&__parts.extensions),
                )
            }
        }
    };
}
