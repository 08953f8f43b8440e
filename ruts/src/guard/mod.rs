//! Guards for axum: extractors and a layer that let in only requests with a sufficient sign-in.
//!
//! They know sessions and axum, and call the store only through the session.

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
