//! Checks the rules of one field.
//!
//! Called by `session`. Does not know the other fields.

use proc_macro2::Ident;
use quote::format_ident;
use syn::{Visibility, ext::IdentExt};

use super::{
    codec::codec,
    option::inner_of_option,
    owned::owned,
    versions::{Versions, versions},
};
use crate::{
    diagnostics::Diagnostics,
    model::{Field, Mode},
    parse::{CachePolicy, FieldArgs, Lifetime, RawField},
};

/// Checks a field. `vis`, `prefix` and `session_codec` belong to its session.
pub(super) fn field(
    raw: RawField,
    vis: &Visibility,
    prefix: &str,
    session_codec: Option<&Ident>,
    diagnostics: &mut Diagnostics,
) -> Field {
    let bare = raw.name.unraw();
    let mode = mode(&raw, diagnostics);
    let ty = owned(inner_of_option(&raw.ty).unwrap_or(&raw.ty), diagnostics);
    let cache_policy = cache_policy(&raw.args, diagnostics);
    let index = index(&raw.args, diagnostics);
    let Versions { version, formers, writes, encrypt } = versions(&raw, diagnostics);
    Field {
        vis: match raw.vis {
            Visibility::Inherited => vis.clone(),
            own => own,
        },
        setter: format_ident!("set_{bare}", span = raw.name.span()),
        remover: format_ident!("remove_{bare}", span = raw.name.span()),
        key: format_ident!("{}", bare.to_string().to_uppercase(), span = raw.name.span()),
        stored_name: match raw.args.rename.get() {
            Some(rename) => format!("{prefix}{}", rename.value()),
            None => format!("{prefix}{bare}"),
        },
        ty,
        mode,
        ttl: raw.args.ttl.get().cloned(),
        cache_policy,
        codec: codec(&raw.args.codec, diagnostics).or_else(|| session_codec.cloned()),
        version,
        formers,
        writes,
        lazy: raw.args.lazy.is_set(),
        rotate: raw.args.rotate.is_set(),
        index,
        // `index` has reported `encrypt`, so the generated code must not report it again.
        encrypt: encrypt.filter(|_| !raw.args.index.is_set()),
        docs: raw.docs,
        attrs: raw.attrs,
        values_attrs: raw.values_attrs,
        name: raw.name,
    }
}

fn mode(raw: &RawField, diagnostics: &mut Diagnostics) -> Mode {
    let FieldArgs { once, default, lazy, principal, .. } = &raw.args;
    if once.is_set() {
        if let Some(default) = default.key() {
            let message = "`once` and `default` contradict each other: `take` returns `None` if \
                           there is no value; remove one of them";
            diagnostics.at(default, message);
        }
        if let Some(lazy) = lazy.key() {
            diagnostics.at(lazy, "a `once` field is never fetched with others; remove `lazy`");
        }
        if let Some(principal) = principal.key() {
            let message = "reading a `once` field removes it, so it cannot be the principal; \
                           remove `once` or `principal`";
            diagnostics.at(principal, message);
        }
        for attr in &raw.values_attrs {
            let message = "a `once` field is not in the generated `…Values` struct, to which the \
                           derive applies; remove this attribute";
            diagnostics.at(attr, message);
        }
        return Mode::Once;
    }
    if principal.is_set() {
        if let Some(default) = default.key() {
            let message = "a `principal` is `None` while no user is signed in; remove `default`";
            diagnostics.at(default, message);
        }
        return Mode::Principal;
    }
    match default.get() {
        Some(_) if inner_of_option(&raw.ty).is_some() => {
            let message = "a field with a `default` is never `None`; write the type inside the \
                           `Option`, or remove `default`";
            diagnostics.at(&raw.ty, message);
            Mode::Optional
        }
        Some(default) => Mode::OrDefault(default.clone()),
        None => Mode::Optional,
    }
}

/// Returns whether sessions are found by the field. Reports keys that contradict `index`.
fn index(args: &FieldArgs, diagnostics: &mut Diagnostics) -> bool {
    let Some(index) = args.index.key() else { return false };
    let message = if args.principal.is_set() {
        "sessions can already be found by their principal; remove `index`"
    } else if args.once.is_set() {
        "a `once` field is removed when it is read, so it cannot be an `index`; remove `once` or \
         `index`"
    } else if args.encrypt.is_given() {
        "an `index` stores a digest of the value, with which an attacker can verify guesses; remove \
         `encrypt` or `index`"
    } else {
        return true;
    };
    diagnostics.at(index, message);
    false
}

fn cache_policy(args: &FieldArgs, diagnostics: &mut Diagnostics) -> Option<CachePolicy> {
    let policy = args.hot.get()?;
    if let (CachePolicy::MaxAge(Lifetime::Millis(millis)), Some(Lifetime::Millis(ttl))) =
        (policy, args.ttl.get())
        && millis > ttl
    {
        let message = "`hot` is longer than `ttl`: the cache would outlive the value; shorten \
                       `hot` or leave it out";
        diagnostics.at(args.hot.key(), message);
        return None;
    }
    Some(policy.clone())
}
