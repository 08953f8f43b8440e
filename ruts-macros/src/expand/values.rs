//! Generates the struct of all values.
//!
//! ```text
//! pub struct ShopValues { pub user: Option<UserId>, pub cart: Cart }
//! impl Values for ShopValues { fn decode(fields: &mut ValuesDecoder<'_>) -> Self }
//! ```

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;

use super::tokens::{docs, generated};
use crate::model::{Field, Mode, Session};

/// Generates the struct, without `once` fields.
pub(super) fn expand(session: &Session) -> TokenStream {
    let Session { krate, values_attrs, vis, name, values, fields, .. } = session;
    let private = quote!(#krate::__private);
    let readable = || fields.iter().filter(|field| !matches!(field.mode, Mode::Once));
    let declarations = readable().map(declaration);
    let reads = readable()
        .map(|Field { name: field, key, .. }| quote!(#field: __fields.field(#name::#key)));
    let values = generated(values);
    let doc = format!("All values of a [`{}`], read by its `load`.", name.unraw());
    quote! {
        #[doc = #doc]
        #(#values_attrs)*
        // The docs of a field may link to items of the session struct, such as `[Self::CART]`.
        #[allow(dead_code, rustdoc::broken_intra_doc_links)]
        #vis struct #values {
            #(#declarations,)*
        }

        impl #private::Values for #values {
            #[allow(deprecated, unused_variables)]
            fn decode(__fields: &mut #private::ValuesDecoder<'_>) -> Self {
                Self { #(#reads,)* }
            }
        }
    }
}

fn declaration(field: &Field) -> TokenStream {
    let Field { attrs, values_attrs, vis, name, ty, .. } = field;
    let docs = docs(field);
    let name = generated(name);
    let ty = match field.mode {
        Mode::OrDefault(_) => quote!(#ty),
        Mode::Optional | Mode::Once | Mode::Principal => quote!(::core::option::Option<#ty>),
    };
    quote!(#docs #(#attrs)* #(#values_attrs)* #vis #name: #ty)
}
