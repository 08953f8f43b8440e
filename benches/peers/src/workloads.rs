//! What is measured.

use crate::{
    client::Visitor,
    stacks::{Backend, Stack},
};

pub(crate) struct Workload {
    pub(crate) name: &'static str,
    /// What a visitor asks for first: reads are asked for before, so that a cache has what they find.
    before: &'static [&'static str],
    pub(crate) path: &'static str,
    /// Whether the bare driver does something of the kind.
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
    workload("sign in, a guest before", &["/begin"], "/login", false),
    workload("sign in, nobody before", &[], "/login", false),
    workload("read 16 bytes beside 16 KiB", &["/fat", "/thin/read"], "/thin/read", false),
    workload("write 16 bytes beside 16 KiB", &["/fat"], "/thin/write", false),
];

impl Workload {
    /// Somebody who asked for all that comes before.
    pub(crate) async fn visitor(&self, stack: &Stack) -> Visitor {
        let mut visitor = Visitor::new(&stack.app);
        for path in self.before {
            visitor.text(path).await;
        }
        visitor
    }

    pub(crate) fn is_of_interest(&self, backend: Backend) -> bool {
        backend != Backend::Memory || !self.name.contains("KiB")
    }
}
