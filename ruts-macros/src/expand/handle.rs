//! Generates the struct itself, as a typed session handle.
//!
//! ```text
//! pub struct Shop { session: Session }
//! impl Shop { fn session, fn load, fn edit }
//! impl Clone, Debug, TryFrom<Session>, TypedSession, FromRequestParts
//! ```

use proc_macro2::TokenStream;
use quote::quote;

use crate::model::Session;

pub(super) fn expand(session: &Session) -> TokenStream {
    let Session { krate, attrs, vis, name, values, edit, layer, fields, .. } = session;
    let private = quote!(#krate::__private);
    let keys = fields.iter().map(|field| &field.key);
    quote! {
        #(#attrs)*
        #vis struct #name {
            session: #private::Session,
        }

        #[allow(dead_code, deprecated)]
        impl #name {
            /// Returns the untyped session, which has methods for its id, rotation and deletion.
            #vis fn session(&self) -> &#private::Session {
                &self.session
            }

            /// Reads all fields, including lazy ones, but not `once` fields. One round trip.
            #vis fn load(&self) -> #private::LoadFuture<'_, #values> {
                #private::load(&self.session, Self::SCHEMA)
            }

            /// Collects changes. `commit` writes all of them or none.
            #vis fn edit(&self) -> #edit<'_> {
                #edit(self.session.edit())
            }
        }

        #[allow(deprecated)]
        impl ::core::clone::Clone for #name {
            fn clone(&self) -> Self {
                Self { session: ::core::clone::Clone::clone(&self.session) }
            }
        }

        #[allow(deprecated)]
        impl ::core::fmt::Debug for #name {
            fn fmt(&self, __f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                ::core::fmt::Debug::fmt(&self.session, __f)
            }
        }

        #[allow(deprecated)]
        impl ::core::convert::TryFrom<#private::Session> for #name {
            type Error = #private::Error;

            fn try_from(__session: #private::Session) -> ::core::result::Result<Self, #private::Error> {
                #private::typed(__session)
            }
        }

        #[allow(deprecated)]
        impl #private::TypedSession for #name {
            type Layer = #layer;

            const SCHEMA: &'static #private::SessionSchema = Self::SCHEMA;

            const SHAPES: &'static [#private::FingerprintFn] = &[#(Self::#keys.shape()),*];

            fn session(&self) -> &#private::Session {
                &self.session
            }

            fn wrap(__session: #private::Session) -> Self {
                Self { session: __session }
            }
        }

        #krate::__impl_extractor!(#name);
    }
}
