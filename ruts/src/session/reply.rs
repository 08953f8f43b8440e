use crate::{
    error::Error,
    token::{SessionId, Token},
};

/// What the response has to do about the cookie.
pub(crate) enum CookieAction {
    /// Nothing: the client's copy is right, or there is no session.
    Keep,
    /// Hand out this token.
    Set(Token),
    /// Take the cookie away.
    Clear,
}

/// The part of a session's state that is read and changed without waiting for the store.
pub(super) struct Reply {
    pub(super) cookie: CookieAction,
    /// The session in use, once the store has confirmed it.
    pub(super) id: Option<SessionId>,
    /// What the client presented opens nothing, and is not on its way from before.
    pub(super) expired: bool,
    /// This request has ended a session.
    pub(super) ended: bool,
    /// The next write has to replace the secret.
    pub(super) rotate: bool,
    /// The token to hand out is that of a renewal, beside which the former one is still good.
    pub(super) renewed: bool,
    /// Somebody may have been signed in along with the token to hand out, and a revocation have come between:
    /// nobody gets it.
    pub(super) unverified: bool,
    pub(super) closed: Option<ResponseClosed>,
}

/// Why no cookie can be added.
#[derive(Clone, Copy)]
pub(crate) enum ResponseClosed {
    /// The response is on its way, or will never be.
    Sent,
    /// The client may not have one in development mode.
    NotLoopback,
}

impl Reply {
    pub(super) fn new(closed: Option<ResponseClosed>) -> Self {
        Self {
            cookie: CookieAction::Keep,
            id: None,
            expired: false,
            ended: false,
            rotate: false,
            renewed: false,
            unverified: false,
            closed,
        }
    }

    pub(super) fn keeps(&self) -> bool {
        matches!(self.cookie, CookieAction::Keep)
    }

    /// Whether the client is about to get a secret that nobody else can have.
    pub(super) fn sets_fresh(&self) -> bool {
        matches!(self.cookie, CookieAction::Set(_)) && !self.renewed
    }

    pub(super) fn check_open(&self) -> Result<(), Error> {
        match self.closed {
            None => Ok(()),
            Some(ResponseClosed::Sent) => Err(Error::ResponseSent),
            Some(ResponseClosed::NotLoopback) => Err(Error::NotLoopback),
        }
    }
}
