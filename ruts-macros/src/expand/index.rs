//! ```text
//! pub struct ShopSessions(SessionIndex);
//! impl ShopSessions { pub fn by_user(&self, value) -> PrincipalSessions; pub fn revoke_everyone(&self) -> WriteFuture<'_> }
//! impl Shop { pub fn sessions(store) -> ShopSessions }
//! ```
//!
//! Of a session with a principal.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::ext::IdentExt;

use super::generated;
use crate::model::{Field, Mode, Session};

pub(super) fn expand(session: &Session) -> TokenStream {
    let principal = session.fields.iter().find(|field| matches!(field.mode, Mode::Principal));
    principal.map(|principal| index(session, principal)).unwrap_or_default()
}

fn index(session: &Session, principal: &Field) -> TokenStream {
    let Session { krate, vis, name, sessions, .. } = session;
    let Field { attrs, name: field, key, ty, .. } = principal;
    let private = quote!(#krate::__private);
    let (field, sessions) = (field.unraw(), generated(sessions));
    let by = generated(&format_ident!("by_{field}", span = field.span()));
    let doc = format!("Lists and ends the sessions of a [`{}`] by who is signed in.", name.unraw());
    let by_doc = format!("The sessions in which this `{field}` is signed in. No round trip yet.");
    quote! {
        #[doc = #doc]
        #[derive(::core::clone::Clone, ::core::fmt::Debug)]
        #[allow(dead_code)]
        #vis struct #sessions(#private::SessionIndex);

        #[allow(dead_code, deprecated)]
        impl #sessions {
            #[doc = #by_doc]
            #(#attrs)*
            #vis fn #by(
                &self,
                value: &(impl #private::StoredAs<#ty> + ?::core::marker::Sized),
            ) -> #private::PrincipalSessions {
                self.0.by(#name::#key, value)
            }

            /// Ends all sessions in the store, whoever's they are.
            #vis fn revoke_everyone(&self) -> #private::WriteFuture<'_> {
                self.0.revoke_everyone()
            }
        }

        #[allow(dead_code, deprecated)]
        impl #name {
            /// The sessions in a store, to be listed and ended by who is signed in.
            #vis fn sessions(store: impl #private::IntoStore) -> #sessions {
                #sessions(#private::SessionIndex::of::<Self>(store))
            }
        }
    }
}
