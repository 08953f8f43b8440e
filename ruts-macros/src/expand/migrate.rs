//! Generates the conversions between the versions of a field, as calls on its key and on its spec.
//!
//! ```text
//! .migrate(|stored| match stored.version() {
//!     1 => Ok(Some(migrate::<CartV1, Cart>(stored, former::<CartV1>(stored)?)?)),
//!     2 => Ok(None),
//!     _ => Err(stored.refuse()),
//! })
//! .writes(|value, target| { .. })
//! .principal_with(|stored, name| { .. })
//! ```
//!
//! A call has the span of its former type, so that a missing conversion is reported there.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{Type, spanned::Spanned};

use super::tokens::generated_at;
use crate::model::{Field, Mode};

/// Returns the calls on the key of a field.
pub(super) fn calls(field: &Field, private: &TokenStream) -> TokenStream {
    if field.formers.is_empty() {
        return TokenStream::new();
    }
    let arms = field.formers.iter().map(|former| {
        let version = former.version;
        match former.ty {
            None => quote!(#version => ::core::result::Result::Ok(::core::option::Option::None),),
            Some(_) => {
                let value = upgraded(&types_from(field, version), private);
                quote!(#version =>
                    ::core::result::Result::Ok(::core::option::Option::Some(#value)),)
            }
        }
    });
    let writes = field.writes.map(|version| writes(field, version, private));
    quote! {
        .migrate(|__stored| match __stored.version() {
            #(#arms)*
            _ => ::core::result::Result::Err(__stored.refuse()),
        })
        #writes
    }
}

/// Returns the types of a field in order: the types of its former versions from `version` on, and
/// its current type.
fn types_from(field: &Field, version: u16) -> Vec<&Type> {
    let later = field.formers.iter().filter(|former| former.version >= version);
    later.filter_map(|former| former.ty.as_ref()).chain([&field.ty]).collect()
}

/// Returns an expression that reads the first type and converts it to the last.
fn upgraded(types: &[&Type], private: &TokenStream) -> TokenStream {
    let mut types = types.iter();
    let Some(mut from) = types.next() else { return TokenStream::new() };
    let mut value =
        quote_spanned!(generated_at(from.span())=> #private::former::<#from>(__stored)?);
    for to in types {
        value = quote_spanned!(generated_at(from.span())=> #private::migrate::<#from, #to>(__stored, #value)?);
        from = to;
    }
    value
}

/// Returns the call that makes the key write new values as a former version.
fn writes(field: &Field, version: u16, private: &TokenStream) -> TokenStream {
    let types = types_from(field, version);
    let mut value = quote!(::core::option::Option::Some(__value));
    for pair in types.windows(2).rev() {
        let [to, from] = pair else { continue };
        value = quote_spanned! {generated_at(to.span())=>
            ::core::option::Option::and_then(#value, #private::downgrade::<#from, #to>)
        };
    }
    quote! {
        .writes(|__value, __target| match #value {
            ::core::option::Option::Some(__value) => __target.write(&__value),
            ::core::option::Option::None => ::core::result::Result::Err(__target.refuse()),
        })
    }
}

/// Returns the call that derives the key of a principal or of an index from a stored value. The
/// value is first converted to the first version that can hold it. Returns no tokens for other
/// fields.
pub(super) fn key(field: &Field, private: &TokenStream) -> TokenStream {
    let (with_type, with_function) = match field.mode {
        Mode::Principal => (quote!(principal), quote!(principal_with)),
        _ if field.index => (quote!(index), quote!(index_with)),
        _ => return TokenStream::new(),
    };
    let types = types_from(field, 0);
    if let [ty] = types[..]
        && field.formers.is_empty()
    {
        return quote!(.#with_type::<#ty>());
    }
    // A discarded version has no type, and its values have no key.
    let versions = field.formers.iter().filter(|former| former.ty.is_some());
    let versions = versions.map(|former| former.version).chain([field.version]);
    let arms = versions.enumerate().map(|(index, version)| {
        let Some(ty) = types.get(index) else { return TokenStream::new() };
        let read = quote_spanned!(generated_at(ty.span())=> #private::former::<#ty>(__stored)?);
        let name = named(&types[..=index], private);
        quote!(#version => { let __value = #read; #name })
    });
    quote! {
        .#with_function(|__stored, __name| {
            match __stored.version() {
                #(#arms)*
                _ => return ::core::result::Result::Err(__stored.refuse()),
            }
            ::core::result::Result::Ok(())
        })
    }
}

/// Returns statements that set the name of a principal, or the indexed value, to `__value`, which
/// has the last of these types. The statements then convert the value to one earlier type after
/// another, until a conversion fails. After each conversion, they set the name to the converted
/// value.
fn named(types: &[&Type], private: &TokenStream) -> TokenStream {
    let downgraded = match types {
        [before @ .., to, from] => {
            let before: Vec<_> = before.iter().chain([to]).copied().collect();
            let name = named(&before, private);
            let call = quote_spanned!(generated_at(to.span())=> #private::downgrade::<#from, #to>(__value));
            quote!(if let ::core::option::Option::Some(__value) = #call { #name })
        }
        _ => TokenStream::new(),
    };
    quote!(__name.set(&__value)?; #downgraded)
}
