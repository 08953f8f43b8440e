//! [`ResponseState`]: the cookie action of the response, and whether the response is closed.
//!
//! Changed by `exchange`, `transfer`, `renewal` and `operations`, read by the layer. A plain mutex
//! guards it, so the layer never waits for a store call.

use std::time::Duration;

use crate::{
    error::Error,
    token::{SessionId, Token},
};

/// The effect of a response on the cookie.
#[derive(Default)]
pub(crate) enum CookieAction {
    /// Nothing: the client has the right cookie, or there is no session.
    #[default]
    Keep,
    /// Removes the cookie. The request has ended its session, or is a sign-out that is not late. A
    /// slow response to any other request could remove the cookie of a newer sign-in. The cookie of
    /// an ended session is harmless.
    Clear,
    /// Sets the cookie. `longest` is the time until the absolute deadline of the session, if known.
    Set { token: Token, origin: TokenOrigin, longest: Option<Duration> },
}

/// The reason why a response sets a token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenOrigin {
    /// A new session, or a rotation: no other token of the session is valid.
    Fresh,
    /// A renewal: the former token is valid, too.
    Renewal,
    /// The same as `Fresh`, but from a sign-in of unknown outcome. A revocation may have ended the
    /// session, so the token must not be sent.
    Unverified,
}

/// The part of a request's state that concerns its response.
#[derive(Default)]
pub(super) struct ResponseState {
    pub(super) cookie: CookieAction,
    /// The session in use. `None` until the store has confirmed it.
    pub(super) id: Option<SessionId>,
    /// The last session that this request has created.
    pub(super) created: Option<SessionId>,
    /// Whether this request has ended a session.
    pub(super) has_ended: bool,
    /// Whether the handler has ended the session while an operation was in progress.
    pub(super) ended_itself: bool,
    /// Whether the next write has to replace the secret.
    pub(super) owes_rotation: bool,
    /// Whether the secret may have to be renewed, or the deadlines extended, when the response is
    /// sent.
    pub(super) owes_renewal: bool,
    pub(super) closed: Option<ResponseClosed>,
}

/// The reason why a cookie can no longer be set.
#[derive(Clone, Copy)]
pub(crate) enum ResponseClosed {
    /// The response was sent, or the request was dropped.
    Sent,
    /// Development mode does not set a cookie for this client.
    NotLoopback,
    /// A job works on the session: there is no request.
    NoRequest,
}

impl ResponseState {
    /// Returns whether no cookie action was chosen yet.
    pub(super) fn is_undecided(&self) -> bool {
        matches!(self.cookie, CookieAction::Keep)
    }

    /// Returns whether the response carries the only valid token of its session.
    pub(super) fn sets_fresh(&self) -> bool {
        matches!(
            self.cookie,
            CookieAction::Set { origin: TokenOrigin::Fresh | TokenOrigin::Unverified, .. }
        )
    }

    /// Sets the time until the absolute deadline of the session, for a token that the response
    /// already carries.
    pub(super) fn set_longest(&mut self, absolute: Duration) {
        if let CookieAction::Set { longest, .. } = &mut self.cookie {
            *longest = Some(absolute);
        }
    }

    /// Sets whether the outcome of the sign-in is known, for a fresh token.
    pub(super) fn set_verified(&mut self, is_verified: bool) {
        if let CookieAction::Set { origin, .. } = &mut self.cookie
            && *origin != TokenOrigin::Renewal
        {
            *origin = if is_verified { TokenOrigin::Fresh } else { TokenOrigin::Unverified };
        }
    }

    /// Returns an error if a cookie can no longer be set, for a write that needs one.
    pub(super) fn require_open(&self) -> Result<(), Error> {
        let open = self.check_open();
        if matches!(open, Err(Error::ResponseSent)) {
            tracing::warn!("a write needs a new token, but the response was already sent");
        }
        open
    }

    pub(super) fn check_open(&self) -> Result<(), Error> {
        match self.closed {
            None => Ok(()),
            Some(ResponseClosed::Sent) => Err(Error::ResponseSent),
            Some(ResponseClosed::NotLoopback) => Err(Error::NotLoopback),
            Some(ResponseClosed::NoRequest) => Err(Error::NoRequest),
        }
    }
}
