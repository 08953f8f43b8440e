//! The tower layer: cookie in, session along, cookie out.

mod config;
mod future;
mod lifetimes;
mod loopback;
mod service;
mod source;

pub use self::{
    config::{ClearSiteData, SessionLayer},
    future::ResponseFuture,
    service::SessionService,
    source::TokenSource,
};
