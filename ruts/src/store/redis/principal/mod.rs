//! The sessions of a principal. They may be on different nodes.
//!
//! A sorted set for each principal lists its sessions. It may name sessions that have ended, but
//! never omits a live session. The record of a session decides whether the principal is signed in
//! to it. [`list`] reads and revokes; [`sign_in`] adds. Both use the executor, and know nothing
//! about the store.

pub(super) mod list;
pub(super) mod sign_in;
