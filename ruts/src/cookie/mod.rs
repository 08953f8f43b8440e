//! The session cookie: its options, and reading and writing it in HTTP headers.
//!
//! Called by the layer. Knows nothing of sessions, fields or stores.

mod cookie_codec;
mod error;
pub(crate) mod options;
mod session_cookie;
mod validate;

pub use self::error::CookieError;
pub(crate) use self::session_cookie::{Presented, SessionCookie};
pub use ::cookie::SameSite;
