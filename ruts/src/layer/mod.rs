//! The tower layer: cookie in, session along, cookie out.

mod config;
mod future;
mod lifetimes;
mod loopback;
mod service;

pub use self::{config::SessionLayer, future::ResponseFuture, service::SessionService};
