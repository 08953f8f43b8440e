//! [`Workload`]: the requests that are measured.
//!
//! Used by every measurement of one request at a time.

use crate::{
    stacks::{App, Backend},
    visitor::Visitor,
};

/// A request, and the requests before it.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    /// Earlier requests of the visitor. They include a read, so that a cache holds the values.
    before: &'static [&'static str],
    pub(crate) path: &'static str,
    /// Whether the floor has this path.
    pub(crate) has_floor: bool,
}

const fn workload(
    name: &'static str,
    before: &'static [&'static str],
    path: &'static str,
    has_floor: bool,
) -> Workload {
    Workload { name, before, path, has_floor }
}

pub(crate) const ANONYMOUS: Workload = workload("anonymous", &[], "/nothing", true);
pub(crate) const WITH_COOKIE: Workload =
    workload("anonymous, with a cookie", &["/begin"], "/nothing", true);
pub(crate) const READ_1: Workload = workload("read 1 field", &["/begin", "/read1"], "/read1", true);
pub(crate) const READ_5: Workload =
    workload("read 5 fields", &["/begin", "/read5"], "/read5", true);
pub(crate) const WRITE_5: Workload = workload("write 5 fields", &["/begin"], "/write5", true);

pub(crate) const ALL: [Workload; 11] = [
    ANONYMOUS,
    WITH_COOKIE,
    READ_1,
    READ_5,
    workload("write 1 field", &["/begin"], "/write1", true),
    WRITE_5,
    workload("read, modify, write", &["/begin", "/increment"], "/increment", false),
    workload("sign in, with a session", &["/begin"], "/login", false),
    workload("sign in, without a session", &[], "/login", false),
    workload("read 16 bytes beside 16 KiB", &["/large", "/tiny/read"], "/tiny/read", false),
    workload("write 16 bytes beside 16 KiB", &["/large"], "/tiny/write", false),
];

impl Workload {
    /// Returns a visitor after the earlier requests.
    pub(crate) async fn visitor(&self, app: &App) -> Visitor {
        let mut visitor = Visitor::new(&app.router);
        for path in self.before {
            visitor.text(path).await;
        }
        visitor
    }

    /// Returns whether the backend is measured with this workload.
    pub(crate) fn applies_to(&self, backend: Backend) -> bool {
        backend != Backend::Memory || !self.name.contains("KiB")
    }
}
