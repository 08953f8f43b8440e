//! The `#[session]` attribute of [ruts](https://docs.rs/ruts), which re-exports it.

mod check;
mod diagnostics;
mod expand;
mod model;
mod parse;
mod pipeline;

use proc_macro::TokenStream;

// `ruts` re-exports it below a summary and an example, which compile there.
/// # Generated items
///
/// These items are generated for a struct `Shop`. A field without a visibility of its own has that
/// of the struct.
///
/// - `Shop`: the handle, `Clone`, `Debug`, and an axum extractor with the feature `axum`. It has
///   `session()`, `load()`, `edit()`, and `Shop::SCHEMA`. As an extractor, `Option<Shop>` is `None`
///   if no layer wraps the handler, and always `Some` inside a layer.
/// - For each field `x`: `x()`, `set_x()` and the key `Shop::X`, with the documentation of the
///   field.
/// - `ShopValues`: a plain struct of all values, `Option<T>` or `T` with a default, without `once`
///   fields. `load()` returns it. A derive below `#[session]` applies to it, with its attributes:
///   `#[derive(Debug, Clone, PartialEq, Serialize)]`, `#[serde(rename_all = "camelCase")]`.
/// - `ShopEdit`: returned by `edit()`. It has `x()`, `remove_x()` and `commit()`. With a principal
///   it also has `assurance`, `keep_fields`, `remember`, `until_browser_closes` and `stamp`.
/// - `ShopSessions`, if a field is the principal: returned by `Shop::sessions(&store)`.
///
/// A field of type `Option<T>` is the same as a field of type `T`.
///
/// # Keys of `#[session(...)]`
///
/// | key | meaning |
/// | --- | --- |
/// | `prefix = "auth"` | stored names become `auth.x`: separates schemas that share a session |
/// | `codec = "messagepack"` | writes new values as `"bincode"` or `"messagepack"` |
/// | `retired("basket")` | names of former fields, which no field may have again |
/// | `layer = Staff` | the session of the layer called `Staff`, see `SessionLayer::named` |
/// | `lock`, `lock = "path"` | a test compares the types with `sessions.lock` beside `Cargo.toml` |
/// | `crate = path` | the path of `ruts`, if it was renamed |
///
/// # Keys of `#[field(...)]`
///
/// | key | meaning |
/// | --- | --- |
/// | `ttl = "30d"` | each write gives the value this lifetime, see below |
/// | `hot = "10m"` | maximum age in the cache of a layered store |
/// | `hot = "never"` | never in the cache |
/// | `hot = "checked"` | served from the cache only if the origin confirms the value |
/// | `default`, `default = expr` | an absent field reads as this value, so reading returns `T` |
/// | `once` | taken, never read: for flash messages, OAuth state, nonces |
/// | `lazy` | fetched by name only, not with the other fields: for large values |
/// | `rotate` | writing or removing it replaces the secret, in the same round trip |
/// | `principal` | the signed-in principal, see below |
/// | `encrypt` | encrypted at rest with the keys of the layer (feature `encrypt`) |
/// | `encrypt(since = 2)` | the same, and values of version 1 may be in the clear |
/// | `rename = "name"` | the stored name, if it differs from the name of the field |
/// | `version = 2` | the version of the type, see below |
/// | `migrate(1 => CartV1)` | the types of former versions, see below |
/// | `writes = 1` | new values are written as this former version |
/// | `codec = "messagepack"` | as above, for this field |
///
/// `index` is reserved.
///
/// ## Lifetimes
///
/// A lifetime is a string with the units `ms`, `s`, `m`, `h`, `d` and `w`, combined as in
/// `"1h 30m"`, or a constant expression of type `Duration`. Without `ttl`, a value lives as long as
/// the session.
///
/// ## Changed types
///
/// A live session may hold a value that an earlier release wrote. A changed type gets a new
/// version, and `migrate` names the type of each earlier version:
///
/// ```text
/// #[field(default, version = 3, migrate(1 => CartV1, 2 => CartV2))]
/// cart: Cart,
/// ```
///
/// `CartV1` becomes `CartV2` becomes `Cart`, by `From` or `TryFrom`. The types need serde. Nothing is
/// written on a read. `migrate(1 => Cart)` says that the field's own type reads version 1, and
/// `migrate(1 => discard)` that its values read as absent.
///
/// An earlier release reads a newer value as `Error::Newer` and never overwrites it. With
/// `writes = 1`, for one release, new values are written as version 1, by the `TryFrom` of its
/// type. A value that version 1 cannot hold is an error, and nothing is written.
///
/// ## Principal
///
/// Writing the field signs in, with a new token. `Shop::sessions(&store)` finds the session by its
/// value.
///
/// A principal with `migrate` needs the `TryFrom` of each former type, too. Its sessions are found by
/// the value in the first version that can hold it, so that all releases find the sessions of each
/// other. Two principals must not have the same value in a former version.
#[proc_macro_attribute]
pub fn session(args: TokenStream, item: TokenStream) -> TokenStream {
    pipeline::run(args.into(), item.into()).into()
}
