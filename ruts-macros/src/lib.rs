//! The `#[session]` attribute of [ruts](https://docs.rs/ruts). Use it from there.

mod check;
mod diag;
mod expand;
mod model;
mod owned;
mod parse;
mod pipeline;

use proc_macro::TokenStream;

/// Turns a struct into a typed session.
///
/// The struct becomes a handle that handlers take as an argument; each field becomes an accessor
/// (`shop.cart()`), a setter (`shop.set_cart(&cart)`) and a typed key (`Shop::CART`). See
/// [`Entry`](https://docs.rs/ruts/latest/ruts/struct.Entry.html) for what an accessor can do.
///
/// ```text
/// #[session(prefix = "shop")]
/// pub struct Shop {
///     /// Who is signed in.
///     #[field(ttl = "30d", hot = "1h", principal)]
///     user: UserId,
///     #[field(ttl = "7d", default)]
///     cart: Cart,
///     #[field(ttl = "10m", once)]
///     flash: String,
/// }
/// ```
///
/// # What is generated
///
/// For a struct `Shop`, with the visibility of the struct where a field has none of its own:
///
/// - `Shop`: the handle, `Clone`, `Debug`, and an axum extractor with the feature `axum`;
///   `session()`, `load()`, `edit()`, and `Shop::SCHEMA`;
/// - for each field `x`: `x()`, `set_x()` and the key `Shop::X`, with the docs of the field;
/// - `ShopValues`: a plain struct of all values (`Option<T>`, or `T` with a default), which
///   `load()` yields, without `once` fields;
/// - `ShopEdit`: what `edit()` yields: `x()`, `remove_x()`, `commit()`.
///
/// A field of type `Option<T>` means the same as one of type `T`.
///
/// # Keys of `#[session(...)]`
///
/// | key | meaning |
/// | --- | --- |
/// | `prefix = "auth"` | stored names become `auth.x`: keeps schemas that share a session apart |
/// | `codec = "messagepack"` | how new values are written: `"bincode"` or `"messagepack"` |
/// | `layer = Staff` | the session of the layer called `Staff`, see `SessionLayer::named` |
/// | `crate = path` | where to find `ruts`, if it was renamed |
///
/// # Keys of `#[field(...)]`
///
/// | key | meaning |
/// | --- | --- |
/// | `ttl = "30d"` | each write gives the value this long to live. Units `ms`, `s`, `m`, `h`, `d`, `w`, combined as in `"1h 30m"`; or a constant expression of type `Duration`. Without it, the value lives as long as the session |
/// | `hot = "10m"` | at most this long in the cache tier of a layered store; `"never"`; `"checked"`: only after the store of record confirmed it |
/// | `default`, `default = expr` | reading yields `T`, with this value where nothing is stored |
/// | `once` | cannot be read, only taken: for flash messages, OAuth state, nonces |
/// | `lazy` | fetched only when named, not with the rest: for large values |
/// | `rotate` | writing or removing it replaces the session's secret, in the same round trip |
/// | `principal` | says who is signed in: writing it signs in, with a new token, and `Shop::sessions(&store)` finds the session by its value |
/// | `encrypt` | encrypted at rest with the layer's keys (feature `encrypt`) |
/// | `rename = "name"` | the stored name, if it is not the field's |
/// | `version = 2` | the version of the type: values of another version read as absent |
/// | `codec = "messagepack"` | as above, for this field |
///
/// `index` and `migrate` are reserved.
#[proc_macro_attribute]
pub fn session(args: TokenStream, item: TokenStream) -> TokenStream {
    pipeline::run(args.into(), item.into()).into()
}
