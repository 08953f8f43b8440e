//! Checks the rules of a session as a whole.
//!
//! Called by `pipeline`. Leaves the rules of one field to `field`.

use quote::{ToTokens, format_ident, quote};
use syn::LitStr;

use super::{codec::codec, field, names::Names};
use crate::{
    diagnostics::Diagnostics,
    model::{Field, Mode, Session},
    parse::RawSession,
};

/// Checks a session. The model leaves out invalid keys and fields with conflicting names.
pub(crate) fn session(raw: RawSession, diagnostics: &mut Diagnostics) -> Session {
    let krate = match raw.args.krate.get() {
        Some(path) => path.to_token_stream(),
        None => quote!(::ruts),
    };
    let layer = match raw.args.layer.get() {
        Some(layer) => layer.to_token_stream(),
        None => quote!(#krate::__private::DefaultLayer),
    };
    let prefix = raw.args.prefix.get().filter(|prefix| is_valid_prefix(prefix, diagnostics));
    let prefix = prefix.map(|prefix| format!("{}.", prefix.value())).unwrap_or_default();
    let codec = codec(&raw.args.codec, diagnostics);
    let lock = raw.args.lock.get().map(|path| match path {
        Some(path) => path.value(),
        None => "sessions.lock".to_owned(),
    });

    let signs_in = raw.fields.iter().any(|field| field.args.principal.is_set());
    let retired = raw.args.retired.get().map_or(&[][..], |retired| retired);
    let mut names = Names::new(signs_in, &prefix, retired);
    retired.iter().for_each(|name| names.check_prefix(name, diagnostics));
    let fields: Vec<Field> = (raw.fields.into_iter())
        .filter_map(|field| {
            let rename = field.args.rename.get().cloned();
            let field = field::field(field, &raw.vis, &prefix, codec.as_ref(), diagnostics);
            names.reserve(rename.as_ref(), &field, diagnostics).then_some(field)
        })
        .collect();
    check_principals(&fields, diagnostics);
    if let Some(index) = fields.iter().find(|field| field.index && !signs_in) {
        let message = "an `index` finds the sessions of signed-in users, and no field of this session is \
                       the `principal`; mark one, or remove `index`";
        diagnostics.at(&index.name, message);
    }
    Session {
        krate,
        sessions: format_ident!("{}Sessions", raw.name),
        attrs: raw.attrs,
        values_attrs: raw.values_attrs,
        vis: raw.vis,
        values: format_ident!("{}Values", raw.name),
        edit: format_ident!("{}Edit", raw.name),
        name: raw.name,
        layer,
        fields,
        prefix,
        retired: names.into_retired(),
        lock,
    }
}

/// Reports every principal but the first.
fn check_principals(fields: &[Field], diagnostics: &mut Diagnostics) {
    let mut principals = fields.iter().filter(|field| matches!(field.mode, Mode::Principal));
    let Some(first) = principals.next() else { return };
    for other in principals {
        let message = format!(
            "`{}` is the principal already, and a session has only one; remove `principal` here",
            first.name
        );
        diagnostics.at(&other.name, message);
    }
}

fn is_valid_prefix(prefix: &LitStr, diagnostics: &mut Diagnostics) -> bool {
    let text = prefix.value();
    let is_valid = !text.is_empty() && text.len() <= 64 && !text.starts_with('~');
    if !is_valid {
        let message = "a prefix has 1 to 64 bytes and does not begin with `~`, which is reserved \
                       for stores: write `prefix = \"auth\"`";
        diagnostics.at(prefix, message);
    }
    is_valid
}
