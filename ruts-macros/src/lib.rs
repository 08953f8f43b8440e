//! The `#[session]` attribute of [ruts](https://docs.rs/ruts), which re-exports it.

mod check;
mod diagnostics;
mod expand;
mod model;
mod parse;
mod pipeline;

use proc_macro::TokenStream;

// `ruts` re-exports the macro, and puts a summary and an example before this text. The example
// compiles only in `ruts`.
/// # Generated items
///
/// These items are generated for a struct `Shop`. A field without a declared visibility has the
/// visibility of the struct.
///
/// - `Shop`: the session handle. It implements `Clone` and `Debug`, and is an axum extractor with
///   the feature `axum`. It has `session()`, `load()`, `edit()`, and `Shop::SCHEMA`. As an
///   extractor, `Option<Shop>` is `None` if the layer of `Shop` does not wrap the handler.
///   Otherwise it is always `Some`.
/// - For each field `x`: `x()` with the documentation of the field, `set_x()`, and the key
///   `Shop::X`.
/// - `ShopValues`: a plain struct that `load()` returns. It has the values of all fields except
///   `once` fields: a `T` for a field with a default, and an `Option<T>` for any other field.
///   Derives below `#[session]` and their attributes apply to this struct: `#[derive(Debug, Clone,
///   PartialEq, Serialize)]`, `#[serde(rename_all = "camelCase")]`.
/// - `ShopEdit`: returned by `edit()`. It has `x()`, `remove_x()` and `commit()`. With a principal
///   it also has `assurance`, `keep_fields`, `remember`, `until_browser_closes` and `stamp`.
/// - `ShopSessions`, if a field is the principal: returned by `Shop::sessions(&store)`.
///
/// A field declared as `Option<T>` is the same as a field declared as `T`.
///
/// # Keys of `#[session(...)]`
///
/// | key | meaning |
/// | --- | --- |
/// | `prefix = "auth"` | stored names become `auth.x`: separates schemas that share a session |
/// | `codec = "messagepack"` | the codec of new values: `"bincode"` or `"messagepack"` |
/// | `retired("basket")` | stored names of former fields without the prefix, which no new field may have |
/// | `layer = Staff` | uses the session of the layer with the name type `Staff`, see `SessionLayer::named` |
/// | `lock`, `lock = "path"` | generates a test that compares the types with `sessions.lock` next to `Cargo.toml` |
/// | `crate = path` | the path of `ruts`, if it was renamed |
///
/// # Keys of `#[field(...)]`
///
/// | key | meaning |
/// | --- | --- |
/// | `ttl = "30d"` | each write gives the value this lifetime, see below |
/// | `hot = "10m"` | maximum age in the cache of a layered store (`CachePolicy::MaxAge`) |
/// | `hot = "never"` | never in the cache (`NoStore`) |
/// | `hot = "checked"` | served from the cache only if the origin confirms it (`Revalidate`) |
/// | `default`, `default = expr` | an absent field reads as this value, so reading returns `T` |
/// | `once` | can only be taken, not read: for flash messages, OAuth state, nonces |
/// | `lazy` | for large values: fetched only by its accessor, `read` or `load()`, not with the other fields |
/// | `rotate` | writing or removing the field replaces the secret, in the same round trip |
/// | `principal` | the signed-in principal, see below |
/// | `index` | `Shop::sessions(&store)` also finds sessions by this field, see `IndexedSessions` |
/// | `encrypt` | encrypted at rest with the keys of the layer (feature `encrypt`) |
/// | `encrypt(since = 2)` | the same, but values of version 1 may be plaintext |
/// | `rename = "name"` | the stored name without the prefix, if it differs from the name of the field |
/// | `version = 2` | the version of the type, see below |
/// | `migrate(1 => CartV1)` | the types of former versions, see below |
/// | `writes = 1` | new values are written as this former version |
/// | `codec = "messagepack"` | as above, for this field |
///
/// ## Lifetimes
///
/// A lifetime is a string or a constant expression of type `Duration`. A string has the units `ms`,
/// `s`, `m`, `h`, `d` and `w`, combined as in `"1h 30m"`. Without `ttl`, a value lives as long as
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
/// A read converts a `CartV1` to a `CartV2` and the `CartV2` to a `Cart`, by `From` or `TryFrom`.
/// It does not write the result. All of these types need `Serialize` and `Deserialize`. With
/// `migrate(1 => Cart)`, the field's own type reads version 1. With `migrate(1 => discard)`, values
/// of version 1 read as absent.
///
/// If an earlier release reads or updates a newer value, the call fails with `Error::Newer`, and
/// the value does not change. To prevent this error during a deploy, one release has `writes = 1`.
/// It writes new values as version 1, converted by the `TryFrom` of each former type. If version 1
/// cannot hold a value, the write fails and changes nothing.
///
/// ## Principal
///
/// Writing the field signs the principal in, with a new token. `Shop::sessions(&store)` finds
/// sessions by the value of the field.
///
/// A principal with `migrate` also needs a `TryFrom` from the type of each version to the type of
/// the version before it. The value is converted to the first version that can hold it, and the
/// sessions are found by the converted value. So each release finds the sessions of all other
/// releases. Two principals must not have the same value in a former version.
#[proc_macro_attribute]
pub fn session(args: TokenStream, item: TokenStream) -> TokenStream {
    pipeline::run(args.into(), item.into()).into()
}
