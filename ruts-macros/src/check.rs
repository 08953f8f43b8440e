//! Raw to model: the rules, first those of each field, then those across fields.

use std::collections::HashMap;

use proc_macro2::Ident;
use quote::{ToTokens, format_ident, quote};
use syn::{GenericArgument, LitStr, PathArguments, Type, Visibility, ext::IdentExt};

use crate::{
    diag::Diagnostics,
    model::{Field, Mode, Session},
    owned::owned,
    parse::{self, CachePolicy, FieldArgs, Lifetime, Once, RawField, RawSession},
};

/// Names that the handle has for itself, and why.
const RESERVED: [(&str, &str); 8] = [
    ("session", "it gives the untyped session"),
    ("load", "it reads all fields"),
    ("sessions", "it lists and ends the sessions of somebody"),
    ("edit", "it writes several fields"),
    ("schema", "its key would be `SCHEMA`"),
    ("clone", "the handle is `Clone`"),
    ("commit", "it writes an edit"),
    ("from_extensions", "it takes the session out of a request"),
];

pub(crate) fn session(raw: RawSession, diagnostics: &mut Diagnostics) -> Session {
    let krate = match raw.args.krate.get() {
        Some(path) => path.to_token_stream(),
        None => quote!(::ruts),
    };
    let layer = match raw.args.layer.get() {
        Some(layer) => layer.to_token_stream(),
        None => quote!(#krate::__private::Unnamed),
    };
    let prefix = raw.args.prefix.get().filter(|prefix| check_prefix(prefix, diagnostics));
    let prefix = prefix.map(|prefix| format!("{}.", prefix.value())).unwrap_or_default();
    let codec = codec(&raw.args.codec, diagnostics);

    let mut names = Names::default();
    let fields: Vec<Field> = (raw.fields.into_iter())
        .filter_map(|field| {
            let rename = field.args.rename.get().cloned();
            let field = resolve(field, &raw.vis, &prefix, codec.as_ref(), diagnostics);
            names.claim(rename.as_ref(), &field, diagnostics).then_some(field)
        })
        .collect();
    one_principal(&fields, diagnostics);
    Session {
        krate,
        sessions: format_ident!("{}Sessions", raw.name),
        attrs: raw.attrs,
        vis: raw.vis,
        values: format_ident!("{}Values", raw.name),
        edit: format_ident!("{}Edit", raw.name),
        name: raw.name,
        layer,
        fields,
    }
}

fn one_principal(fields: &[Field], diagnostics: &mut Diagnostics) {
    let mut principals = fields.iter().filter(|field| matches!(field.mode, Mode::Principal));
    let Some(first) = principals.next() else { return };
    for other in principals {
        let message = format!(
            "`{}` says who is signed in already, and a session is one principal's; make this a plain \
             field",
            first.name
        );
        diagnostics.at(&other.name, message);
    }
}

fn resolve(
    raw: RawField,
    vis: &Visibility,
    prefix: &str,
    codec_of_session: Option<&Ident>,
    diagnostics: &mut Diagnostics,
) -> Field {
    let bare = raw.name.unraw();
    let mode = mode(&raw, diagnostics);
    let ty = owned(inner_of_option(&raw.ty).unwrap_or(&raw.ty), diagnostics);
    let hot = hot(&raw.args, diagnostics);
    Field {
        vis: match raw.vis {
            Visibility::Inherited => vis.clone(),
            own => own,
        },
        setter: format_ident!("set_{bare}", span = raw.name.span()),
        remover: format_ident!("remove_{bare}", span = raw.name.span()),
        key: format_ident!("{}", bare.to_string().to_uppercase(), span = raw.name.span()),
        stored: match raw.args.rename.get() {
            Some(rename) => format!("{prefix}{}", rename.value()),
            None => format!("{prefix}{bare}"),
        },
        ty,
        mode,
        ttl: raw.args.ttl.get().cloned(),
        hot,
        codec: codec(&raw.args.codec, diagnostics).or_else(|| codec_of_session.cloned()),
        version: version(&raw.args, diagnostics),
        lazy: raw.args.lazy.is_set(),
        rotate: raw.args.rotate.is_set(),
        encrypt: raw.args.encrypt.is_set(),
        docs: raw.docs,
        attrs: raw.attrs,
        name: raw.name,
    }
}

fn mode(raw: &RawField, diagnostics: &mut Diagnostics) -> Mode {
    let FieldArgs { once, default, lazy, principal, .. } = &raw.args;
    if once.is_set() {
        if let Some(default) = default.key() {
            let message = "`once` and `default` contradict each other: `take` tells by `None` that there \
                           was nothing; remove one of them";
            diagnostics.at(default, message);
        }
        if let Some(lazy) = lazy.key() {
            diagnostics.at(lazy, "a `once` field is never fetched ahead; remove `lazy`");
        }
        if let Some(principal) = principal.key() {
            let message = "a `once` field is gone after one look, so it cannot say who is signed in; \
                           remove `once` or `principal`";
            diagnostics.at(principal, message);
        }
        return Mode::Once;
    }
    if principal.is_set() {
        if let Some(default) = default.key() {
            let message =
                "a `principal` is `None` as long as nobody is signed in; remove `default`";
            diagnostics.at(default, message);
        }
        return Mode::Principal;
    }
    match default.get() {
        Some(_) if inner_of_option(&raw.ty).is_some() => {
            let message = "a field with a `default` is never `None`; write the type inside the \
                           `Option`, or remove `default`";
            diagnostics.at(&raw.ty, message);
            Mode::Maybe
        }
        Some(default) => Mode::OrDefault(default.clone()),
        None => Mode::Maybe,
    }
}

fn hot(args: &FieldArgs, diagnostics: &mut Diagnostics) -> Option<CachePolicy> {
    let hot = args.hot.get()?;
    if let (CachePolicy::For(Lifetime::Millis(millis)), Some(Lifetime::Millis(ttl))) =
        (hot, args.ttl.get())
        && millis > ttl
    {
        let message = "`hot` is longer than `ttl`: the cache would outlive the value; shorten `hot` \
                       or leave it out";
        diagnostics.at(args.hot.key(), message);
        return None;
    }
    Some(hot.clone())
}

fn version(args: &FieldArgs, diagnostics: &mut Diagnostics) -> u16 {
    let Some(literal) = args.version.get() else {
        return 1;
    };
    match literal.base10_parse::<u16>() {
        Ok(version) if version > 0 => version,
        _ => {
            diagnostics.at(
                literal,
                "a version is a number from 1 to 65535; a field without one has version 1",
            );
            1
        }
    }
}

/// The constant of a codec.
fn codec(name: &Once<LitStr>, diagnostics: &mut Diagnostics) -> Option<Ident> {
    let name = name.get()?;
    match name.value().as_str() {
        "bincode" => Some(Ident::new("BINCODE", name.span())),
        "messagepack" => Some(Ident::new("MESSAGEPACK", name.span())),
        word => {
            let message = match parse::suggest(word, &["bincode", "messagepack"]) {
                Some(meant) => format!("unknown codec \"{word}\"; did you mean \"{meant}\"?"),
                None => {
                    format!("unknown codec \"{word}\"; there are \"bincode\" and \"messagepack\"")
                }
            };
            diagnostics.at(name, message);
            None
        }
    }
}

fn check_prefix(prefix: &LitStr, diagnostics: &mut Diagnostics) -> bool {
    let text = prefix.value();
    let good = !text.is_empty() && text.len() <= 64 && !text.starts_with('~');
    if !good {
        let message = "a prefix has 1 to 64 bytes and does not begin with `~`, which stores keep for \
                       their own: write `prefix = \"auth\"`";
        diagnostics.at(prefix, message);
    }
    good
}

/// What is inside of an `Option`, written in any of the usual ways.
fn inner_of_option(ty: &Type) -> Option<&Type> {
    let path = match ty {
        Type::Path(path) => path,
        // A fragment of a `macro_rules` macro.
        Type::Group(group) => return inner_of_option(&group.elem),
        _ => return None,
    };
    let segments: Vec<_> = path.path.segments.iter().collect();
    let (last, before) = segments.split_last()?;
    let before: Vec<_> = before.iter().map(|segment| segment.ident.to_string()).collect();
    let standard = match before.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => true,
        [krate, module] => (krate == "std" || krate == "core") && module == "option",
        _ => false,
    };
    let PathArguments::AngleBracketed(arguments) = &last.arguments else {
        return None;
    };
    match arguments.args.first() {
        Some(GenericArgument::Type(inner)) if standard && last.ident == "Option" => Some(inner),
        _ => None,
    }
}

/// What fields have taken: items that are generated, and stored names.
#[derive(Default)]
struct Names {
    items: HashMap<String, Ident>,
    stored: HashMap<String, Ident>,
}

impl Names {
    /// Reports what stands against a field's names. If one of its items would be there twice, the
    /// field has to be left out.
    fn claim(
        &mut self,
        rename: Option<&LitStr>,
        field: &Field,
        diagnostics: &mut Diagnostics,
    ) -> bool {
        let name = &field.name;
        let bare = name.unraw().to_string();
        if let Some((_, why)) = RESERVED.iter().find(|(reserved, _)| *reserved == bare) {
            let message = format!(
                "`{bare}` is reserved on the handle: {why}; name the field otherwise and keep its \
                 stored name with `rename = \"{bare}\"`"
            );
            diagnostics.at(name, message);
            return false;
        }
        let items = [
            format!("{bare}()"),
            format!("{}()", field.setter),
            format!("edit().{bare}()"),
            format!("edit().{}()", field.remover),
            field.key.to_string(),
        ];
        let mut clash = None;
        for item in items {
            if let Some(other) = self.items.insert(item.clone(), name.clone()) {
                clash.get_or_insert((item, other));
            }
        }
        if let Some((item, other)) = clash {
            let message = match other.unraw() == name.unraw() {
                true => format!("there are two fields `{bare}`; name one of them otherwise"),
                false => format!(
                    "`{bare}` and `{other}` would both generate `{item}`; name one of them otherwise"
                ),
            };
            diagnostics.at(name, message);
            return false;
        }
        self.claim_stored(rename, field, diagnostics)
    }

    fn claim_stored(
        &mut self,
        rename: Option<&LitStr>,
        field: &Field,
        diagnostics: &mut Diagnostics,
    ) -> bool {
        let name = &field.name;
        let mut report = |message: String| match rename {
            Some(rename) => diagnostics.at(rename, message),
            None => diagnostics.at(name, message),
        };
        let stored = &field.stored;
        if rename.is_some_and(|rename| rename.value().is_empty())
            || stored.len() > 128
            || stored.starts_with('~')
        {
            report(
                "a stored name has 1 to 128 bytes, prefix included, and does not begin with `~`, \
                    which stores keep for their own"
                    .to_owned(),
            );
            return false;
        }
        if let Some(other) = self.stored.insert(stored.clone(), name.clone()) {
            report(format!(
                "`{other}` is stored as \"{stored}\" already; one would overwrite the other"
            ));
            return false;
        }
        true
    }
}
