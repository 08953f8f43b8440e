//! Fixtures for the tests of ruts: a browser, a store that can be watched, paused and broken, the log
//! of a test, servers, and a proxy before them.

pub mod backends;
mod browser;
mod crowd;
mod failure;
mod log;
mod probe;
mod proxy;
pub mod servers;
pub mod tiers;
mod visitor;

pub use self::{
    browser::{Browser, Page},
    crowd::Crowd,
    failure::{kind, told},
    log::Log,
    probe::{Fault, Pause, Probe},
    proxy::{Proxy, Traffic},
    visitor::{Visitor, random},
};
