//! Fixtures for all test crates. The fixtures need no server and no driver.
//!
//! They include a test client that checks every cookie, sessions and stores for tests, and the log
//! of a test. They also include macros for wrappers, and scenarios that run on any store. This
//! crate must not depend on Redis or PostgreSQL, so that a change in `ruts` rebuilds it in seconds.

mod client;
mod clock;
mod delegate;
mod instrumented_store;
mod log;
mod paced_store;
pub mod scenarios;
mod script;
mod session;
mod wait;

#[doc(hidden)]
pub use bytes;
#[doc(hidden)]
pub use ruts;

pub use self::{
    client::{ClientExt, new_client, new_client_on},
    clock::TokioClock,
    instrumented_store::{Fault, InstrumentedStore, Pause},
    log::Log,
    paced_store::{Pace, PacedStore, Stop},
    script::{Random, Span, Time, seeds},
    session::{APPLIED, DELETED, TestSession, random, taken},
    wait::{LONG_TIMEOUT, wait_until},
};
