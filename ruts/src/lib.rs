// The README defines its links as paths in the repository. `guide_links.md` replaces them for
// rustdoc: see `guide`.
#![cfg_attr(
    all(
        feature = "conformance",
        feature = "csrf",
        feature = "encrypt",
        feature = "layered-store",
        feature = "mysql-store",
        feature = "postgres-store",
        feature = "redis-store",
        feature = "sqlite-store",
        feature = "testing"
    ),
    doc = include_str!("guide_links.md")
)]
#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

// `#[session]` generates paths that begin with `::ruts`. This declaration makes the paths valid
// inside this crate, too.
extern crate self as ruts;

pub mod auth;
#[cfg(feature = "axum")]
mod axum;
mod cache_policy;
pub mod client;
pub mod codec;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod cookie;
pub mod crypto;
mod error;
mod event;
pub mod field;
#[cfg(feature = "axum")]
pub mod guard;
// The pages of the guide exist only for documentation and its tests, and their examples need all of
// these features.
#[cfg(all(
    any(doc, doctest),
    feature = "conformance",
    feature = "csrf",
    feature = "encrypt",
    feature = "layered-store",
    feature = "mysql-store",
    feature = "postgres-store",
    feature = "redis-store",
    feature = "sqlite-store",
    feature = "testing"
))]
pub mod guide;
pub mod layer;
mod local_path;
pub mod session;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
pub mod token;
mod ttl;
mod turns;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

/// The `http` crate, whose types appear in this API.
pub use http;
/// Turns a struct into a typed session.
///
/// The struct becomes a handle that handlers take as an argument. Each field becomes an accessor
/// (`shop.cart()`), a setter (`shop.set_cart(&cart)`) and a typed key (`Shop::CART`). An accessor
/// returns an [`Entry`].
///
/// ```
/// use ruts::{Error, session};
/// use serde::{Deserialize, Serialize};
///
/// #[session(prefix = "shop")]
/// pub struct Shop {
///     /// The signed-in user.
///     #[field(ttl = "30d", hot = "1h", principal)]
///     user: UserId,
///     #[field(ttl = "7d", default)]
///     cart: Vec<String>,
///     #[field(ttl = "10m", once)]
///     flash: String,
/// }
///
/// #[derive(Serialize, Deserialize)]
/// pub struct UserId(u64);
///
/// async fn order(shop: Shop) -> Result<Option<UserId>, Error> {
///     let user = shop.user().await?;
///     shop.edit().remove_cart().flash("Your order was placed.").commit().await?;
///     Ok(user)
/// }
/// ```
#[doc(inline)]
pub use ruts_macros::session;

#[cfg(any(feature = "signed", feature = "private", feature = "encrypt"))]
pub use crate::crypto::key_ring::Key;
pub use crate::{
    cookie::options::CookieOptions,
    error::Error,
    layer::config::SessionLayer,
    session::{entry::Entry, handle::Session},
    ttl::{Ttl, TtlError},
};

/// Expands to nothing: without the feature `axum`, a `#[session]` struct is not an extractor.
#[cfg(not(feature = "axum"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __impl_extractor {
    ($name:ident) => {};
}

/// Adds `encryption_keys` to the session index of a `#[session]` struct.
#[cfg(feature = "encrypt")]
#[doc(hidden)]
#[macro_export]
macro_rules! __impl_encryption_keys {
    ($vis:vis $sessions:ident) => {
        #[allow(dead_code)]
        impl $sessions {
            /// Sets the keys for fields marked `encrypt`: the same keys as for the layer.
            #[must_use]
            $vis fn encryption_keys(
                self,
                keys: impl ::core::convert::Into<$crate::crypto::KeyRing>,
            ) -> Self {
                Self(self.0.encryption_keys(keys))
            }
        }
    };
}

/// Expands to nothing: without the feature `encrypt`, no field can be encrypted.
#[cfg(not(feature = "encrypt"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __impl_encryption_keys {
    ($vis:vis $sessions:ident) => {};
}

/// Expands to the test of `#[session(lock)]`.
#[cfg(feature = "testing")]
#[doc(hidden)]
#[macro_export]
macro_rules! __lock_test {
    ($session:ident, $test:ident, $path:literal) => {
        #[test]
        fn $test() {
            let path = ::core::concat!(::core::env!("CARGO_MANIFEST_DIR"), "/", $path);
            $crate::testing::assert_lock::<$session>(path);
        }
    };
}

/// Expands to a compile error: the test of `#[session(lock)]` needs the feature `testing`.
#[cfg(not(feature = "testing"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __lock_test {
    ($session:ident, $test:ident, $path:literal) => {
        ::core::compile_error!(
            "`#[session(lock)]` generates a test, which needs the feature `testing` of `ruts` in \
             `[dev-dependencies]`"
        );
    };
}
