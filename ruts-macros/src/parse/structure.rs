//! Reads the struct under `#[session]`, with its fields and attributes.
//!
//! Called by `pipeline`. Checks the form of the struct, not the rules of a session.

use proc_macro2::TokenStream;
use syn::{
    Attribute, Data, DeriveInput, Fields, Ident, Meta, Type, Visibility, parse::Parser, parse_quote,
};

use super::{
    args::{FieldArgs, SessionArgs},
    keys::suggest,
};
use crate::diagnostics::Diagnostics;

/// The declaration of a session, as written in the source.
pub(crate) struct RawSession {
    pub(crate) args: SessionArgs,
    /// Documentation and the other attributes for the handle.
    pub(crate) attrs: Vec<Attribute>,
    /// Derives and their attributes, for the struct of values.
    pub(crate) values_attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) name: Ident,
    pub(crate) fields: Vec<RawField>,
}

/// The declaration of a field, as written in the source.
pub(crate) struct RawField {
    pub(crate) args: FieldArgs,
    pub(crate) docs: Vec<Attribute>,
    /// Lint levels and deprecation, for the accessors.
    pub(crate) attrs: Vec<Attribute>,
    /// Attributes of derives, for the field of the struct of values.
    pub(crate) values_attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) name: Ident,
    pub(crate) ty: Type,
}

/// Attributes that stay on the handle, whether or not the struct has a derive.
const BUILT_IN: [&str; 8] =
    ["allow", "deny", "deprecated", "doc", "expect", "forbid", "must_use", "warn"];

/// Reads the attribute and its item. `None` if the item is neither struct, enum nor union.
pub(crate) fn session(
    args: TokenStream,
    item: TokenStream,
    diagnostics: &mut Diagnostics,
) -> Option<RawSession> {
    let input: DeriveInput = match syn::parse2(item.clone()) {
        Ok(input) => input,
        Err(error) => {
            match item.into_iter().next() {
                Some(token) => {
                    diagnostics.at(token, "`#[session]` goes on a struct with named fields")
                }
                None => diagnostics.push(error),
            }
            return None;
        }
    };
    let mut session_args = SessionArgs::default();
    parse(args, diagnostics, |input, diagnostics| session_args.read(input, diagnostics));
    if !input.generics.params.is_empty() || input.generics.where_clause.is_some() {
        let message = "a session cannot be generic, because each stored field has one type; \
                       declare a struct for each";
        diagnostics.at(&input.generics, message);
    }
    let fields = named_fields(&input, diagnostics);
    let derives = input.attrs.iter().any(is_derive);
    let attrs = attrs_of_struct(input.attrs, derives, diagnostics);
    let (values_attrs, attrs) = (attrs.into_iter())
        .partition(|attr| derives && !BUILT_IN.iter().any(|known| attr.path().is_ident(known)));
    let fields = fields.into_iter().filter_map(|field| raw_field(field, derives, diagnostics));
    Some(RawSession {
        args: session_args,
        fields: fields.collect(),
        attrs,
        values_attrs,
        vis: input.vis,
        name: input.ident,
    })
}

/// Runs `read` on tokens. `read` itself reports the mistakes that it finds.
fn parse(
    tokens: TokenStream,
    diagnostics: &mut Diagnostics,
    read: impl FnOnce(syn::parse::ParseStream<'_>, &mut Diagnostics),
) {
    let parser = |input: syn::parse::ParseStream<'_>| {
        read(input, diagnostics);
        Ok(())
    };
    if let Err(error) = parser.parse2(tokens) {
        diagnostics.push(error);
    }
}

/// Returns the named fields of an item. For an item without named fields, reports a mistake and
/// returns no fields.
fn named_fields(input: &DeriveInput, diagnostics: &mut Diagnostics) -> Vec<syn::Field> {
    let name = &input.ident;
    match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => return fields.named.iter().cloned().collect(),
            Fields::Unnamed(fields) => diagnostics.at(
                fields,
                "a session needs named fields, because fields are stored by name: write \
                 `{ user: UserId }`",
            ),
            Fields::Unit => diagnostics.at(
                name,
                format!("a session needs fields: write `struct {name} {{ user: UserId }}`"),
            ),
        },
        Data::Enum(data) => diagnostics.at(
            data.enum_token,
            "`#[session]` goes on a struct with named fields; an enum can be the type of a field",
        ),
        Data::Union(data) => {
            diagnostics.at(data.union_token, "`#[session]` goes on a struct with named fields");
        }
    }
    Vec::new()
}

fn is_derive(attr: &Attribute) -> bool {
    last_segment(attr) == "derive"
}

/// Returns the attributes of the struct. Reports and leaves out attributes that have no meaning on
/// a session.
fn attrs_of_struct(
    attrs: Vec<Attribute>,
    derives: bool,
    diagnostics: &mut Diagnostics,
) -> Vec<Attribute> {
    let mut has_meaning = |attr: &Attribute| {
        let message = match last_segment(attr).as_str() {
            "session" => "`#[session]` is given twice; remove one of them",
            "serde" if !derives => {
                "a session is stored field by field; put serde attributes on the fields' types, or \
                 below a `#[derive(Serialize)]`, which applies to the generated `…Values` struct"
            }
            _ => return true,
        };
        diagnostics.at(attr, message);
        false
    };
    attrs.into_iter().filter(|attr| has_meaning(attr)).collect()
}

fn last_segment(attr: &Attribute) -> String {
    attr.path().segments.last().map(|last| last.ident.to_string()).unwrap_or_default()
}

/// Turns `expect` into `allow`. All items of a field get its lint attributes, and most items would
/// not fulfil an `expect`.
fn expect_as_allow(mut attr: Attribute) -> Attribute {
    if let Meta::List(list) = &mut attr.meta
        && list.path.is_ident("expect")
    {
        list.path = parse_quote!(allow);
    }
    attr
}

fn raw_field(field: syn::Field, derives: bool, diagnostics: &mut Diagnostics) -> Option<RawField> {
    let mut raw = RawField {
        args: FieldArgs::default(),
        docs: Vec::new(),
        attrs: Vec::new(),
        values_attrs: Vec::new(),
        vis: field.vis,
        name: field.ident?,
        ty: field.ty,
    };
    for attr in field.attrs {
        let path = attr.path();
        if path.is_ident("doc") {
            raw.docs.push(attr);
        } else if ["allow", "deprecated", "expect"].iter().any(|known| path.is_ident(known)) {
            raw.attrs.push(expect_as_allow(attr));
        } else if path.is_ident("field") {
            match attr.meta {
                Meta::List(list) => parse(list.tokens, diagnostics, |input, diagnostics| {
                    raw.args.read(input, diagnostics);
                }),
                meta => diagnostics.at(
                    meta,
                    "`#[field]` needs its keys in parentheses: `#[field(ttl = \"30d\")]`",
                ),
            }
        } else if path.is_ident("cfg") || path.is_ident("cfg_attr") {
            let message = "a field cannot depend on `cfg`: all builds that share a store need the \
                           same schema; put the `cfg` on the struct";
            diagnostics.at(&attr, message);
        } else {
            let name = last_segment(&attr);
            let message = match name.as_str() {
                "field" => "the attribute takes no path: write `#[field(..)]`".to_owned(),
                name if suggest(name, &["field"]).is_some() => {
                    format!("unknown attribute `{name}`; did you mean `field`?")
                }
                _ if derives => {
                    raw.values_attrs.push(attr);
                    continue;
                }
                "serde" => "serde attributes belong on the field's type, whose values are stored"
                    .to_owned(),
                name => {
                    format!("the attribute `{name}` has no meaning on a session's field; remove it")
                }
            };
            diagnostics.at(&attr, message);
        }
    }
    Some(raw)
}
