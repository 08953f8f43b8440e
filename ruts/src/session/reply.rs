use crate::{
    error::Error,
    token::{Handle, Token},
};

/// What the response has to do about the cookie.
pub(crate) enum Verdict {
    /// Nothing: the client's copy is right, or there is no session.
    Keep,
    /// Hand out this token.
    Set(Token),
    /// Take the cookie away.
    Clear,
}

/// The part of a session's state that is read and changed without waiting for the store.
pub(super) struct Reply {
    pub(super) verdict: Verdict,
    /// The session in use, once the store has confirmed it.
    pub(super) handle: Option<Handle>,
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
    pub(super) in_doubt: bool,
    pub(super) closed: Option<Closed>,
}

/// Why no cookie can be added.
#[derive(Clone, Copy)]
pub(crate) enum Closed {
    /// The response is on its way, or will never be.
    Sent,
    /// The client may not have one in development mode.
    NotLoopback,
}

impl Reply {
    pub(super) fn new(closed: Option<Closed>) -> Self {
        Self {
            verdict: Verdict::Keep,
            handle: None,
            expired: false,
            ended: false,
            rotate: false,
            renewed: false,
            in_doubt: false,
            closed,
        }
    }

    pub(super) fn keeps(&self) -> bool {
        matches!(self.verdict, Verdict::Keep)
    }

    /// Whether the client is about to get a secret that nobody else can have.
    pub(super) fn sets_fresh(&self) -> bool {
        matches!(self.verdict, Verdict::Set(_)) && !self.renewed
    }

    pub(super) fn check_open(&self) -> Result<(), Error> {
        match self.closed {
            None => Ok(()),
            Some(Closed::Sent) => Err(Error::ResponseSent),
            Some(Closed::NotLoopback) => Err(Error::NotLoopback),
        }
    }
}
