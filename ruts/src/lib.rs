#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

// So that `#[session]` works in this crate's own documentation tests and under a renamed import.
extern crate self as ruts;

#[cfg(feature = "axum")]
mod axum;
mod codec;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod cookie;
mod error;
mod event;
mod field;
#[cfg(any(feature = "signed", feature = "private", feature = "encrypt"))]
mod keys;
mod layer;
mod name;
mod principal;
mod schema;
mod sealing;
mod session;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
mod token;
mod ttl;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

pub use http;
pub use ruts_macros::session;
/// Refuses unsafe requests that come from other sites, by `Sec-Fetch-Site` and `Origin` (OWASP ASVS 5.0,
/// 3.5.1 and 3.5.3): tower-http's. Put it outside of the [`SessionLayer`]. Behind a proxy, see that `Host`
/// and `Origin` come through.
#[cfg(feature = "csrf")]
pub use tower_http::csrf::CsrfLayer;

#[cfg(feature = "axum")]
pub use crate::axum::{Aal, Fresh, Refusal};
#[cfg(any(feature = "signed", feature = "private", feature = "encrypt"))]
pub use crate::keys::{KeyError, KeyRing};
pub use crate::{
    codec::{Codec, CodecError},
    cookie::options::CookieOptions,
    error::Error,
    field::{
        Field, FieldSpec, FieldValue, Maybe, Mode, Once, OrDefault, Principal, Readable, StoredAs,
        Updatable, is_field_name,
    },
    layer::{ClearSiteData, ResponseFuture, SessionLayer, SessionService, TokenSource},
    name::FieldName,
    principal::{Assurance, PrincipalKey},
    schema::SessionSchema,
    session::{
        AnyStore, ClientChangeAction, ClientFingerprint, Edit, Entry, FieldSet, LoadFuture,
        PrincipalSessions, ReadFuture, Session, SessionChange, SessionIndex, SessionName,
        SessionSummary, SummaryPage, TypedSession, Unnamed, WriteFuture,
    },
    token::{ParseSessionIdError, RandomError, SecretHash, SessionId},
    ttl::{CachePolicy, Ttl, TtlError},
};
#[cfg(any(feature = "signed", feature = "private", feature = "encrypt"))]
pub use ::cookie::Key;

/// Without the feature `axum`, a `#[session]` struct is no extractor.
#[cfg(not(feature = "axum"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __impl_extractor {
    ($name:ident) => {};
}
