//! The cookie that carries the token: its options, and the way in and out of HTTP headers.

mod error;
pub(crate) mod options;
mod seal;
mod session_cookie;

pub use self::error::CookieError;
pub(crate) use self::session_cookie::{Presented, SessionCookie};
pub use ::cookie::SameSite;
