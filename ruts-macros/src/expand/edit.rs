//! Generates the struct that collects changes.
//!
//! ```text
//! pub struct ShopEdit<'a>(Edit<'a>);
//! impl<'a> ShopEdit<'a> {
//!     pub fn user(self, value) -> Self;
//!     pub fn remove_user(self) -> Self;
//!     pub fn assurance(self, assurance: Assurance) -> Self;
//!     pub fn keep_fields(self) -> Self;
//!     pub fn remember(self, life: Duration) -> Self;
//!     pub fn until_browser_closes(self) -> Self;
//!     pub fn stamp(self, stamp: impl AsRef<[u8]>) -> Self;
//!     pub fn commit(self) -> WriteFuture<'a>;
//! }
//! ```

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;

use super::tokens::generated;
use crate::model::{Field, Session};

pub(super) fn expand(session: &Session) -> TokenStream {
    let Session { krate, vis, name, edit, fields, .. } = session;
    let private = quote!(#krate::__private);
    let methods =
        fields.iter().map(|Field { attrs, vis, name: field, remover, key, ty, .. }| {
            let (setter, remover) = (generated(field), generated(remover));
            let set_doc = format!("Sets the field `{}`.", field.unraw());
            let remove_doc = format!("Removes the field `{}`.", field.unraw());
            quote! {
                #[doc = #set_doc]
                #(#attrs)*
                #vis fn #setter(
                    self,
                    __value: &(impl #private::StoredAs<#ty> + ?::core::marker::Sized),
                ) -> Self {
                    Self(self.0.set(#name::#key, __value))
                }

                #[doc = #remove_doc]
                #(#attrs)*
                #vis fn #remover(self) -> Self {
                    Self(self.0.remove(#name::#key))
                }
            }
        });
    let sign_in = session.principal().map(|_| sign_in(session));
    let doc = format!("Changes to a [`{}`]. `commit` writes all of them or none.", name.unraw());
    quote! {
        #[doc = #doc]
        #[must_use = "nothing is written until `commit` is awaited"]
        #[allow(dead_code)]
        #vis struct #edit<'__ruts>(#private::Edit<'__ruts>);

        #[allow(dead_code, deprecated)]
        impl<'__ruts> #edit<'__ruts> {
            #(#methods)*
            #sign_in

            /// Writes all changes or none. One round trip, or more if the edit signs in or if the
            /// store does not know the token of the request.
            #vis fn commit(self) -> #private::WriteFuture<'__ruts> {
                self.0.commit()
            }
        }
    }
}

/// Returns the methods of an edit that signs in.
fn sign_in(session: &Session) -> TokenStream {
    let Session { krate, vis, .. } = session;
    quote! {
        /// Sets the assurance of a sign-in. `Aal1` by default.
        #vis fn assurance(self, __assurance: #krate::auth::Assurance) -> Self {
            Self(self.0.assurance(__assurance))
        }

        /// Keeps the fields of the session at a sign-in, even if a different principal is signed
        /// in.
        #vis fn keep_fields(self) -> Self {
            Self(self.0.keep_fields())
        }

        /// Remembers a sign-in even after the browser was closed, until this time has passed
        /// without a visit.
        #vis fn remember(self, __life: ::core::time::Duration) -> Self {
            Self(self.0.remember(__life))
        }

        /// Lets the cookie of a sign-in end with the browser.
        #vis fn until_browser_closes(self) -> Self {
            Self(self.0.until_browser_closes())
        }

        /// Keeps a digest of the user's stamp with a sign-in.
        #vis fn stamp(self, __stamp: impl ::core::convert::AsRef<[::core::primitive::u8]>) -> Self {
            Self(self.0.stamp(__stamp))
        }
    }
}
