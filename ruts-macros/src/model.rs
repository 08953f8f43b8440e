//! A session as it will be generated: nothing left to interpret.

use proc_macro2::{Ident, TokenStream};
use syn::{Attribute, Type, Visibility};

use crate::parse::{CachePolicy, Lifetime};

pub(crate) struct Session {
    /// Where `ruts` is.
    pub(crate) krate: TokenStream,
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) name: Ident,
    pub(crate) values: Ident,
    pub(crate) edit: Ident,
    pub(crate) sessions: Ident,
    /// The type that names the layer.
    pub(crate) layer: TokenStream,
    pub(crate) fields: Vec<Field>,
}

pub(crate) struct Field {
    pub(crate) docs: Vec<Attribute>,
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    /// The accessor, and the field of the values.
    pub(crate) name: Ident,
    pub(crate) setter: Ident,
    pub(crate) remover: Ident,
    /// The typed key.
    pub(crate) key: Ident,
    pub(crate) ty: Type,
    pub(crate) stored: String,
    pub(crate) mode: Mode,
    pub(crate) ttl: Option<Lifetime>,
    pub(crate) hot: Option<CachePolicy>,
    /// The constant of a codec; `None` is the default one.
    pub(crate) codec: Option<Ident>,
    pub(crate) version: u16,
    pub(crate) lazy: bool,
    pub(crate) rotate: bool,
    pub(crate) encrypt: bool,
}

/// What reading a field yields.
pub(crate) enum Mode {
    Maybe,
    /// With the expression of the default; `None` is the type's own.
    OrDefault(Option<TokenStream>),
    Once,
    /// Like `Maybe`, and it says who is signed in.
    Principal,
}
