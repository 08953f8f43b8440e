//! The session of one request as a state machine, shared by all extractions of the request.
//!
//! To read in this order:
//!
//! 1. Knowledge: `identity` (of the request), `field_cache` (fields that were read or written),
//!    `state` (both, and pending changes), `response` (the cookie).
//! 2. Questions: `operation` (a store call with credentials), `write_plan` (the effects of a write
//!    besides its changes), `exchange` (a store call, and its consequences for the identity).
//! 3. Consequences: `client_check` after a read, `own_fields` with a sign-in, `transfer`
//!    (reads and writes of fields), and `renewal` as the last step.
//!
//! [`Request`](operations::Request) offers all of it to the typed surface, on bytes.

mod client_check;
pub(super) mod current;
mod exchange;
mod field_cache;
mod identity;
mod operation;
pub(super) mod operations;
pub(super) mod own_fields;
mod renewal;
pub(super) mod response;
pub(super) mod shared;
mod state;
mod transfer;
pub(super) mod write_plan;
