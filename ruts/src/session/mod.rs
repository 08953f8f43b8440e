//! Edits, sign-ins, lists of sessions, and the traits behind `#[session]`.
//!
//! [`Session`](crate::Session) and [`Entry`](crate::Entry) are at the root of the crate.

// Sessions, entries and edits encode and decode values. `request` calls the store, with encoded
// values. `session_index`, `principal_sessions`, `indexed_sessions`, `index_entry` and `watch` work
// without a request, so they call the store themselves.

mod config;
mod csrf;
mod edit;
pub(crate) mod entry;
mod field_set;
mod future;
pub(crate) mod handle;
mod index_entry;
mod index_key;
mod indexed_sessions;
mod layer_name;
pub(crate) mod map;
mod preserve;
mod principal_sessions;
mod request;
mod schemas;
mod session_index;
mod sign_in;
mod token_status;
pub(crate) mod typed;
mod update_queue;
mod user;
mod value;
mod values;
mod watch;

#[doc(hidden)]
pub use self::schemas::FingerprintFn;
pub use self::{
    config::Unreadable,
    edit::Edit,
    field_set::FieldSet,
    future::{LoadFuture, ReadFuture, WriteFuture},
    handle::AnyStore,
    indexed_sessions::IndexedSessions,
    layer_name::{DefaultLayer, LayerName},
    principal_sessions::{PrincipalSessions, SessionSummary, SummaryPage},
    session_index::SessionIndex,
    sign_in::SignIn,
    token_status::TokenStatus,
    typed::{LockedSession, TypedSession},
    user::{LoadUser, load_user},
    values::{Values, ValuesDecoder},
    watch::SessionChange,
};
pub(crate) use self::{
    config::{LayerIdentity, SessionConfig, SessionContext},
    future::Renewal,
    request::{
        response::{CookieAction, ResponseClosed},
        shared::Incoming,
    },
};
