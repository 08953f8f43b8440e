//! Extractors for axum handlers, and [`Error`] as a response.

use axum_core::{
    extract::FromRequestParts,
    response::{IntoResponse, Response},
};
use http::{StatusCode, request::Parts};

use crate::{error::Error, session::Session};

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
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        tracing::error!(error = &self as &dyn std::error::Error, "session error");
        status.into_response()
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
