//! Encodes, decodes and edits MessagePack payloads. Called by `value` and `stored`, which handle
//! the header, and by `merging` and `by_names`, which edit payloads. Knows nothing about versions.
//!
//! Values are written by `rmp-serde` in the form for human-readable formats, because serde reads
//! the parts of tagged and flattened types in this form. Values are read by a reader of this crate.
//! The reader decodes only the kind of value that the type requests. For each type, this takes a
//! third of the code that `rmp-serde` needs. The reader also refuses values that a different type
//! may have written. `rmp-serde` would accept them: it reads a number as the position of a variant,
//! and rounds an `f64` to an `f32`.

mod deserializer;
mod merging;
mod node;
mod payload;
mod reader;
mod writer;

#[cfg(feature = "testing")]
pub(crate) use self::node::{Node, text_of};
pub(super) use self::{
    merging::{changed_names, merge},
    payload::{read, write},
};
#[cfg(feature = "bincode")]
pub(super) use self::{
    node::write_head,
    writer::{LARGE, NEGATIVE},
};
