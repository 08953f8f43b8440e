//! Reads the keys in `#[session(...)]` and `#[field(...)]`.
//!
//! Called by `structure`. Checks the syntax of each value, not its meaning.

use proc_macro2::TokenStream;
use syn::{LitInt, LitStr, Path, Type, ext::IdentExt, parse::ParseStream};

use super::{
    key_state::KeyState,
    keys::{self, unknown},
    lifetime::{CachePolicy, Lifetime, cache_policy, lifetime},
    migrate::{Former, formers, retired, since},
    syntax::{flag, list, optional_expression, optional_value, skip, value},
};
use crate::diagnostics::Diagnostics;

/// The keys of a session, each named as in the attribute.
#[derive(Default)]
pub(crate) struct SessionArgs {
    pub(crate) krate: KeyState<Path>,
    pub(crate) prefix: KeyState<LitStr>,
    pub(crate) codec: KeyState<LitStr>,
    pub(crate) layer: KeyState<Type>,
    /// Names of former fields.
    pub(crate) retired: KeyState<Vec<LitStr>>,
    /// The path of the lock. An inner `None` is the default path.
    pub(crate) lock: KeyState<Option<LitStr>>,
}

/// The keys of a field, each named as in the attribute.
#[derive(Default)]
pub(crate) struct FieldArgs {
    pub(crate) ttl: KeyState<Lifetime>,
    pub(crate) hot: KeyState<CachePolicy>,
    /// The expression. An inner `None` is the default of the type.
    pub(crate) default: KeyState<Option<TokenStream>>,
    pub(crate) once: KeyState<()>,
    pub(crate) lazy: KeyState<()>,
    pub(crate) rotate: KeyState<()>,
    pub(crate) principal: KeyState<()>,
    pub(crate) index: KeyState<()>,
    /// The first version whose values are encrypted. An inner `None` encrypts the values of all
    /// versions.
    pub(crate) encrypt: KeyState<Option<LitInt>>,
    pub(crate) rename: KeyState<LitStr>,
    pub(crate) version: KeyState<LitInt>,
    pub(crate) migrate: KeyState<Vec<Former>>,
    pub(crate) writes: KeyState<LitInt>,
    pub(crate) codec: KeyState<LitStr>,
}

impl SessionArgs {
    pub(super) fn read(&mut self, input: ParseStream<'_>, diagnostics: &mut Diagnostics) {
        list(input, diagnostics, "prefix = \"auth\"", |key, input, diagnostics| {
            match key.unraw().to_string().as_str() {
                "crate" => self.krate.read(key, input, diagnostics, value),
                "prefix" => self.prefix.read(key, input, diagnostics, value),
                "codec" => self.codec.read(key, input, diagnostics, value),
                "layer" => self.layer.read(key, input, diagnostics, value),
                "retired" => self.retired.read(key, input, diagnostics, retired),
                "lock" => self.lock.read(key, input, diagnostics, optional_value),
                word => {
                    diagnostics.at(&key, unknown("session attribute", word, &keys::SESSION));
                    skip(input);
                }
            }
        });
    }
}

impl FieldArgs {
    pub(super) fn read(&mut self, input: ParseStream<'_>, diagnostics: &mut Diagnostics) {
        list(input, diagnostics, "ttl = \"30d\"", |key, input, diagnostics| {
            match key.unraw().to_string().as_str() {
                "ttl" => self.ttl.read(key, input, diagnostics, lifetime),
                "hot" => self.hot.read(key, input, diagnostics, cache_policy),
                "default" => self.default.read(key, input, diagnostics, optional_expression),
                "once" => self.once.read(key, input, diagnostics, flag),
                "lazy" => self.lazy.read(key, input, diagnostics, flag),
                "rotate" => self.rotate.read(key, input, diagnostics, flag),
                "principal" => self.principal.read(key, input, diagnostics, flag),
                "index" => self.index.read(key, input, diagnostics, flag),
                "encrypt" => self.encrypt.read(key, input, diagnostics, since),
                "rename" => self.rename.read(key, input, diagnostics, value),
                "version" => self.version.read(key, input, diagnostics, value),
                "migrate" => self.migrate.read(key, input, diagnostics, formers),
                "writes" => self.writes.read(key, input, diagnostics, value),
                "codec" => self.codec.read(key, input, diagnostics, value),
                word => {
                    diagnostics.at(&key, unknown("field attribute", word, &keys::FIELD));
                    skip(input);
                }
            }
        });
    }
}
