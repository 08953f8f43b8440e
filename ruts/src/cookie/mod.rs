//! [`CookieError`] and [`SameSite`] of the session cookie.
//!
//! Its options are [`CookieOptions`](crate::CookieOptions).

// Reads and writes the session cookie in HTTP headers. Called by the layer. Knows nothing about
// sessions, fields or stores.

mod cookie_codec;
mod error;
pub(crate) mod options;
mod session_cookie;
mod validate;

pub use self::error::CookieError;
pub(crate) use self::session_cookie::{Presented, SessionCookie};
pub use ::cookie::SameSite;
