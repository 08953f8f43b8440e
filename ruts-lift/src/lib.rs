#![doc = include_str!("../README.md")]

mod claim;
mod cookies;
mod error;
mod layer;
mod lift;
mod link;
mod old;
mod requests;
mod seen;
mod sessions;

#[cfg(feature = "axum-session")]
mod axum_session;
#[cfg(feature = "ruts-013")]
mod ruts_013;
#[cfg(feature = "tower-sessions")]
mod tower_sessions;

#[cfg(feature = "axum-session")]
pub use self::axum_session::AxumSessions;
#[cfg(feature = "ruts-013")]
pub use self::ruts_013::Ruts013;
#[cfg(feature = "tower-sessions")]
pub use self::tower_sessions::TowerSessions;
pub use self::{
    cookies::OldCookie,
    error::{Error, Malformed},
    layer::{LiftLayer, LiftService},
    old::{BoxError, OldSession, OldSessions},
};

/// The code blocks of a page of the guide, as tests.
#[cfg(all(doctest, feature = "tower-sessions"))]
#[doc = include_str!("../docs/guide/moving.md")]
mod guide {}
