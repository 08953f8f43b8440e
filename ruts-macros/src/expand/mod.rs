//! Model to code: one file for each generated item.
//!
//! Generated code shares its scope with the application. So every path in it begins with `::core`
//! or the path of `ruts`, and every generic, lifetime and binding that it introduces begins with
//! `__`. A lower-case constant of the application would otherwise turn a binding into a pattern.

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
