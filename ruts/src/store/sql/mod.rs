//! The parts that the stores on SQL servers share: connections, waiting, cleanup, names and
//! versions of tables.
//!
//! Used by the stores on PostgreSQL and on MySQL. Knows nothing about statements or dialects.

mod cleanup;
mod connections;
mod dispatch;
mod finish_on_drop;
mod name;
mod patience;
mod read_limits;
mod resend;
mod retry;
mod wrong_version;

pub use self::name::InvalidName;
pub(in crate::store) use self::{
    cleanup::{Cleanup, clean_up},
    connections::{Connections, Taken},
    dispatch::Dispatch,
    finish_on_drop::FinishOnDrop,
    name::check_name,
    patience::Patience,
    read_limits::{MAX_READS, has_its_share},
    resend::resend_refused,
    retry::Retry,
    wrong_version::WrongVersion,
};
