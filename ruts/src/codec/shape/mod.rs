//! Shapes of types, and their fingerprints: [`fingerprint_of`].
//!
//! Used for the header of a stored value, for the lock of `testing`, and by `by_names`. Knows only
//! serde.
//!
//! A tracing `Deserializer` (`tracer`) makes `passes` over a type. They record in a `tree` the
//! requests that the `Deserialize` of the type makes. A `walk` over the tree returns the
//! fingerprint. No additional derive is needed, so this also works for types of other crates.
//!
//! The fingerprint covers kinds and widths, the names of fields and variants in their order, and
//! nesting. Names of types, newtypes and attributes such as `default` are not part of it.

mod cache;
#[cfg(feature = "messagepack")]
mod part;
mod passes;
#[cfg(any(feature = "testing", all(feature = "bincode", feature = "messagepack")))]
mod structure;
#[cfg(any(feature = "testing", all(feature = "bincode", feature = "messagepack")))]
mod text;
mod tracer;
mod tree;
mod walk;

#[cfg(feature = "messagepack")]
pub(crate) use self::part::{PartKind, TypePart};
#[cfg(feature = "testing")]
pub(crate) use self::tracer::trace_values;
pub(crate) use self::{
    cache::fingerprint_of,
    tracer::{trace, trace_tree},
    tree::Tree,
};
#[cfg(any(feature = "testing", all(feature = "bincode", feature = "messagepack")))]
pub(crate) use self::{
    structure::{Part, Shape},
    text::{parse, parse_name},
};
