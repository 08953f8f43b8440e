//! ```text
//! pub struct Shop { session: Session }
//! impl Shop { fn session, fn load, fn edit }
//! impl Clone, Debug, From<Session>, TypedSession, FromRequestParts
//! ```

use proc_macro2::TokenStream;
use quote::quote;

use crate::model::Session;

pub(super) fn expand(session: &Session) -> TokenStream {
    let Session { krate, attrs, vis, name, values, edit, layer, .. } = session;
    let private = quote!(#krate::__private);
    quote! {
        #(#attrs)*
        #vis struct #name {
            session: #private::Session,
        }

        #[allow(dead_code, deprecated)]
        impl #name {
            /// The session as a whole, without its schema: its name, rotation, deletion.
            #vis fn session(&self) -> &#private::Session {
                &self.session
            }

            /// Reads all fields, lazy ones included, in one round trip.
            #vis fn load(&self) -> #private::LoadFuture<'_, #values> {
                #private::load(&self.session, Self::SCHEMA)
            }

            /// Begins several changes that are written together or not at all, in one round trip.
            #vis fn edit(&self) -> #edit<'_> {
                #edit(self.session.edit())
            }
        }

        impl ::core::clone::Clone for #name {
            fn clone(&self) -> Self {
                Self { session: ::core::clone::Clone::clone(&self.session) }
            }
        }

        impl ::core::fmt::Debug for #name {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                ::core::fmt::Debug::fmt(&self.session, f)
            }
        }

        impl ::core::convert::From<#private::Session> for #name {
            fn from(session: #private::Session) -> Self {
                Self { session }
            }
        }

        impl #private::TypedSession for #name {
            type Layer = #layer;

            const SCHEMA: &'static #private::SessionSchema = Self::SCHEMA;

            fn session(&self) -> &#private::Session {
                &self.session
            }
        }

        #krate::__impl_extractor!(#name);
    }
}
