//! Generates the test that compares the types of a session with its lock, and puts the text of the
//! lock into the field specs. Used only for `#[session(lock)]`. Called by `session`. Decides
//! nothing: see `model`.
//!
//! ```text
//! FieldSpec::new("user").with_lock(include_str!("sessions.lock"))
//! impl LockedSession for Shop { fn visit_fields }
//! #[cfg(test)]
//! __lock_test!(Shop, shop_keeps_its_sessions, "sessions.lock");
//! ```

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::ext::IdentExt;

use crate::model::Session;

pub(super) fn expand(session: &Session) -> TokenStream {
    session.lock.as_ref().map(|path| lock(session, path)).unwrap_or_default()
}

fn lock(session: &Session, path: &str) -> TokenStream {
    let Session { krate, name, fields, .. } = session;
    let private = quote!(#krate::__private);
    let keys = fields.iter().map(|field| &field.key);
    let test = format_ident!("{}_keeps_its_sessions", snake_case(&name.unraw().to_string()));
    quote! {
        #[allow(deprecated)]
        impl #private::LockedSession for #name {
            fn visit_fields<__V: #private::FieldVisitor>(__visitor: &mut __V) {
                #(#private::FieldVisitor::visit(__visitor, Self::#keys);)*
            }
        }

        #[cfg(test)]
        #krate::__lock_test!(#name, #test, #path);
    }
}

/// Returns the call that adds the text of the lock to a field spec. `None` if the file does not
/// exist: the test creates the file, so the test has to compile without it.
pub(super) fn text(session: &Session) -> Option<TokenStream> {
    let path = session.lock.as_ref()?;
    let folder = std::env::var_os("CARGO_MANIFEST_DIR")?;
    std::path::Path::new(&folder).join(path).exists().then(|| {
        quote! {
            .with_lock(::core::include_str!(::core::concat!(
                ::core::env!("CARGO_MANIFEST_DIR"), "/", #path
            )))
        }
    })
}

/// Turns `GuestShop` into `guest_shop`.
fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for char in name.chars() {
        if char.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(char.to_lowercase());
    }
    snake
}
