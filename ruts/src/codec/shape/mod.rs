//! Fingerprints of types: [`fingerprint`].
//!
//! Used for the header of a stored value. Knows serde alone.
//!
//! A tracing `Deserializer` notes what the `Deserialize` of a type asks for: `tree` holds the notes,
//! and `tracer` is the deserializer. No derive is needed, so it works for the types of other crates.
//!
//! The fingerprint covers kinds and widths, the names of fields and variants in their order, and
//! nesting. Names of types, newtypes and attributes such as `default` are not part of it.

mod cache;
#[cfg(feature = "testing")]
mod structure;
mod tracer;
mod tree;

pub(crate) use self::{cache::fingerprint, tracer::trace};
#[cfg(feature = "testing")]
pub(crate) use self::{
    structure::{Part, Shape},
    tracer::trace_values,
};
