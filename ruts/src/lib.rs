#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

// For `#[session]` in the documentation tests of this crate, also under a renamed import.
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

pub use http;
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

/// Without the feature `axum`, a `#[session]` struct is no extractor.
#[cfg(not(feature = "axum"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __impl_extractor {
    ($name:ident) => {};
}

/// Has the sessions of a `#[session]` struct take encryption keys.
#[cfg(feature = "encrypt")]
#[doc(hidden)]
#[macro_export]
macro_rules! __impl_encryption_keys {
    ($vis:vis $sessions:ident) => {
        #[allow(dead_code)]
        impl $sessions {
            /// Sets the keys for fields marked `encrypt`, those of the layer.
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

/// Without the feature `encrypt`, no field can be encrypted.
#[cfg(not(feature = "encrypt"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __impl_encryption_keys {
    ($vis:vis $sessions:ident) => {};
}
