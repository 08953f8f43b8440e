//! Parses the syntax into a raw model. In this model, every key is optional, and tokens are kept
//! for error messages. Called by `pipeline`.

mod args;
mod duration;
mod key_state;
mod keys;
mod lifetime;
mod migrate;
mod structure;
mod syntax;

pub(crate) use self::{
    args::FieldArgs,
    key_state::KeyState,
    keys::suggest,
    lifetime::{CachePolicy, Lifetime},
    structure::{RawField, RawSession, session},
};
