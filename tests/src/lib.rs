//! Fixtures for the tests of ruts: a browser, a store that can be watched, paused and broken, the log
//! of a test, servers, and a proxy before them.

mod browser;
mod log;
mod probe;
mod proxy;
pub mod servers;

pub use self::{
    browser::{Browser, Page},
    log::Log,
    probe::{Fault, Pause, Probe},
    proxy::{Proxy, Traffic},
};
