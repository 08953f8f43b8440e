//! The MessagePack codec. Called by `value` and `stored`, which handle the header, and by
//! `preserve` and `by_names`, which edit payloads. Knows nothing of versions.
//!
//! `rmp-serde` writes. The reader is our own: it asks the payload only for what the type asks for,
//! which takes a third of the code for each type. And it refuses what another type would take for
//! its own: `rmp-serde` reads a number as the position of a variant, and rounds an `f64` to an `f32`.

mod deserializer;
mod node;
mod payload;
mod preserve;
mod reader;

#[cfg(feature = "testing")]
pub(crate) use self::node::Node;
#[cfg(feature = "bincode")]
pub(super) use self::node::write_head;
pub(super) use self::{
    payload::{read, write},
    preserve::merge,
};
