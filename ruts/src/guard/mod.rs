//! Extractors and a router layer that require a sign-in, an assurance, or a recent authentication.
//!
//! [`CurrentUser`] also loads the application's user. [`Next`] leads back to the page that required
//! the sign-in.

// Guards know sessions and axum, and call the store only through the session.

mod level;
mod next;
mod rejection;
mod router;
mod user;

pub use self::{
    level::{Aal, Fresh},
    next::Next,
    rejection::GuardRejection,
    router::{Require, RequireService, require, require_with_state},
    user::CurrentUser,
};
