//! Fixtures of the tests on servers: the servers themselves, a proxy in front of them, stores of
//! every kind on them, and two tiers.
//!
//! Also used by the tests of the examples and by the benchmarks. Fixtures that need neither a
//! server nor a driver are in `ruts-tests-support`.

mod at_once;
pub mod backends;
mod batched;
mod each_client;
mod errors;
mod proxy;
pub mod servers;
pub mod tiers;

pub use self::{
    at_once::forty_sessions_at_once,
    batched::Batched,
    errors::{assert_replaceable, assert_unsupported, error_chain, error_kind},
    proxy::{Proxy, Traffic},
};
