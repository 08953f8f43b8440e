//! One session of one request: who it is, what it holds, and the typed ways to it.
//!
//! All extractions of a request share one [`Shared`](shared::Shared): a state machine for the
//! identity, and the fields that were read or written so far. Everything that talks to the store
//! lives there, on bytes; the typed surface around it only encodes and decodes.

mod apply;
mod client;
mod config;
mod csrf;
mod edit;
mod entry;
mod future;
mod handle;
mod identity;
mod index;
mod keys;
mod map;
mod memory;
mod operation;
mod renewal;
mod reply;
mod shared;
mod slot;
mod state;
mod typed;
mod value;
mod watch;

pub(crate) use self::{
    client::ClientWatch,
    config::{Renewal, SessionConfig, SessionContext},
    reply::{CookieAction, ResponseClosed},
};
pub use self::{
    client::{ClientChangeAction, ClientFingerprint},
    edit::Edit,
    entry::Entry,
    future::{LoadFuture, ReadFuture, WriteFuture},
    handle::{AnyStore, Session},
    index::{PrincipalSessions, SessionIndex, SessionSummary, SummaryPage},
    keys::FieldSet,
    map::SessionMap,
    slot::{SessionName, Unnamed},
    typed::{TypedSession, Values},
    watch::SessionChange,
};
