//! The format of the data that the store and a script exchange: keys, arguments and replies.
//!
//! Used by the executor and everything above it. Knows nothing about drivers, and sends nothing.

pub(super) mod args;
pub(super) mod batch;
pub(super) mod keys;
pub(super) mod moment;
pub(super) mod msgpack;
pub(super) mod record;
pub(super) mod reply;
pub(super) mod value;
