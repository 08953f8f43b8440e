//! Generates the struct that lists and ends sessions by principal, and returns a session by its id.
//! Used only for a session with a principal. Called by `session`. Decides nothing: see `model`.
//!
//! ```text
//! pub struct ShopSessions(SessionIndex);
//! impl ShopSessions {
//!     pub fn by_user(&self, value) -> PrincipalSessions;
//!     pub fn by_provider_session(&self, value) -> IndexedSessions; // for each field marked `index`
//!     pub fn idle_timeout(self, timeout) -> Self;
//!     pub fn get(&self, id) -> Shop;
//!     pub fn revoke_everyone(&self) -> WriteFuture<'_>;
//! }
//! impl Shop { pub fn sessions(store) -> ShopSessions }
//! ```

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::ext::IdentExt;

use super::tokens::generated;
use crate::model::{Field, Session};

pub(super) fn expand(session: &Session) -> TokenStream {
    session.principal().map(|principal| index(session, principal)).unwrap_or_default()
}

fn index(session: &Session, principal: &Field) -> TokenStream {
    let Session { krate, vis, name, sessions, fields, .. } = session;
    let private = quote!(#krate::__private);
    let sessions = generated(sessions);
    let doc = format!("Lists and ends the sessions of [`{}`] by principal.", name.unraw());
    let finders = fields.iter().filter(|field| field.index).map(|field| {
        let doc =
            format!("Selects the sessions with this `{}`. No round trip.", field.name.unraw());
        finder(session, field, &quote!(IndexedSessions), &quote!(by_index), &doc)
    });
    let by_doc = format!(
        "Selects the sessions in which this `{}` is signed in. No round trip.",
        principal.name.unraw()
    );
    let by_principal = finder(session, principal, &quote!(PrincipalSessions), &quote!(by), &by_doc);
    quote! {
        #[doc = #doc]
        #[derive(::core::clone::Clone, ::core::fmt::Debug)]
        #[allow(dead_code)]
        #vis struct #sessions(#private::SessionIndex);

        #[allow(dead_code, deprecated)]
        impl #sessions {
            #by_principal

            #(#finders)*

            /// Counts the reads and writes by jobs as activity. Pass the idle timeout of the layer.
            #[must_use]
            #[track_caller]
            #vis fn idle_timeout(self, __timeout: ::core::time::Duration) -> Self {
                Self(self.0.idle_timeout(__timeout))
            }

            /// Returns the session with this id, for a job, which has no request and no secret.
            /// Never take the id from a request. No round trip.
            #vis fn get(&self, __id: &#private::SessionId) -> #name {
                self.0.get(__id)
            }

            /// Ends all sessions in the store, of all principals and layers.
            #vis fn revoke_everyone(&self) -> #private::WriteFuture<'_> {
                self.0.revoke_everyone()
            }
        }

        #krate::__impl_encryption_keys!(#vis #sessions);

        #[allow(dead_code, deprecated)]
        impl #name {
            /// Selects the sessions of a store, to list and end them by principal, or to get
            /// one of them by its id. No round trip.
            #vis fn sessions(__store: impl #private::IntoStore) -> #sessions {
                #sessions(#private::SessionIndex::of::<Self>(__store))
            }
        }
    }
}

/// Generates the method that finds sessions by the value of a field. The generated method has the
/// return type `found`, and calls `method` of `SessionIndex`.
fn finder(
    session: &Session,
    field: &Field,
    found: &TokenStream,
    method: &TokenStream,
    doc: &str,
) -> TokenStream {
    let Session { krate, vis, name: session, .. } = session;
    let Field { attrs, name, key, ty, .. } = field;
    let private = quote!(#krate::__private);
    let name = name.unraw();
    let by = generated(&format_ident!("by_{name}", span = name.span()));
    quote! {
        #[doc = #doc]
        #(#attrs)*
        #vis fn #by(
            &self,
            __value: &(impl #private::StoredAs<#ty> + ?::core::marker::Sized),
        ) -> #private::#found {
            self.0.#method(#session::#key, __value)
        }
    }
}
