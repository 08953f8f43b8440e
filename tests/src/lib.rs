//! Fixtures for the tests of ruts: a browser, a store that can be watched, paused and broken, and
//! the log of a test.

mod browser;
mod log;
mod probe;

pub use self::{
    browser::{Browser, Page},
    log::Log,
    probe::{Fault, Pause, Probe},
};
