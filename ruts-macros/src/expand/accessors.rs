//! Generates the accessors and setters of the handle.
//!
//! ```text
//! impl Shop {
//!     pub fn user(&self) -> Entry<'_, UserId> { entry(&self.session, Self::SCHEMA, Self::USER) }
//!     pub fn set_user(&self, value: &(impl StoredAs<UserId> + ?Sized)) -> WriteFuture<'_> { .. }
//! }
//! ```

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;

use super::{
    schema::mode_type,
    tokens::{docs, generated},
};
use crate::model::{Field, Session};

pub(super) fn expand(session: &Session) -> TokenStream {
    let private = {
        let krate = &session.krate;
        quote!(#krate::__private)
    };
    let name = &session.name;
    let accessors = session.fields.iter().map(|field| accessor(field, &private));
    quote! {
        #[allow(dead_code, deprecated)]
        impl #name {
            #(#accessors)*
        }
    }
}

fn accessor(field: &Field, private: &TokenStream) -> TokenStream {
    let Field { attrs, vis, name, setter, key, ty, .. } = field;
    let mode = mode_type(field, private);
    let setter = generated(setter);
    let docs = docs(field);
    let set_doc = format!("Writes the field `{}`, like `.{name}().set(value)`.", name.unraw());
    quote! {
        #docs
        #(#attrs)*
        #vis fn #name(&self) -> #private::Entry<'_, #ty, #mode> {
            #private::entry(&self.session, Self::SCHEMA, Self::#key)
        }

        #[doc = #set_doc]
        #(#attrs)*
        #vis fn #setter(
            &self,
            __value: &(impl #private::StoredAs<#ty> + ?::core::marker::Sized),
        ) -> #private::WriteFuture<'_> {
            #private::entry(&self.session, Self::SCHEMA, Self::#key).set(__value)
        }
    }
}
