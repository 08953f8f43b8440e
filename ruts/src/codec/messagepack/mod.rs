//! The MessagePack codec. Called by `value` and `stored`, which handle the header, and by
//! `preserve` and `by_names`, which edit payloads. Knows nothing of versions.
//!
//! `rmp-serde` writes. The reader is our own. It decodes only the kind of value that the type requests,
//! which takes a third of the code for each type. And it refuses values that another type may have
//! written: `rmp-serde` reads a number as the position of a variant, and rounds an `f64` to an `f32`.

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
