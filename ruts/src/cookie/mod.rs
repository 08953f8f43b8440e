//! The cookie that carries the token: its options, and the way in and out of HTTP headers.

mod error;
#[cfg(any(feature = "signed", feature = "private"))]
mod keys;
pub(crate) mod options;
mod seal;
mod session_cookie;

pub use self::error::CookieError;
#[cfg(any(feature = "signed", feature = "private"))]
pub use self::keys::{KeyError, KeyRing};
pub(crate) use self::session_cookie::{Presented, SessionCookie};
pub use ::cookie::SameSite;
