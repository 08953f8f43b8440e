//! Generates the schema and the typed keys.
//!
//! ```text
//! impl Shop {
//!     pub const SCHEMA: &SessionSchema =
//!         &SessionSchema::new("Shop", &[FieldSpec::new("user").with_ttl(..)]);
//!     pub const USER: Field<UserId> =
//!         field::<UserId>(Self::SCHEMA.field_at(0)).keep_fingerprint(..);
//! }
//! ```

use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use syn::{ext::IdentExt, spanned::Spanned};

use super::{lock, migrate, tokens::located_at};
use crate::{
    model::{Field, Mode, Session},
    parse::{CachePolicy, Lifetime},
};

pub(super) fn expand(session: &Session) -> TokenStream {
    let Session { krate, vis, name, fields, prefix, retired, .. } = session;
    let private = quote!(#krate::__private);
    let retired = (!retired.is_empty()).then(|| quote!(.with_retired(&[#(#retired),*])));
    let prefix = (!prefix.is_empty()).then(|| quote!(.with_prefix(#prefix)));
    let text = name.unraw().to_string();
    let lock = lock::text(session);
    let specs = fields.iter().map(|field| {
        let spec = spec(field, &private);
        quote!(#spec #lock)
    });
    let keys = fields.iter().enumerate().map(|(index, field)| key(field, index, &private));
    quote! {
        #[allow(dead_code, deprecated)]
        impl #name {
            /// The fields of this session.
            // The specs are in a separate constant, because a constant with branches cannot be
            // borrowed.
            #vis const SCHEMA: &'static #private::SessionSchema =
                &#private::SessionSchema::new(#text, const { &[#(#specs),*] }) #prefix #retired;

            #(#keys)*
        }
    }
}

fn spec(field: &Field, private: &TokenStream) -> TokenStream {
    let Field { stored_name, .. } = field;
    let mut calls = vec![quote!(#private::FieldSpec::new(#stored_name))];
    if let Some(codec) = &field.codec {
        let codec = located_at(codec, quote!(#private::codec::#codec));
        calls.push(quote!(.with_codec(#codec)));
    }
    if let Some(ttl) = &field.ttl {
        let ttl = lifetime(ttl, private);
        calls.push(quote!(.with_ttl(#ttl)));
    }
    if let Some(policy) = &field.cache_policy {
        let policy = match policy {
            CachePolicy::MaxAge(ttl) => {
                let ttl = lifetime(ttl, private);
                quote!(#private::CachePolicy::MaxAge(#ttl))
            }
            CachePolicy::NoStore => quote!(#private::CachePolicy::NoStore),
            CachePolicy::Revalidate => quote!(#private::CachePolicy::Revalidate),
        };
        calls.push(quote!(.with_cache_policy(#policy)));
    }
    if field.version != 1 {
        let version = field.version;
        calls.push(quote!(.with_version(#version)));
    }
    if let Some(version) = field.writes {
        calls.push(quote!(.with_writes(#version)));
    }
    let flags = [
        (field.lazy, quote!(.lazy())),
        (matches!(field.mode, Mode::Once), quote!(.once())),
        (field.rotate, quote!(.rotate())),
        (field.encrypt == Some(1), quote!(.encrypt())),
    ];
    calls.extend(flags.into_iter().filter(|(on, _)| *on).map(|(_, call)| call));
    if let Some(since) = field.encrypt.filter(|since| *since > 1) {
        calls.push(quote!(.encrypt_since(#since)));
    }
    let calls = calls.into_iter().map(|call| located_at(&field.name, call));
    // The types of a key keep their spans, so that a missing conversion is reported there.
    calls.chain([migrate::key(field, private)]).collect()
}

fn lifetime(lifetime: &Lifetime, private: &TokenStream) -> TokenStream {
    match lifetime {
        Lifetime::Millis(millis) => quote!(#private::Ttl::from_millis(#millis)),
        Lifetime::Expr(expr) => located_at(expr, quote!(#private::Ttl::from_duration(#expr))),
    }
}

fn key(field: &Field, index: usize, private: &TokenStream) -> TokenStream {
    let Field { vis, key, ty, attrs, .. } = field;
    let doc = format!("Typed key of the field `{}`.", field.name.unraw());
    // The call has the span of the type, so that a missing bound is reported only there.
    let new = quote_spanned!(ty.span()=> #private::field::<#ty>);
    let mode = match &field.mode {
        Mode::Principal => quote!(.principal()),
        Mode::Optional => TokenStream::new(),
        Mode::Once => quote!(.once()),
        Mode::OrDefault(Some(expr)) => quote!(.or(|| #expr)),
        Mode::OrDefault(None) => {
            let default = quote_spanned!(ty.span()=> <#ty as ::core::default::Default>::default);
            quote!(.or(#default))
        }
    };
    let key_type = key_type(field, private);
    let versions = migrate::calls(field, private);
    quote! {
        #[doc = #doc]
        #(#attrs)*
        #vis const #key: #key_type = #new(Self::SCHEMA.field_at(#index))
            .keep_fingerprint({
                fn __known() -> &'static #private::AtomicU32 {
                    static KNOWN: #private::AtomicU32 = #private::AtomicU32::new(0);
                    &KNOWN
                }
                __known
            })
            #versions #mode;
    }
}

fn key_type(field: &Field, private: &TokenStream) -> TokenStream {
    let mode = mode_type(field, private);
    let ty = &field.ty;
    quote!(#private::Field<#ty, #mode>)
}

/// Returns the type of a field's mode.
pub(super) fn mode_type(field: &Field, private: &TokenStream) -> TokenStream {
    let ty = field.ty.to_token_stream();
    match field.mode {
        Mode::Principal => quote!(#private::Principal),
        Mode::Optional => quote!(#private::Optional),
        Mode::OrDefault(_) => quote!(#private::OrDefault<#ty>),
        Mode::Once => quote!(#private::Once),
    }
}
