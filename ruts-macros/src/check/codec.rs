//! Checks the names of codecs.
//!
//! Called for sessions and for fields. Does not know which codecs are compiled in.

use proc_macro2::Ident;
use syn::LitStr;

use crate::{
    diagnostics::Diagnostics,
    parse::{self, KeyState},
};

/// Returns the constant of a codec.
pub(super) fn codec(name: &KeyState<LitStr>, diagnostics: &mut Diagnostics) -> Option<Ident> {
    let name = name.get()?;
    match name.value().as_str() {
        "bincode" => Some(Ident::new("BINCODE", name.span())),
        "messagepack" => Some(Ident::new("MESSAGEPACK", name.span())),
        word => {
            let message = match parse::suggest(word, &["bincode", "messagepack"]) {
                Some(meant) => format!("unknown codec \"{word}\"; did you mean \"{meant}\"?"),
                None => {
                    format!("unknown codec \"{word}\"; expected \"bincode\" or \"messagepack\"")
                }
            };
            diagnostics.at(name, message);
            None
        }
    }
}
