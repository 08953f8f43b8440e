//! The session of one request as a state machine, shared by all extractions of the request.
//!
//! Read the files in this order:
//!
//! 1. Data:
//!    - `identity`: the session that the request belongs to.
//!    - `field_cache`: the fields that were read or written.
//!    - `state`: both of these, and pending changes.
//!    - `response`: the cookie.
//!    - `shared`: all of these, and the lock.
//! 2. Store calls:
//!    - `store_call`: one call with credentials.
//!    - `write_plan`: the side effects of a write.
//!    - `orphan`: deletes a session whose token no client gets.
//!    - `exchange`: a call, and the new identity that follows from its answer.
//! 3. Steps:
//!    - `client_check`: compares the client with the client of the sign-in, after a read.
//!    - `own_fields`: the reserved fields of a sign-in.
//!    - `index`: updates index entries, before and after a write.
//!    - `former_token`: the tokens that a session stores if a page view starts it after a lost
//!      sign-in.
//!    - `inherited`: the fields that a sign-in takes over from lost sessions.
//!    - `creation`: creates a session, within the session limit.
//!    - `transfer`: reads fields, and changes the presented session.
//!    - `new_session`: starts a session for a write that needs one.
//!    - `successor`: signs in to a session that a page view has started after a lost sign-in.
//!    - `write`: decides which session a write changes.
//!    - `decrypted`: decrypts stored values.
//!    - `rewrite`: reads, changes and writes one field atomically.
//!    - `renewal`: renews the secret, as the last step.
//!    - `current`: lists the requests that run on this thread.
//!
//! [`RequestSession`](operations::RequestSession) is the interface to the rest of `session`. It
//! passes values as stored bytes.

mod client_check;
mod creation;
pub(super) mod current;
mod decrypted;
mod exchange;
mod field_cache;
mod former_token;
mod identity;
mod index;
mod inherited;
mod new_session;
pub(super) mod operations;
mod orphan;
pub(super) mod own_fields;
mod renewal;
pub(super) mod response;
pub(super) mod rewrite;
pub(super) mod shared;
mod state;
mod store_call;
mod successor;
mod transfer;
mod write;
pub(super) mod write_plan;
