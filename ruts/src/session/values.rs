//! [`Values`]: the trait of the struct that `load()` of a `#[session]` struct returns.
//!
//! Implemented by generated code. Knows only `SessionMap`.

use super::map::SessionMap;
use crate::error::Error;

/// The plain struct of all values of a schema, made by `#[session]`.
#[doc(hidden)]
pub trait Values: Sized {
    #[allow(missing_docs, clippy::missing_errors_doc, reason = "not for callers")]
    fn decode(fields: &SessionMap) -> Result<Self, Error>;
}
