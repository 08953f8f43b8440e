//! The sessions of a principal, on whichever servers they are.
//!
//! A hash for each principal lists its sessions. It may name sessions that have ended, and never
//! omits a live one. The record of a session decides whether the principal is signed in to it.
//! [`list`] reads and revokes; [`sign_in`] adds. Both work on the executor, and know nothing of the
//! store.

pub(super) mod list;
pub(super) mod sign_in;
