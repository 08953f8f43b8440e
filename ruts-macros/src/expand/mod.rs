//! Generates code from the model: one file for each group of items, `session` joins them, `tokens`
//! has helpers. Called by `pipeline`.
//!
//! Generated code shares its scope with the application. So every path in it begins with `::core`
//! or the path of `ruts`. Every generic, lifetime and binding that it introduces begins with `__`.
//! Otherwise a lower-case constant of the application could turn a binding into a pattern that
//! matches this constant.

mod accessors;
mod edit;
mod handle;
mod index;
mod lock;
mod migrate;
mod schema;
mod session;
mod tokens;
mod values;

pub(crate) use self::session::session;
