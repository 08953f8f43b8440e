//! The model of a checked session, from which code is generated.
//!
//! Built by the checks, and read by `expand`. The model contains the result of every decision, so
//! `expand` decides nothing.

use proc_macro2::{Ident, TokenStream};
use syn::{Attribute, Type, Visibility};

use crate::parse::{CachePolicy, Lifetime};

/// A session and the names of its generated types.
pub(crate) struct Session {
    /// Path to `ruts`.
    pub(crate) krate: TokenStream,
    pub(crate) attrs: Vec<Attribute>,
    /// Attributes of the struct of values: derives and their attributes.
    pub(crate) values_attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    /// Name of the handle.
    pub(crate) name: Ident,
    pub(crate) values: Ident,
    pub(crate) edit: Ident,
    pub(crate) sessions: Ident,
    /// Type that names the layer.
    pub(crate) layer: TokenStream,
    pub(crate) fields: Vec<Field>,
    /// Beginning of all stored names, with its dot. Empty without a prefix.
    pub(crate) prefix: String,
    /// Stored names of former fields.
    pub(crate) retired: Vec<String>,
    /// Path of the lock, from the folder of `Cargo.toml`.
    pub(crate) lock: Option<String>,
}

impl Session {
    /// Returns the field marked `principal`.
    pub(crate) fn principal(&self) -> Option<&Field> {
        self.fields.iter().find(|field| matches!(field.mode, Mode::Principal))
    }
}

/// A field and the names of its generated items.
pub(crate) struct Field {
    pub(crate) docs: Vec<Attribute>,
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) values_attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    /// Name of the accessor, and of the field in the struct of values.
    pub(crate) name: Ident,
    pub(crate) setter: Ident,
    pub(crate) remover: Ident,
    /// Name of the typed key.
    pub(crate) key: Ident,
    pub(crate) ty: Type,
    pub(crate) stored_name: String,
    pub(crate) mode: Mode,
    pub(crate) ttl: Option<Lifetime>,
    pub(crate) cache_policy: Option<CachePolicy>,
    /// Constant of the codec. `None` is the default codec.
    pub(crate) codec: Option<Ident>,
    pub(crate) version: u16,
    /// Former versions, with or without a type, in ascending order.
    pub(crate) formers: Vec<Former>,
    /// Former version in which new values are written. Its type is among `formers`.
    pub(crate) writes: Option<u16>,
    pub(crate) lazy: bool,
    pub(crate) rotate: bool,
    /// Whether sessions are found by the value.
    pub(crate) index: bool,
    /// First version whose values are encrypted.
    pub(crate) encrypt: Option<u16>,
}

/// A former version of a field.
pub(crate) struct Former {
    pub(crate) version: u16,
    /// Type of its values. `None` reads them as absent.
    pub(crate) ty: Option<Type>,
}

/// How a field is read.
pub(crate) enum Mode {
    Optional,
    /// Holds the expression of the default. `None` is the default of the type.
    OrDefault(Option<TokenStream>),
    Once,
    /// Read like `Optional`. Its value is the principal.
    Principal,
}
