//! Keeps a list of the requests whose handlers run on this thread right now: [`enter`],
//! [`note_ended`] and [`current_sessions`].
//!
//! A handler may end its own session through `PrincipalSessions`, which does not know the request.
//! [`note_ended`] informs the request, so that it continues as a guest.

use std::{cell::RefCell, sync::Arc};

use super::operations::RequestSession;
use crate::token::SessionId;

thread_local! {
    /// One request for each nested layer, the innermost last.
    static CURRENT: RefCell<Vec<Arc<RequestSession>>> = const { RefCell::new(Vec::new()) };
}

/// Removes the request from `CURRENT` when the guard is dropped, even during a panic.
struct Entered;

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.with_borrow_mut(|current| drop(current.pop()));
    }
}

/// Polls the handler of a request. During the poll, the request is in `CURRENT`.
pub(in crate::session) fn enter<T>(request: &Arc<RequestSession>, poll: impl FnOnce() -> T) -> T {
    CURRENT.with_borrow_mut(|current| current.push(Arc::clone(request)));
    let _entered = Entered;
    poll()
}

/// Informs the requests whose handlers run on this thread that these sessions were ended.
pub(in crate::session) fn note_ended(ended: &[SessionId]) {
    for request in CURRENT.with_borrow(Vec::clone) {
        note_ended_by(&request, ended);
    }
}

/// Informs a request that these sessions were ended on its behalf.
pub(in crate::session) fn note_ended_by(request: &RequestSession, ended: &[SessionId]) {
    if request.id().is_some_and(|id| ended.contains(&id)) {
        request.end_itself();
    }
}

/// Returns the sessions of the requests whose handlers run on this thread.
pub(in crate::session) fn current_sessions() -> Vec<SessionId> {
    CURRENT.with_borrow(|current| current.iter().filter_map(|request| request.id()).collect())
}
