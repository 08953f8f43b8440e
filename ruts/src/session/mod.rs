//! One session of one request: who it is, what it holds, and the typed ways to it.
//!
//! All extractions of a request share one [`Shared`](shared::Shared): a state machine for the
//! identity, and the fields that were read or written so far. Everything that talks to the store
//! lives there, on bytes; the typed surface around it only encodes and decodes.

mod apply;
mod client;
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
mod policy;
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
    policy::{Policy, Realm, Renewal},
    reply::{Closed, Verdict},
};
pub use self::{
    client::{ClientTraits, Risk},
    edit::Edit,
    entry::Entry,
    future::{Load, Read, Write},
    handle::{AnyStore, Session},
    index::{SessionIndex, SessionInfo, SessionPage, Sessions},
    keys::Keys,
    map::SessionMap,
    slot::{SessionName, Unnamed},
    typed::{TypedSession, Values},
    watch::Watched,
};
